"""Ends waits for the broker at their deadlines: one periodic check of all waits is cheaper than a timer for each."""

from __future__ import annotations

import asyncio

from stream.kafka.publish_handle import PublishHandle

CHECK_INTERVAL_SECONDS = 0.05  # a wait may end by so much after its deadline


class PublishDeadlines:
    """Publish handles and their deadlines, in loop time."""

    def __init__(self) -> None:
        self._deadlines: dict[PublishHandle, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, handle: PublishHandle, deadline: float) -> None:
        """Expire ``handle`` after ``deadline``, unless it is removed before."""
        self._deadlines[handle] = deadline
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHECK_INTERVAL_SECONDS, self._expire_due)

    def remove(self, handle: PublishHandle) -> None:
        """Forget ``handle``: nobody waits for it any more."""
        self._deadlines.pop(handle, None)

    def _expire_due(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for handle, deadline in self._deadlines.items():
            if deadline <= now:
                handle.expire()
        self._timer = loop.call_later(CHECK_INTERVAL_SECONDS, self._expire_due) if self._deadlines else None
