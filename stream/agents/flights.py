"""Single flight: while a contact is looked up, its other webhooks wait for that result and leave in order.

A flight works through the webhooks of one contact, one after the other. A webhook that shares an alias with
a flight joins it. Flights share a bounded number of slots, and no more of them wait than may: the reader sends the
next contact away (``is_full``) and never waits for this queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from stream import metrics
from stream.agents.delivery import Delivery
from stream.logs import get_logger

log = get_logger(__name__)

# Look one webhook up and end it. Returns why its partner failed, "" when it did not.
LookUp = Callable[[Delivery, str], Awaitable[str]]
Key = tuple[int, str]


@dataclass(slots=True, eq=False)  # a flight is itself, whatever waits in it; compared by value it has no hash
class Flight:
    """The webhooks of one contact that wait for one result."""

    waiting: deque[Delivery] = field(default_factory=deque)
    keys: set[Key] = field(default_factory=set)
    task: asyncio.Task[None] | None = None


class Flights:
    """All flights of a worker."""

    def __init__(self, look_up: LookUp, *, slots: int, queue: int, queue_limit: float) -> None:
        """``queue``: flights there may be; ``queue_limit``: seconds a flight may wait for a slot."""
        self._look_up = look_up
        self._slots = asyncio.Semaphore(slots)
        self._queue = queue
        self._queue_limit = queue_limit
        self._by_key: dict[Key, Flight] = {}
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """Webhooks that fly or wait."""
        return self._count

    def find(self, delivery: Delivery) -> Flight | None:
        """The flight that this webhook must join, so that its contact keeps its order."""
        if not self._by_key:
            return None
        for key in _keys(delivery):
            flight = self._by_key.get(key)
            if flight is not None:
                return flight
        return None

    def submit(self, delivery: Delivery) -> None:
        """Join the contact's flight, or start one."""
        self._count += 1
        metrics.LOOKUPS_WAITING.set(self._count)
        flight = self.find(delivery)
        if flight is None:
            flight = Flight()
            flight.task = asyncio.create_task(self._fly(flight))
            self._tasks.add(flight.task)
            flight.task.add_done_callback(self._tasks.discard)
        flight.waiting.append(delivery)
        for key in _keys(delivery):
            if key not in self._by_key:
                self._by_key[key] = flight
                flight.keys.add(key)

    @property
    def is_full(self) -> bool:
        """Whether there are as many flights as may be: a webhook may still join one, but none may start."""
        return len(self._tasks) >= self._queue

    @property
    def is_busy(self) -> bool:
        """Whether what is parked had better wait: half of the queue is for those who come first."""
        return 2 * len(self._tasks) >= self._queue

    async def drain(self, seconds: float) -> None:
        """Wait until nothing flies, at most ``seconds``."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    async def close(self) -> None:
        """Stop all flights where they are; what has not ended then is the caller's to park."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fly(self, flight: Flight) -> None:
        has_slot = False
        try:
            has_slot = await self._take_slot()
            reason = "" if has_slot else "queue"
            metrics.LOOKUPS_RUNNING.inc(has_slot)
            # A webhook stays in the queue while it is looked up: what comes next must still find the flight.
            while flight.waiting:
                reason = await self._look_up_safely(flight.waiting[0], reason)
                flight.waiting.popleft()
                self._landed()
        finally:
            if has_slot:
                self._slots.release()
                metrics.LOOKUPS_RUNNING.dec()
            for key in flight.keys:
                self._by_key.pop(key, None)

    async def _take_slot(self) -> bool:
        """Wait for a slot; False when that took too long."""
        try:
            async with asyncio.timeout(self._queue_limit):
                return await self._slots.acquire()
        except TimeoutError:
            return False

    async def _look_up_safely(self, delivery: Delivery, reason: str) -> str:
        """No exception may leave: Faust knows nothing of this webhook any more."""
        try:
            return await self._look_up(delivery, reason)
        except Exception:
            log.exception("a look-up failed in a way nobody foresaw", **delivery.identity)
            return await self._look_up(delivery, "internal")

    def _landed(self) -> None:
        self._count -= 1
        metrics.LOOKUPS_WAITING.set(self._count)


def _keys(delivery: Delivery) -> list[Key]:
    partition = delivery.message.partition
    return [(partition, alias) for alias in delivery.contact.aliases]
