"""The clock that is read once in a tick of the event loop."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from stream.runtime.clock import TickClock
from tests.support.fakes import NOW


class Ticking:
    """A clock that advances at each read."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> datetime:
        """The next second."""
        self.looks += 1
        return NOW + timedelta(seconds=self.looks)


async def test_one_tick_has_one_instant() -> None:
    """All reads in one tick return the same instant, and the next tick has a later one."""
    ticking = Ticking()
    clock = TickClock(ticking)
    assert clock() == clock() == NOW + timedelta(seconds=1)
    await asyncio.sleep(0)
    assert clock() == NOW + timedelta(seconds=2)


def test_without_a_loop_every_read_is_new() -> None:
    """Without a running loop every read returns the present time, because no tick would end."""
    clock = TickClock(Ticking())
    assert clock() != clock()
