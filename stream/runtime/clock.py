"""A clock that is read once in a tick of the event loop: everything in one tick happens at the same instant.

Many webhooks are answered in one tick. The clock is read, and the instant formatted, once for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime


class TickClock:
    """Returns the same instant until the next tick. Without a running loop every call reads the clock."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._now: datetime | None = None

    def __call__(self) -> datetime:
        """The instant of this tick."""
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
