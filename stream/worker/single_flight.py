"""Single flight: while a contact is looked up, its other webhooks wait for that result and leave in order.

A flight works through the webhooks of one contact, one after the other. A webhook that shares an alias with
a flight joins it. Flights share a bounded number of slots, and no more of them wait than may: the reader sends the
next contact away (``is_full_for``) and never waits for this queue. Nor do their webhooks hold more bytes than they may:
what finds no room (``has_room_for``) is sent away as well, also where it could join a flight.

Nobody waits who is known: while all slots are taken, PostgreSQL is asked before a flight waits for one, or, where its
source may start no flight, before it is parked (``submit(..., known_only=True)``).

No source starves another: half of the queue is reserved for the sources of the last days (``domain.shares``), and
slots are given to the sources in turns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from stream import metrics
from stream.domain.parking import SOURCE_SPENT
from stream.domain.shares import SharedLimit
from stream.logs import get_logger
from stream.worker.pending_webhook import Delivery
from stream.worker.slots import FairSlots

log = get_logger(__name__)

# Look one webhook up and end it. Returns why its partner failed, "" when it did not.
LookUp = Callable[[Delivery, str], Awaitable[str]]
# Answer a webhook from what is known, asking no partner. Returns whether it has ended.
Recall = Callable[[Delivery], Awaitable[bool]]
Key = tuple[int, str]

QUEUE_BYTES = 64 * 1024 * 1024  # of records whose webhooks are looked up or wait for it


@dataclass(slots=True, eq=False)  # a flight is itself, whatever waits in it; compared by value it has no hash
class Flight:
    """The webhooks of one contact that wait for one result; ``source``: of the first of them.

    ``known_only``: it gets no slot.
    """

    source: str
    known_only: bool = False
    waiting: deque[Delivery] = field(default_factory=deque)
    keys: set[Key] = field(default_factory=set)
    task: asyncio.Task[None] | None = None


class Flights:
    """All flights of a worker."""

    def __init__(  # noqa: PLR0913 - its bounds
        self,
        look_up: LookUp,
        *,
        slots: int,
        queue: int,
        queue_limit: float,
        recall: Recall | None = None,
        sources: Callable[[], frozenset[str]] = frozenset,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        """``queue``: flights there may be; ``queue_limit``: seconds a flight may wait for a slot.

        ``sources``: those that have a share of the queue, beside whoever asks. ``queue_bytes``: values and headers of
        all webhooks in it; the last one of a source may pass it.
        """
        self._look_up = look_up
        self._recall = recall
        self._most_known_only = queue if recall is not None else 0
        self._known_only = 0
        self._places = SharedLimit(queue, sources)
        self._bytes = SharedLimit(queue_bytes, sources)
        self._slots = FairSlots(slots)
        self._queue_limit = queue_limit
        self._by_key: dict[Key, Flight] = {}
        self._count = self._waiting = 0
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

    def submit(self, delivery: Delivery, *, known_only: bool = False) -> None:
        """Join the contact's flight, or start one; with ``known_only`` one that asks no partner."""
        flight = self.find(delivery)
        if flight is None:
            flight = Flight(delivery.webhook.source, known_only)
            self._count_flight(flight, 1)
            flight.task = asyncio.create_task(self._fly(flight))
            self._tasks.add(flight.task)
            flight.task.add_done_callback(self._tasks.discard)
        elif flight.known_only and not known_only and not self.is_full_for(delivery.webhook.source):
            self._count_flight(flight, -1)  # whoever joins may ask a partner: from now on the flight is theirs
            flight.known_only, flight.source = False, delivery.webhook.source
            self._count_flight(flight, 1)
        delivery.queued_bytes = delivery.message.size
        flight.waiting.append(delivery)
        self._count_webhook(flight, delivery, 1)
        for key in _keys(delivery):
            if key not in self._by_key:
                self._by_key[key] = flight
                flight.keys.add(key)

    def is_full_for(self, source: str) -> bool:
        """Whether ``source`` has as many flights as it may: a webhook may still join one, but none may start."""
        return self._places.is_full_for(source)

    def has_room_for(self, source: str) -> bool:
        """Whether a webhook of ``source`` may come in, be it to join a flight: it holds its bytes either way."""
        return not self._bytes.is_full_for(source)

    @property
    def bytes_held(self) -> int:
        """Bytes of all webhooks that fly or wait."""
        return self._bytes.held

    @property
    def has_room_to_recall(self) -> bool:
        """Whether a flight of the known may start: as many at once as of the others."""
        return self._known_only < self._most_known_only

    def is_busy_for(self, source: str) -> bool:
        """Whether what is parked of ``source`` had better wait: half of the queue and of each share is for new ones."""
        return self._places.is_busy_for(source) or self._bytes.is_busy_for(source)

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
            await self._recall_known(flight)
            has_slot = bool(flight.waiting) and not flight.known_only and await self._take_slot(flight.source)
            reason = "" if has_slot else "queue"
            metrics.LOOKUPS_RUNNING.inc(has_slot)
            # A webhook stays in the queue while it is looked up: what comes next must still find the flight.
            source = flight.source
            while flight.waiting:
                if flight.waiting[0].webhook.source != source and reason.endswith(SOURCE_SPENT):
                    reason = ""  # another source has its own part of the budget
                source = flight.waiting[0].webhook.source
                reason = await self._look_up_safely(flight.waiting[0], reason)
                self._count_webhook(flight, flight.waiting.popleft(), -1)
        finally:
            if has_slot:
                self._slots.release()
                metrics.LOOKUPS_RUNNING.dec()
            self._count_flight(flight, -1)
            for key in flight.keys:
                self._by_key.pop(key, None)

    def _count_flight(self, flight: Flight, by: int) -> None:
        if flight.known_only:
            self._known_only += by
        else:
            self._places.add(flight.source, by)

    async def _recall_known(self, flight: Flight) -> None:
        """End what is known before the others wait for a slot; without a wait nothing is asked twice."""
        if self._recall is None or not (flight.known_only or self._slots.are_taken):
            return
        try:
            while flight.waiting and await self._recall(flight.waiting[0]):
                self._count_webhook(flight, flight.waiting.popleft(), -1)
        except Exception:
            log.exception("a look-up failed in a way nobody foresaw")

    async def _take_slot(self, source: str) -> bool:
        """Wait for a slot; False when that took too long."""
        try:
            async with asyncio.timeout(self._queue_limit):
                await self._slots.acquire(source)
        except TimeoutError:
            return False
        return True

    async def _look_up_safely(self, delivery: Delivery, reason: str) -> str:
        """No exception may leave: the runtime knows nothing of this webhook any more."""
        try:
            return await self._look_up(delivery, reason)
        except Exception:
            log.exception("a look-up failed in a way nobody foresaw", **delivery.identity)
            return await self._look_up(delivery, "internal")

    def _count_webhook(self, flight: Flight, delivery: Delivery, by: int) -> None:
        self._count += by
        self._bytes.add(delivery.webhook.source, by * delivery.queued_bytes)
        if not flight.known_only:  # those wait for no slot
            self._waiting += by
            metrics.LOOKUPS_WAITING.set(self._waiting)


def _keys(delivery: Delivery) -> list[Key]:
    partition = delivery.message.partition
    return [(partition, alias) for alias in delivery.contact.aliases]
