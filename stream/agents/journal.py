"""Keeps the books that reports are made from, out of ``contacts.enriched``, in batches.

``stream.answered`` has one row a webhook, whatever is replayed. ``public.webhook_events``, which the replaced
service reads too, is kept only when asked for: while both run, it would take our rows for its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterable, Sequence
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError

from stream.agents.about import about
from stream.domain.errors import DatabaseUnavailableError
from stream.domain.events import EnrichedEvent, Outcome, decode_event
from stream.engine.probe import Probe
from stream.kafka import positions, reached
from stream.logs import get_logger
from stream.outages import DATABASE, broker_failed, warn_seldom
from stream.store.ledger import BILLING_ZONE
from stream.store.pool import database_errors
from stream.store.queries import sql

log = get_logger(__name__)

BATCH = 1_000  # events a transaction
POLL = 500  # ms
COMMIT_LIMIT = 5.0  # seconds
PAUSES = (0.2, 1.0, 5.0, 15.0)  # seconds between tries; the last one is repeated

COMPLETED = "completed"
PROCESSING = "processing"


class Journal:
    """Writes batches of events; each is one transaction and may be written again."""

    def __init__(self, pool: asyncpg.Pool, *, webhook_events: bool) -> None:
        """``webhook_events``: also keep ``public.webhook_events``."""
        self._pool = pool
        self._webhook_events = webhook_events

    async def write(self, events: Sequence[EnrichedEvent]) -> None:
        """Write a batch. Raises DatabaseUnavailableError: nothing of it was written."""
        try:
            await self._write(events)
        except (asyncpg.DataError, OverflowError):  # an instant of year 1 has no day in Sao Paulo
            if len(events) == 1:
                (event,) = events
                log.warning("the database can't hold an event", event_id=event.event_id, lead=event.lead.id)
                return
            for event in events:  # one that no table takes must not cost the others
                await self.write([event])

    async def _write(self, events: Sequence[EnrichedEvent]) -> None:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                for turn in turns(events):
                    await connection.execute(sql("record_answered"), *_columns(map(_answered, turn), 11))
                    if self._webhook_events:
                        await connection.execute(sql("record_webhook_events"), *_columns(map(_webhook_event, turn), 7))


def turns(events: Iterable[EnrichedEvent]) -> list[list[EnrichedEvent]]:
    """A batch as the statements to make of it, in order: each touches a webhook once, which PostgreSQL asks for.

    All that was pending counts, since its calls are added up, and the first end; what follows an end is a repeat. An
    outcome that only a later version knows counts as an end.
    """
    of_webhook: dict[str, list[EnrichedEvent]] = {}
    for event in events:
        there = of_webhook.setdefault(event.event_id, [])
        if not there or there[-1].outcome == Outcome.PENDING:
            there.append(event)
    longest = max(map(len, of_webhook.values()), default=0)
    # Rows are locked in one order, so that two journals can't lock each other out.
    ordered = [of_webhook[event_id] for event_id in sorted(of_webhook)]
    return [[there[turn] for there in ordered if turn < len(there)] for turn in range(longest)]


def _columns(rows: Iterable[tuple[object, ...]], width: int) -> list[list[object]]:
    """Rows as the columns that ``unnest`` takes."""
    columns: list[list[object]] = [[] for _ in range(width)]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return columns


def _answered(event: EnrichedEvent) -> tuple[object, ...]:
    return (
        UUID(event.event_id),
        event.received_at.astimezone(BILLING_ZONE).date(),
        event.lead.source,
        event.lead.id,
        event.contact.key,
        event.outcome,
        event.tier,
        event.calls.diretrix,
        event.calls.work,
        event.received_at,
        event.emitted_at,
    )


def _webhook_event(event: EnrichedEvent) -> tuple[object, ...]:
    pending = event.outcome == Outcome.PENDING
    return (
        UUID(event.event_id),
        event.lead.id,
        event.lead.updated_at,
        event.lead.hook_action,
        event.received_at,
        None if pending else event.emitted_at,
        PROCESSING if pending else COMPLETED,
    )


async def run(consumer: AIOKafkaConsumer, journal: Journal, stop: asyncio.Event) -> None:
    """Read until ``stop``; a batch is committed after it was written."""
    probe = asyncio.create_task(Probe("the broker").run(consumer.topics))
    try:
        await _read(consumer, journal, stop)
    finally:
        probe.cancel()


async def _read(consumer: AIOKafkaConsumer, journal: Journal, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            before = positions(consumer)
            batches = await consumer.getmany(timeout_ms=POLL, max_records=BATCH)
            due = reached(consumer, before, batches)  # past what is no record too: markers, aborted transactions
            records = [record for batch in batches.values() for record in batch]
            if due and (not records or await _write_for_sure(journal, _decode(records), stop)):
                async with asyncio.timeout(COMMIT_LIMIT):  # aiokafka itself asks a broker that is away for ever
                    await consumer.commit(due)
        except (KafkaError, TimeoutError) as error:
            broker_failed(log, "the broker took partitions, or a commit", error)
            await asyncio.sleep(PAUSES[0])


async def _write_for_sure(journal: Journal, events: list[EnrichedEvent], stop: asyncio.Event) -> bool:
    """Write, however long the database is away; False when told to stop before: the batch comes again."""
    for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
        try:
            await journal.write(events)
        except DatabaseUnavailableError as error:
            if error.is_away:
                DATABASE.missed(error.reason)
            else:
                warn_seldom(log, "will try again", reason=error.reason)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            if stop.is_set():
                return False
        else:
            return True
    return False


def _decode(records: Iterable[ConsumerRecord]) -> list[EnrichedEvent]:
    events = []
    for record in records:
        try:
            event = decode_event(record.value or b"")
            UUID(event.event_id)
            events.append(event)
        except ValueError:
            # Foreign; the CRM sync makes a dead letter of it, one is enough.
            log.warning("not an event", partition=record.partition, offset=record.offset, **about(record))
    return events
