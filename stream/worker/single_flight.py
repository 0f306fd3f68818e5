"""Single flight: while a contact is looked up, its other webhooks wait for that result and leave in order.

A lookup works through the webhooks of one contact, one after the other. A webhook that shares an alias with
a lookup joins it. SingleFlight share a bounded number of slots, and no more of them wait than may: the reader sends the
next contact away (``is_full_for``) and never waits for this queue. Nor do their webhooks hold more bytes than they may:
what finds no room (``has_room_for``) is sent away as well, also where it could join a lookup.

Nobody waits who is known: while all slots are taken, PostgreSQL is asked before a lookup waits for one, or, where its
source may start no lookup, before it is parked (``submit(..., known_only=True)``).

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
from stream.worker.pending_webhook import PendingWebhook
from stream.worker.slots import FairSlots

log = get_logger(__name__)

# Look one webhook up and end it. Returns why its partner failed, "" when it did not.
LookUp = Callable[[PendingWebhook, str], Awaitable[str]]
# Answer a webhook from what is known, asking no partner. Returns whether it has ended.
Recall = Callable[[PendingWebhook], Awaitable[bool]]
Key = tuple[int, str]

QUEUE_BYTES = 64 * 1024 * 1024  # of records whose webhooks are looked up or wait for it


@dataclass(slots=True, eq=False)  # a lookup is itself, whatever waits in it; compared by value it has no hash
class Lookup:
    """The webhooks of one contact that wait for one result; ``source``: of the first of them.

    ``known_only``: it gets no slot.
    """

    source: str
    known_only: bool = False
    waiting: deque[PendingWebhook] = field(default_factory=deque)
    keys: set[Key] = field(default_factory=set)
    task: asyncio.Task[None] | None = None


class SingleFlight:
    """All look-ups of a worker."""

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
        """``queue``: look-ups there may be; ``queue_limit``: seconds one may wait for a slot.

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
        self._by_key: dict[Key, Lookup] = {}
        self._count = self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """Webhooks that fly or wait."""
        return self._count

    def find(self, delivery: PendingWebhook) -> Lookup | None:
        """The lookup that this webhook must join, so that its contact keeps its order."""
        if not self._by_key:
            return None
        for key in _keys(delivery):
            lookup = self._by_key.get(key)
            if lookup is not None:
                return lookup
        return None

    def submit(self, delivery: PendingWebhook, *, known_only: bool = False) -> None:
        """Join the contact's lookup, or start one; with ``known_only`` one that asks no partner."""
        lookup = self.find(delivery)
        if lookup is None:
            lookup = Lookup(delivery.webhook.source, known_only)
            self._count_flight(lookup, 1)
            lookup.task = asyncio.create_task(self._run(lookup))
            self._tasks.add(lookup.task)
            lookup.task.add_done_callback(self._tasks.discard)
        elif lookup.known_only and not known_only and not self.is_full_for(delivery.webhook.source):
            self._count_flight(lookup, -1)  # whoever joins may ask a partner: from now on the lookup is theirs
            lookup.known_only, lookup.source = False, delivery.webhook.source
            self._count_flight(lookup, 1)
        delivery.queued_bytes = delivery.message.size
        lookup.waiting.append(delivery)
        self._count_webhook(lookup, delivery, 1)
        for key in _keys(delivery):
            if key not in self._by_key:
                self._by_key[key] = lookup
                lookup.keys.add(key)

    def is_full_for(self, source: str) -> bool:
        """Whether ``source`` has as many look-ups as it may: a webhook may still join one, but none may start."""
        return self._places.is_full_for(source)

    def has_room_for(self, source: str) -> bool:
        """Whether a webhook of ``source`` may come in, be it to join a lookup: it holds its bytes either way."""
        return not self._bytes.is_full_for(source)

    @property
    def bytes_held(self) -> int:
        """Bytes of all webhooks that fly or wait."""
        return self._bytes.held

    @property
    def has_room_to_recall(self) -> bool:
        """Whether a lookup of the known may start: as many at once as of the others."""
        return self._known_only < self._most_known_only

    def is_busy_for(self, source: str) -> bool:
        """Whether what is parked of ``source`` had better wait: half of the queue and of each share is for new ones."""
        return self._places.is_busy_for(source) or self._bytes.is_busy_for(source)

    async def drain(self, seconds: float) -> None:
        """Wait until nothing flies, at most ``seconds``."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    async def close(self) -> None:
        """Stop all look-ups where they are; what has not ended then is the caller's to park."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, lookup: Lookup) -> None:
        has_slot = False
        try:
            await self._recall_known(lookup)
            has_slot = bool(lookup.waiting) and not lookup.known_only and await self._take_slot(lookup.source)
            reason = "" if has_slot else "queue"
            metrics.LOOKUPS_RUNNING.inc(has_slot)
            # A webhook stays in the queue while it is looked up: what comes next must still find the lookup.
            source = lookup.source
            while lookup.waiting:
                if lookup.waiting[0].webhook.source != source and reason.endswith(SOURCE_SPENT):
                    reason = ""  # another source has its own part of the budget
                source = lookup.waiting[0].webhook.source
                reason = await self._look_up_safely(lookup.waiting[0], reason)
                self._count_webhook(lookup, lookup.waiting.popleft(), -1)
        finally:
            if has_slot:
                self._slots.release()
                metrics.LOOKUPS_RUNNING.dec()
            self._count_flight(lookup, -1)
            for key in lookup.keys:
                self._by_key.pop(key, None)

    def _count_flight(self, lookup: Lookup, by: int) -> None:
        if lookup.known_only:
            self._known_only += by
        else:
            self._places.add(lookup.source, by)

    async def _recall_known(self, lookup: Lookup) -> None:
        """End what is known before the others wait for a slot; without a wait nothing is asked twice."""
        if self._recall is None or not (lookup.known_only or self._slots.are_taken):
            return
        try:
            while lookup.waiting and await self._recall(lookup.waiting[0]):
                self._count_webhook(lookup, lookup.waiting.popleft(), -1)
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

    async def _look_up_safely(self, delivery: PendingWebhook, reason: str) -> str:
        """No exception may leave: the runtime knows nothing of this webhook any more."""
        try:
            return await self._look_up(delivery, reason)
        except Exception:
            log.exception("a look-up failed in a way nobody foresaw", **delivery.identity)
            return await self._look_up(delivery, "internal")

    def _count_webhook(self, lookup: Lookup, delivery: PendingWebhook, by: int) -> None:
        self._count += by
        self._bytes.add(delivery.webhook.source, by * delivery.queued_bytes)
        if not lookup.known_only:  # those wait for no slot
            self._waiting += by
            metrics.LOOKUPS_WAITING.set(self._waiting)


def _keys(delivery: PendingWebhook) -> list[Key]:
    partition = delivery.message.partition
    return [(partition, alias) for alias in delivery.contact.aliases]
