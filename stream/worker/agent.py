"""The agent: gives each webhook of ``webhooks`` its outcome.

Rule 1: the reading loop answers a hit itself, without a task. Every other webhook becomes a look-up
(``single_flight``), so a hit never waits behind a paid call.
Rule 2: the loop never waits for room in the look-up queue. It parks the webhook, because hits come behind it.
Rule 3: no exception leaves the loop. The runtime would restart the agent and skip the rest of the batch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from datetime import datetime

from stream import topics
from stream.domain.answers import answer_of
from stream.domain.errors import PoisonError, TransientError
from stream.domain.events import Answer, Outcome, event_id
from stream.domain.headers import REROUTE
from stream.domain.identity import contact_of
from stream.domain.leads import decode_webhook
from stream.domain.shares import Sources
from stream.kafka.batch_producer import BatchProducer
from stream.kafka.batches import Batch
from stream.kafka.clients import partition_of
from stream.kafka.offset_tracker import Tracker
from stream.logs import get_logger
from stream.lookup.chain import LookupChain
from stream.lookup.ports import LookupRequest, LookupResult
from stream.lookup.table_cache import TableCache
from stream.worker.fall_back import FallBack, reason_of
from stream.worker.in_flight import InFlight
from stream.worker.outcomes import Outcomes
from stream.worker.pending_webhook import PendingWebhook, SourceRecord
from stream.worker.single_flight import QUEUE_BYTES, SingleFlight
from stream.worker.table_path import TablePath

log = get_logger(__name__)

YIELD_EVERY_RECORDS = 200  # the loop answers so many in one tick, then lets publishing and look-ups continue
POSTGRES_ONLY_TIMEOUT_S = 1.0  # of a read that may spare a webhook the wait for a slot
EARLY_PARK_SHARE = 0.8  # of the span: from there on the oldest webhook is parked, so that reading can continue


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a worker's look-ups.

    ``deadline``: seconds of one look-up. ``slots``: look-ups that run at once. ``queue``: look-ups that run or wait
    for a slot. ``queue_limit``: seconds that a look-up waits for a slot. ``span``: see ``Tracker.span``.
    ``queue_bytes``: see ``SingleFlight``.
    """

    deadline: float
    slots: int
    queue: int
    queue_limit: float
    span: int
    queue_bytes: int = QUEUE_BYTES


