"""Writes the events of ``contacts.enriched`` into the tables that reports are made from.

``stream.answered`` has one row for each webhook, however often it is replayed. ``public.webhook_events``, which the
replaced service reads too, is written only on request: while both run, that service would take our rows for its own.

A batch is one transaction, and its records are completed with it. While PostgreSQL is away the batch waits, and nothing
more is read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import partial
from uuid import UUID

import asyncpg
from aiokafka import ConsumerRecord

from stream import topics
from stream.domain.errors import TransientError
from stream.domain.events import EnrichedEvent, Outcome, decode_event
from stream.kafka.attempts import Attempts
from stream.kafka.consumer_loop import ConsumerSpec, Fetched, RecordHandler, Work
from stream.kafka.record_identity import about
from stream.logs import get_logger
from stream.logs.outages import warn_seldom
from stream.store.ledger import BILLING_ZONE
from stream.store.pool import database_errors
from stream.store.queries import sql

log = get_logger(__name__)

BATCH_RECORDS = 1_000  # of one transaction
BROKER_FAILED = "the broker revoked partitions or refused a commit"
JOURNAL_CONSUMER = ConsumerSpec(
    topics.JOURNAL_GROUP,
    (topics.ENRICHED.name,),
    commit_every=0.0,
    read_failed=BROKER_FAILED,
    commit_failed=BROKER_FAILED,
    commit_refused=BROKER_FAILED,
)

COMPLETED = "completed"
PROCESSING = "processing"


class Journal(RecordHandler):
    """Writes batches of events. Each batch is one transaction and may be written twice."""

    def __init__(self, pool: asyncpg.Pool, *, webhook_events: bool) -> None:
        """``webhook_events``: also write ``public.webhook_events``."""
        self._pool = pool
        self._webhook_events = webhook_events

    def room(self, under_way: int) -> int:
        """One batch at a time."""
        return 0 if under_way else BATCH_RECORDS

    def start(self, fetched: Fetched, attempts: Attempts) -> list[Work]:
        """Take all records as one ``Work``, which retries while the database is away."""
        records = list(itertools.chain.from_iterable(fetched.values()))
        return [Work(records, partial(self._write_records, records, attempts))]

    async def _write_records(self, records: Sequence[ConsumerRecord], attempts: Attempts) -> None:
        await attempts.until_completed(partial(self.write, _decode(records)), report=_report)

    async def write(self, events: Sequence[EnrichedEvent]) -> None:
        """Write a batch. Raises DatabaseUnavailableError if nothing of it was written."""
        try:
            await self._write(events)
        except (asyncpg.DataError, OverflowError):  # an instant in year 1 has no date in Sao Paulo
            if len(events) == 1:
                (event,) = events
                log.warning("the database can't store an event", event_id=event.event_id, lead=event.lead.id)
                return
            for event in events:  # one event that can't be stored must not cost the others
                await self.write([event])

    async def _write(self, events: Sequence[EnrichedEvent]) -> None:
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                for one_pass in passes(events):
                    await connection.execute(sql("record_answered"), *_columns(map(_answered, one_pass), 11))
                    if self._webhook_events:
                        await connection.execute(
                            sql("record_webhook_events"), *_columns(map(_webhook_event, one_pass), 7)
                        )


def passes(events: Iterable[EnrichedEvent]) -> list[list[EnrichedEvent]]:
    """Split a batch into the statements to execute, in order: PostgreSQL lets one statement update a row once.

    Of each webhook all pending events count, because their calls are added up, and the first final one. Events after
    the final one are repeats. An outcome that this version does not know counts as final.
    """
    of_webhook: dict[str, list[EnrichedEvent]] = {}
    for event in events:
        kept = of_webhook.setdefault(event.event_id, [])
        if not kept or kept[-1].outcome == Outcome.PENDING:
            kept.append(event)
    longest = max(map(len, of_webhook.values()), default=0)
    # Sorted, so that two journals lock rows in the same order and can't deadlock.
    ordered = [of_webhook[event_id] for event_id in sorted(of_webhook)]
    return [[kept[number] for kept in ordered if number < len(kept)] for number in range(longest)]


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


def _report(error: TransientError, _: float) -> None:
    warn_seldom(log, "write failed, will try again", reason=error.reason)


def _decode(records: Iterable[ConsumerRecord]) -> list[EnrichedEvent]:
    events = []
    for record in records:
        try:
            event = decode_event(record.value or b"")
            UUID(event.event_id)
            events.append(event)
        except ValueError:
            # Not ours. The CRM sync publishes a dead letter for it.
            log.warning("not an event", partition=record.partition, offset=record.offset, **about(record))
    return events
