"""A bounded number of slots, given to those who wait in turns by source, so that a long queue holds up itself alone."""

from __future__ import annotations

import asyncio
from collections import deque


class FairSlots:
    """Slots for look-ups. Within a source: first come, first served."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # in the order of turns; no queue is empty

    @property
    def are_taken(self) -> bool:
        """Whether who asks now would have to wait."""
        return not self._free or bool(self._waiting)

    async def acquire(self, source: str) -> None:
        """Wait for a slot."""
        if not self.are_taken:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(source, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # it was given in the same turn of the loop
            else:
                self._forget(source, turn)
            raise

    def release(self) -> None:
        """Give a slot back: to the source whose turn it is."""
        self._free += 1
        while self._free and self._waiting:
            source, queue = next(iter(self._waiting.items()))
            turn = queue.popleft()
            del self._waiting[source]
            if queue:
                self._waiting[source] = queue  # behind the others
            if not turn.done():
                turn.set_result(None)
                self._free -= 1

    def _forget(self, source: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(source)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[source]
