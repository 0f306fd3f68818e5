"""Single flight: one look-up of a contact at a time; its other webhooks wait for the result and are answered in order.

Rule 1: a look-up answers the webhooks of one contact one after the other. A webhook that shares an alias with a running
look-up joins it.
Rule 2: slots, look-ups and the bytes of their webhooks are limited. The agent asks before it submits (``is_full_for``,
``has_room_for``) and parks the webhook if there is no room: it never waits for this queue.
Rule 3: a contact that PostgreSQL knows waits for no slot. While all slots are in use, a look-up asks PostgreSQL before
it waits for one. If its source may start no look-up, PostgreSQL is asked before the webhook is parked
(``submit(..., postgres_only=True)``).
Rule 4: no source starves another. Half of the queue is reserved for the sources of the last days (``domain.shares``),
and the sources get slots in turn.
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

# Look one webhook up and give it an outcome. The second argument says why the webhook before it could not be answered.
# Return why its provider failed, "" if none did.
LookUpWebhook = Callable[[PendingWebhook, str], Awaitable[str]]
# Answer a webhook without a provider. Return whether it has an outcome.
AnswerFromPostgres = Callable[[PendingWebhook], Awaitable[bool]]
Key = tuple[int, str]  # partition, alias

QUEUE_BYTES = 64 * 1024 * 1024  # values and headers of webhooks that are looked up or wait for it


@dataclass(slots=True, eq=False)  # by identity: a dataclass with equality by value has no hash
class Lookup:
    """The webhooks of one contact that wait for one result.

    ``source``: that of the first webhook; the look-up counts in its share. ``postgres_only``: it gets no slot and asks
    no provider.
    """

    source: str
    postgres_only: bool = False
    waiting: deque[PendingWebhook] = field(default_factory=deque)
    keys: set[Key] = field(default_factory=set)
    task: asyncio.Task[None] | None = None


class SingleFlight:
    """All look-ups of a worker."""

    def __init__(  # noqa: PLR0913 - its bounds
        self,
        look_up: LookUpWebhook,
        *,
        slots: int,
        queue: int,
        queue_limit: float,
        answer_from_postgres: AnswerFromPostgres | None = None,
        sources: Callable[[], frozenset[str]] = frozenset,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        """``queue``: maximum look-ups; ``queue_limit``: seconds that one waits for a slot at most.

        ``sources``: the sources that have a share of the queue, beside the one that asks. ``queue_bytes``: maximum
        bytes of values and headers in the queue; the last webhook of a source may exceed it.
        """
        self._look_up = look_up
        self._answer_from_postgres = answer_from_postgres
        self._max_postgres_only = queue if answer_from_postgres is not None else 0
        self._postgres_only = 0
        self._lookups = SharedLimit(queue, sources)
        self._bytes = SharedLimit(queue_bytes, sources)
        self._slots = FairSlots(slots)
        self._queue_limit = queue_limit
        self._by_key: dict[Key, Lookup] = {}
        self._webhooks = self._waiting_webhooks = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """How many webhooks are looked up or wait for it."""
        return self._webhooks

    def find(self, pending: PendingWebhook) -> Lookup | None:
        """The look-up that this webhook must join, so that its contact's webhooks are answered in order."""
        if not self._by_key:
            return None
        for key in _keys(pending):
            lookup = self._by_key.get(key)
            if lookup is not None:
                return lookup
        return None

    def submit(self, pending: PendingWebhook, *, postgres_only: bool = False) -> None:
        """Join the contact's look-up, or start one; with ``postgres_only`` one that asks no provider."""
        lookup = self.find(pending)
        if lookup is None:
            lookup = Lookup(pending.webhook.source, postgres_only)
            self._count_lookup(lookup, 1)
            lookup.task = asyncio.create_task(self._run(lookup))
            self._tasks.add(lookup.task)
            lookup.task.add_done_callback(self._tasks.discard)
        elif lookup.postgres_only and not postgres_only and not self.is_full_for(pending.webhook.source):
            # The webhook that joins may ask a provider, so from now on the look-up counts in its source's share.
            self._count_lookup(lookup, -1)
            lookup.postgres_only, lookup.source = False, pending.webhook.source
            self._count_lookup(lookup, 1)
        pending.queued_bytes = pending.record.size
        lookup.waiting.append(pending)
        self._count_webhook(lookup, pending, 1)
        for key in _keys(pending):
            if key not in self._by_key:
                self._by_key[key] = lookup
                lookup.keys.add(key)

    def is_full_for(self, source: str) -> bool:
        """Whether ``source`` may start no further look-up. Its webhooks may still join one."""
        return self._lookups.is_full_for(source)

    def has_room_for(self, source: str) -> bool:
        """Whether the queue has bytes left for a webhook of ``source``, also for one that joins a look-up."""
        return not self._bytes.is_full_for(source)

    @property
    def bytes_held(self) -> int:
        """Bytes of all webhooks that are looked up or wait for it."""
        return self._bytes.held

    @property
    def has_room_for_postgres_only(self) -> bool:
        """Whether a look-up that asks PostgreSQL only may start. Their maximum is that of the other look-ups."""
        return self._postgres_only < self._max_postgres_only

    def is_busy_for(self, source: str) -> bool:
        """Whether parked webhooks of ``source`` must wait: half of the queue and of each share is for new webhooks."""
        return self._lookups.is_busy_for(source) or self._bytes.is_busy_for(source)

    async def drain(self, seconds: float) -> None:
        """Wait until all look-ups have ended, at most ``seconds``."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    async def close(self) -> None:
        """Cancel all look-ups. The caller must park the webhooks that have no outcome."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, lookup: Lookup) -> None:
        has_slot = False
        try:
            await self._answer_known(lookup)
            has_slot = bool(lookup.waiting) and not lookup.postgres_only and await self._acquire_slot(lookup.source)
            reason = "" if has_slot else "queue"
            metrics.LOOKUPS_RUNNING.inc(has_slot)
            # A webhook stays in ``waiting`` while it is looked up: the contact's next one must find the look-up.
            source = lookup.source
            while lookup.waiting:
                if lookup.waiting[0].webhook.source != source and reason.endswith(SOURCE_SPENT):
                    reason = ""  # another source has its own share of the budget
                source = lookup.waiting[0].webhook.source
                reason = await self._look_up_safely(lookup.waiting[0], reason)
                self._count_webhook(lookup, lookup.waiting.popleft(), -1)
        finally:
            if has_slot:
                self._slots.release()
                metrics.LOOKUPS_RUNNING.dec()
            self._count_lookup(lookup, -1)
            for key in lookup.keys:
                self._by_key.pop(key, None)

    def _count_lookup(self, lookup: Lookup, by: int) -> None:
        if lookup.postgres_only:
            self._postgres_only += by
        else:
            self._lookups.add(lookup.source, by)

    async def _answer_known(self, lookup: Lookup) -> None:
        """Answer what PostgreSQL knows before the rest waits for a slot. With a free slot the look-up itself asks."""
        if self._answer_from_postgres is None or not (lookup.postgres_only or self._slots.all_in_use):
            return
        try:
            while lookup.waiting and await self._answer_from_postgres(lookup.waiting[0]):
                self._count_webhook(lookup, lookup.waiting.popleft(), -1)
        except Exception:
            log.exception("unexpected error in a look-up")

    async def _acquire_slot(self, source: str) -> bool:
        """Wait for a slot. Return False after ``queue_limit``."""
        try:
            async with asyncio.timeout(self._queue_limit):
                await self._slots.acquire(source)
        except TimeoutError:
            return False
        return True

    async def _look_up_safely(self, pending: PendingWebhook, reason: str) -> str:
        """Catch every exception: the runtime does not know this webhook any more, so nobody else could end it."""
        try:
            return await self._look_up(pending, reason)
        except Exception:
            log.exception("unexpected error in a look-up", **pending.identity)
            return await self._look_up(pending, "internal")

    def _count_webhook(self, lookup: Lookup, pending: PendingWebhook, by: int) -> None:
        self._webhooks += by
        self._bytes.add(pending.webhook.source, by * pending.queued_bytes)
        if not lookup.postgres_only:  # it waits for no slot
            self._waiting_webhooks += by
            metrics.LOOKUPS_WAITING.set(self._waiting_webhooks)


def _keys(pending: PendingWebhook) -> list[Key]:
    partition = pending.record.partition
    return [(partition, alias) for alias in pending.contact.aliases]
