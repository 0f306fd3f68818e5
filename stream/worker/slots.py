"""A limited number of slots, given to the sources in turn: a source's long queue delays that source only."""

from __future__ import annotations

import asyncio
from collections import deque


class FairSlots:
    """Slots for look-ups. Within a source: first come, first served."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        # The first source gets the next slot. No queue is empty.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def all_in_use(self) -> bool:
        """Whether ``acquire`` would wait."""
        return not self._free or bool(self._waiting)

    async def acquire(self, source: str) -> None:
        """Wait for a slot."""
        if not self.all_in_use:
            self._free -= 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(source, deque()).append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # ``release`` gave it the slot in the same tick
            else:
                self._remove(source, waiter)
            raise

    def release(self) -> None:
        """Give a slot back. The next source gets it."""
        self._free += 1
        while self._free and self._waiting:
            source, queue = next(iter(self._waiting.items()))
            waiter = queue.popleft()
            del self._waiting[source]
            if queue:
                self._waiting[source] = queue  # behind the other sources
            if not waiter.done():
                waiter.set_result(None)
                self._free -= 1

    def _remove(self, source: str, waiter: asyncio.Future[None]) -> None:
        queue = self._waiting.get(source)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._waiting[source]
