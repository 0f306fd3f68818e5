"""The agent: answers webhooks. A hit is answered at once, a miss is looked up, and what can't be answered is parked.

Two lanes: what the table knows is answered in the reading loop, without a task; the rest becomes a lookup
(``single_flight``), so that a repeat never waits behind a paid call. No exception leaves the loop: the runtime
would restart the agent, and skip the batch in whose midst it raised.
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

YIELD_EVERY = 200  # records answered in one turn of the loop; deliveries and look-ups go on between
RECALL_LIMIT = 1.0  # seconds that PostgreSQL may take to answer for whoever would wait for a slot otherwise
EARLY_PARK = 0.8  # share of the span at which the oldest webhook is parked so that reading can go on


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the worker's memory and patience; durations in seconds."""

    deadline: float
    slots: int
    queue: int
    queue_limit: float
    span: int
    queue_bytes: int = QUEUE_BYTES


class Enricher:
    """Takes messages one by one and brings each to one of its ends."""

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
        self._early = limits.span * EARLY_PARK
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
            recall=self._recall,
            sources=lambda: self._sources.recent,
            queue_bytes=limits.queue_bytes,
        )

    async def run(self, batches: AsyncIterable[Batch]) -> None:
        """Read batches for ever. A second run means that the runtime has restarted the agent."""
        self.restarts = self._runs
        self._runs += 1
        async for batch in batches:
            try:
                await self._take(batch)
            finally:
                batch.dispatched.set()

    async def _take(self, batch: Batch) -> None:
        """Begin the records of a batch, until its partition is taken away."""
        tracker, now = batch.tracker, self.timestamp()
        for count, record in enumerate(batch.records, 1):
            if tracker.revoked:
                return
            self._begin(SourceRecord(record, tracker), now)
            # Two questions without a task's cost: a hit seldom has to wait.
            if self.producer.is_full:
                await self.producer.wait_for_capacity()
            if tracker.span >= self._early:
                await self._stay_within(tracker)
            if count % YIELD_EVERY == 0:
                self._outcomes.dlq_guard.tally()
                await asyncio.sleep(0)
                now = self.timestamp()
        self._outcomes.dlq_guard.tally()

    def _begin(self, message: SourceRecord, now: float) -> None:
        try:
            webhook = decode_webhook(message.record.value)
            lead = webhook.lead
            delivery = PendingWebhook(
                message, webhook, contact_of(lead, self._denylist, self._area_code), event_id(lead)
            )
        except PoisonError as error:
            self._outcomes.dead(message, error)
            return
        except Exception as error:
            # Whatever we stumble over must not come again and again; where it is all messages, the fuse stops us.
            at = {"partition": message.partition, "offset": message.offset}
            log.exception("a message that nobody foresaw", **at, **message.identity)
            self._outcomes.dead(message, PoisonError(f"unforeseen: {type(error).__name__}"))
            return
        self._outcomes.dlq_guard.record_valid()
        self._enter(delivery, now)

    def _enter(self, delivery: PendingWebhook, now: float) -> None:
        if self._is_foreign(delivery):
            self._outcomes.rerouted(delivery)
            return
        if delivery.webhook.lead.is_test:
            self._outcomes.answered(delivery, Answer(Outcome.TEST))
            return
        if not delivery.contact.aliases:
            self._outcomes.answered(delivery, Answer(Outcome.NO_CONTACT))
            return
        self._sources.seen.add(delivery.webhook.source)
        lookup = self.single_flight.find(delivery)
        answer = None if lookup else self._table.answer(delivery, now)
        if answer is not None:
            self._outcomes.answered(delivery, answer)
            return
        if not self.single_flight.has_room_for(delivery.webhook.source):
            self._fall_back.end(delivery, "queue")
            return
        if lookup is None and self.single_flight.is_full_for(delivery.webhook.source):
            # Nobody waits for room: hits come behind it.
            if self.single_flight.has_room_to_recall:
                self._start_lookup(delivery, known_only=True)
            else:
                self._fall_back.end(delivery, "queue")
            return
        self._start_lookup(delivery)

    def _start_lookup(self, delivery: PendingWebhook, *, known_only: bool = False) -> None:
        self.in_flight.add(delivery)
        self.single_flight.submit(delivery, known_only=known_only)

    def _is_foreign(self, delivery: PendingWebhook) -> bool:
        """Whether the message lies on a partition that its contact does not belong to; moved once at most."""
        partition = partition_of(delivery.contact.record_key, self.producer.partitions(topics.WEBHOOKS.name))
        return partition != delivery.message.record.partition and not delivery.message.header(REROUTE)

    async def _look_up(self, delivery: PendingWebhook, failed: str) -> str:
        """End one webhook of a lookup; ``failed`` says why the webhook before it could not be answered."""
        if delivery.ended:
            return failed
        delivery.started = time.monotonic()
        answer = self._table.answer(delivery, self.timestamp())
        if answer is not None:
            self._outcomes.answered(delivery, answer)
            return failed
        if failed:
            self._fall_back.end(delivery, failed)
            return failed
        return await self._ask(delivery)

    async def _recall(self, delivery: PendingWebhook) -> bool:
        """Answer one webhook of a lookup from the table or from PostgreSQL; whether it has ended."""
        if delivery.ended:
            return True
        answer = self._table.answer(delivery, self.timestamp())
        if answer is not None:
            self._outcomes.answered(delivery, answer)
            return True
        facts = self._table.facts(delivery, self.timestamp())
        try:
            async with asyncio.timeout(RECALL_LIMIT):
                result = await self._chain.recall(_request(delivery), facts)
        except (TransientError, TimeoutError):
            return False  # the look-up itself will say so
        if result is not None:
            self._end(delivery, result)
        return result is not None

    async def _ask(self, delivery: PendingWebhook) -> str:
        """Look one webhook up and end it; returns why its partner failed, "" when it did not."""
        facts = self._table.facts(delivery, self.timestamp())
        return self._end(delivery, await self._chain.resolve(_request(delivery), facts, self._limits.deadline))

    def _end(self, delivery: PendingWebhook, result: LookupResult) -> str:
        """Bring a webhook to the end that its look-up came to. What was learned is kept, also where it failed."""
        self._table.remember(delivery, result.facts, result.answer, self.timestamp())
        if result.answer is not None:
            self._outcomes.answered(delivery, answer_of(result.answer, result.tier, result.calls))
        elif isinstance(result.failure, PoisonError):
            self._outcomes.deadly(delivery, result.failure, result.calls)
        elif result.failure is not None:
            reason = reason_of(result.failure)
            self._fall_back.end(delivery, reason, result.facts, result.calls)
            return reason
        return ""

    async def _stay_within(self, tracker: Tracker) -> None:
        """Keep the span between the oldest unfinished offset and the newest within its bound."""
        oldest = self.in_flight.oldest(tracker)
        if oldest is not None:
            self._outcomes.parked(oldest, "span")
        await tracker.shrink(self._limits.span)

    def timestamp(self) -> float:
        """Now, in epoch seconds, by the worker's clock."""
        return self._now().timestamp()

    async def stop(self) -> None:
        """Stop all look-ups. What was paid for is stored, and every call is settled in the ledger."""
        await self.single_flight.close()
        await self._chain.settled()

    def park_all(self, reason: str) -> None:
        """Park whatever is looked up or waits for it: the worker is leaving."""
        for delivery in self.in_flight:
            self._outcomes.parked(delivery, reason)


def _request(delivery: PendingWebhook) -> LookupRequest:
    lead = delivery.webhook.lead
    return LookupRequest(delivery.contact, lead.name, lead.id, lead.source, delivery.event_id)