class Enricher:
    """Reads source records one by one and gives each its outcome."""

    def __init__(  # noqa: PLR0913 - the worker's parts
        self,
        cache: TableCache,
        chain: LookupChain,
        outcomes: Outcomes,
        producer: BatchProducer,
        limits: Limits,
        now: Callable[[], datetime],
        denylist: frozenset[str],
        area_code: str = "",
        sources: Sources | None = None,
    ) -> None:
        self._table = TablePath(cache)
        self._chain = chain
        self._outcomes = outcomes
        self._fall_back = FallBack(self._table, outcomes, now)
        self.producer = producer
        self.deadline = limits.deadline
        self.restarts = 0
        self._runs = 0
        self._limits = limits
        self._early_park_span = limits.span * EARLY_PARK_SHARE
        self._now = now
        self._denylist = denylist
        self._area_code = area_code
        self.in_flight = InFlight()
        self._sources = sources or Sources()
        self.single_flight = SingleFlight(
            self._look_up,
            slots=limits.slots,
            queue=limits.queue,
            queue_limit=limits.queue_limit,
            answer_from_postgres=self._answer_from_postgres,
            sources=lambda: self._sources.recent,
            queue_bytes=limits.queue_bytes,
        )

    async def run(self, batches: AsyncIterable[Batch]) -> None:
        """Read batches for ever. A second call means that the runtime has restarted the agent."""
        self.restarts = self._runs
        self._runs += 1
        async for batch in batches:
            try:
                await self._process_batch(batch)
            finally:
                batch.dispatched.set()

    async def _process_batch(self, batch: Batch) -> None:
        """Process the records of a batch. Stop when its partition is revoked."""
        tracker, now = batch.tracker, self.timestamp()
        for count, record in enumerate(batch.records, 1):
            if tracker.revoked:
                return
            self._process_record(SourceRecord(record, tracker), now)
            # A hit seldom has to wait: these two checks spare it the cost of an await.
            if self.producer.is_full:
                await self.producer.wait_for_capacity()
            if tracker.span >= self._early_park_span:
                await self._limit_span(tracker)
            if count % YIELD_EVERY_RECORDS == 0:
                self._outcomes.dlq_guard.tally()
                await asyncio.sleep(0)
                now = self.timestamp()
        self._outcomes.dlq_guard.tally()

    def _process_record(self, record: SourceRecord, now: float) -> None:
        try:
            webhook = decode_webhook(record.kafka_record.value)
            lead = webhook.lead
            pending = PendingWebhook(record, webhook, contact_of(lead, self._denylist, self._area_code), event_id(lead))
        except PoisonError as error:
            self._outcomes.dead_letter(record, error)
            return
        except Exception as error:
            # Without a dead letter the record would fail again after each restart. If all records fail, the fuse
            # stops the worker.
            at = {"partition": record.partition, "offset": record.offset}
            log.exception("unexpected error in a webhook", **at, **record.identity)
            self._outcomes.dead_letter(record, PoisonError(f"unforeseen: {type(error).__name__}"))
            return
        self._outcomes.dlq_guard.record_valid()
        self._dispatch(pending, now)

    def _dispatch(self, pending: PendingWebhook, now: float) -> None:
        if self._is_on_wrong_partition(pending):
            self._outcomes.reroute(pending)
            return
        if pending.webhook.lead.is_test:
            self._outcomes.answer(pending, Answer(Outcome.TEST))
            return
        if not pending.contact.aliases:
            self._outcomes.answer(pending, Answer(Outcome.NO_CONTACT))
            return
        self._sources.seen.add(pending.webhook.source)
        lookup = self.single_flight.find(pending)
        answer = None if lookup else self._table.answer(pending, now)
        if answer is not None:
            self._outcomes.answer(pending, answer)
            return
        if not self.single_flight.has_room_for(pending.webhook.source):
            self._fall_back.answer_stale_or_park(pending, "queue")
            return
        if lookup is None and self.single_flight.is_full_for(pending.webhook.source):
            if self.single_flight.has_room_for_postgres_only:  # PostgreSQL may know the contact
                self._start_lookup(pending, postgres_only=True)
            else:
                self._fall_back.answer_stale_or_park(pending, "queue")
            return
        self._start_lookup(pending)

    def _start_lookup(self, pending: PendingWebhook, *, postgres_only: bool = False) -> None:
        self.in_flight.add(pending)
        self.single_flight.submit(pending, postgres_only=postgres_only)

    def _is_on_wrong_partition(self, pending: PendingWebhook) -> bool:
        """Whether the record is on another partition than its contact's, and was not rerouted before."""
        partition = partition_of(pending.contact.record_key, self.producer.partitions(topics.WEBHOOKS.name))
        return partition != pending.record.kafka_record.partition and not pending.record.header(REROUTE)

    async def _look_up(self, pending: PendingWebhook, failed: str) -> str:
        """Give one webhook of a look-up its outcome. Return why its provider failed, "" if none did.

        ``failed``: why the webhook before it could not be answered, "" if it was. Then no provider is asked again.
        """
        if pending.has_outcome:
            return failed
        pending.lookup_started_at = time.monotonic()
        answer = self._table.answer(pending, self.timestamp())
        if answer is not None:
            self._outcomes.answer(pending, answer)
            return failed
        if failed:
            self._fall_back.answer_stale_or_park(pending, failed)
            return failed
        return await self._resolve(pending)

    async def _answer_from_postgres(self, pending: PendingWebhook) -> bool:
        """Answer one webhook from the table or from PostgreSQL. Return whether it has an outcome."""
        if pending.has_outcome:
            return True
        answer = self._table.answer(pending, self.timestamp())
        if answer is not None:
            self._outcomes.answer(pending, answer)
            return True
        facts = self._table.facts(pending, self.timestamp())
        try:
            async with asyncio.timeout(POSTGRES_ONLY_TIMEOUT_S):
                result = await self._chain.resolve_from_postgres(_request(pending), facts)
        except (TransientError, TimeoutError):
            return False  # the look-up itself reports the failure
        if result is not None:
            self._apply(pending, result)
        return result is not None

    async def _resolve(self, pending: PendingWebhook) -> str:
        """Look one webhook up. Return why its provider failed, "" if none did."""
        facts = self._table.facts(pending, self.timestamp())
        return self._apply(pending, await self._chain.resolve(_request(pending), facts, self._limits.deadline))

    def _apply(self, pending: PendingWebhook, result: LookupResult) -> str:
        """Give a webhook the outcome of its look-up. The table remembers what a failed look-up learned as well."""
        self._table.remember(pending, result.facts, result.answer, self.timestamp())
        if result.answer is not None:
            self._outcomes.answer(pending, answer_of(result.answer, result.tier, result.calls))
        elif isinstance(result.failure, PoisonError):
            self._outcomes.dead_letter_with_event(pending, result.failure, result.calls)
        elif result.failure is not None:
            reason = reason_of(result.failure)
            self._fall_back.answer_stale_or_park(pending, reason, result.facts, result.calls)
            return reason
        return ""

    async def _limit_span(self, tracker: Tracker) -> None:
        """Park the oldest webhook of a partition, and wait until the span is below its limit."""
        oldest = self.in_flight.oldest(tracker)
        if oldest is not None:
            self._outcomes.park(oldest, "span")
        await tracker.shrink(self._limits.span)

    def timestamp(self) -> float:
        """The worker's clock in epoch seconds."""
        return self._now().timestamp()

    async def stop(self) -> None:
        """Cancel all look-ups. Wait until paid answers are stored and every call is settled in the ledger."""
        await self.single_flight.close()
        await self._chain.wait_settled()

    def park_all(self, reason: str) -> None:
        """Park every webhook that is being looked up or waits for a slot: the worker stops."""
        for pending in self.in_flight:
            self._outcomes.park(pending, reason)


def _request(pending: PendingWebhook) -> LookupRequest:
    lead = pending.webhook.lead
    return LookupRequest(pending.contact, lead.name, lead.id, lead.source, pending.event_id)
