"""Keeps the books that reports are made from, out of ``contacts.enriched``, in batches.

``stream.answered`` has one row a webhook, whatever is replayed. ``public.webhook_events``, which the replaced
service reads too, is kept only when asked for: while both run, it would take our rows for its own.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from stream.domain.errors import TransientError
from stream.domain.events import EnrichedEvent, Outcome, decode_event
from stream.logs import get_logger
from stream.store.ledger import BILLING_ZONE
from stream.store.pool import database_errors
from stream.store.queries import sql

log = get_logger(__name__)

BATCH = 1_000  # events a transaction
POLL = 500  # ms
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
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(sql("record_answered"), *_columns(map(_answered, _ends(events)), 11))
                if self._webhook_events:
                    await connection.execute(
                        sql("record_webhook_events"), *_columns(map(_webhook_event, _ends(events)), 7)
                    )


def _ends(events: Iterable[EnrichedEvent]) -> list[EnrichedEvent]:
    """One event a webhook: a statement may touch a row once. The first end wins over what was pending before it."""
    ends: dict[str, EnrichedEvent] = {}
    for event in events:
        there = ends.get(event.event_id)
        if there is None or (there.outcome is Outcome.PENDING and event.outcome is not Outcome.PENDING):
            ends[event.event_id] = event
    # Rows are locked in one order, so that two journals can't lock each other out.
    return sorted(ends.values(), key=lambda event: event.event_id)


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
    pending = event.outcome is Outcome.PENDING
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
    while not stop.is_set():
        try:
            batches = await consumer.getmany(timeout_ms=POLL, max_records=BATCH)
            records = [record for batch in batches.values() for record in batch]
            if records:
                await _write_for_sure(journal, _decode(records), stop)
                await consumer.commit(_after(records))
        except KafkaError as error:
            log.warning("the broker is away or took partitions", error=type(error).__name__)
            await asyncio.sleep(PAUSES[0])


async def _write_for_sure(journal: Journal, events: list[EnrichedEvent], stop: asyncio.Event) -> None:
    for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
        try:
            return await journal.write(events)
        except TransientError as error:
            if stop.is_set():
                raise
            log.warning("will try again", reason=error.reason, seconds=pause)
            await asyncio.sleep(pause)
    return None


def _decode(records: Iterable[ConsumerRecord]) -> list[EnrichedEvent]:
    events = []
    for record in records:
        try:
            events.append(decode_event(record.value or b""))
        except ValueError:
            # Foreign; the CRM sync makes a dead letter of it, one is enough.
            log.warning("not an event", partition=record.partition, offset=record.offset)
    return events


def _after(records: Iterable[ConsumerRecord]) -> dict[TopicPartition, int]:
    return {TopicPartition(record.topic, record.partition): record.offset + 1 for record in records}
