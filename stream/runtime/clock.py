"""A clock that is read once a turn of the loop: what happens in one turn happens at one instant.

Many webhooks are answered in a turn: the clock is read, and the instant written as text, once for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime


class TickClock:
    """Gives the same instant until the loop turns; without a running loop, each call's own."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._now: datetime | None = None

    def __call__(self) -> datetime:
        """The instant of this turn."""
        if self._now is not None:
            return self._now
        now = self._clock()
        try:
            asyncio.get_running_loop().call_soon(self._next_tick)
        except RuntimeError:
            return now
        self._now = now
        return now

    def _next_tick(self) -> None:
        self._now = None
