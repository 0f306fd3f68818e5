"""The clock of one turn of the loop."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from stream.runtime.clock import TickClock
from tests.support.fakes import NOW


class Ticking:
    """A clock that goes on with each look."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> datetime:
        """The next second."""
        self.looks += 1
        return NOW + timedelta(seconds=self.looks)


async def test_one_turn_has_one_instant_and_the_next_another() -> None:
    """The clock is read once until the loop has turned."""
    ticking = Ticking()
    clock = TickClock(ticking)
    assert clock() == clock() == NOW + timedelta(seconds=1)
    await asyncio.sleep(0)
    assert clock() == NOW + timedelta(seconds=2)


def test_without_a_loop_each_look_counts() -> None:
    """Nothing would ever turn."""
    clock = TickClock(Ticking())
    assert clock() != clock()
