"""Ends the wait for the broker: one look at all who wait now and then, not a timer for each."""

from __future__ import annotations

import asyncio

from stream.kafka.publish_handle import PublishHandle

INTERVAL = 0.05  # seconds between looks: by so much a time-out may come later than it was asked for


class PublishDeadlines:
    """Handles, each with the time (of the loop's clock) from which its sender waits no more."""

    def __init__(self) -> None:
        self._until: dict[PublishHandle, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, handle: PublishHandle, until: float) -> None:
        """Expire ``handle`` after ``until``, unless it has ended."""
        self._until[handle] = until
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._look)

    def end(self, handle: PublishHandle) -> None:
        """Nobody waits for ``handle`` any more."""
        self._until.pop(handle, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for handle, until in self._until.items():
            if until <= now:
                handle.expire()
        self._timer = loop.call_later(INTERVAL, self._look) if self._until else None
