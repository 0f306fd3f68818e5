"""The handlers of the plain consumers on a consumer in memory: how many records they take, what they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from aiokafka import ConsumerRecord
from structlog.testing import capture_logs

from stream.crm.key_order import KeyOrder
from stream.domain.errors import DatabaseUnavailableError, StopError
from stream.domain.events import EnrichedEvent
from stream.logs.outages import forget
from stream.reporting.journal import JOURNAL_CONSUMER, Journal
from stream.worker.retry_reader import RetryReader
from tests.support.enriched import event
from tests.support.memory_consumer import FIRST, MemoryConsumer, position, running
from tests.support.waiting import until_true


async def test_no_more_records_are_read_than_the_handler_has_room_for() -> None:
    """Twice as many records are read as are handled at a time, however many there are."""
    consumer = MemoryConsumer(FIRST)
    consumer.write(FIRST, *(f"{chr(97 + number % 26)}{number}" for number in range(100)))
    gate, begun = asyncio.Event(), []

    async def handle(record: ConsumerRecord) -> None:
        begun.append(record.offset)
        await gate.wait()

    async with running(consumer, KeyOrder(handle, concurrency=3)):
        await until_true(lambda: len(begun) == 3)
        assert len(consumer.logs[FIRST]) - position(consumer, FIRST) == 94
        gate.set()
        await until_true(lambda: consumer.committed == {FIRST: 100})
    assert sorted(begun) == list(range(100))


class FailingJournal(Journal):
    """A journal whose database fails as the test says."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.tries = 0
        self.written: list[str] = []

    async def write(self, events: Sequence[EnrichedEvent]) -> None:
        """Write, or fail."""
        self.tries += 1
        if self.failure is not None:
            raise self.failure
        self.written += [event.lead.id for event in events]


def write_events(consumer: MemoryConsumer, *leads: str) -> None:
    consumer.write(FIRST, *(orjson.dumps(event(lead)).decode() for lead in leads))


async def test_a_journal_reads_nothing_while_it_waits_for_its_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a database one batch waits uncommitted; it is written whole, and then the records that came meanwhile."""
    monkeypatch.setattr("stream.kafka.attempts.RETRY_PAUSES_S", (0.001,))
    consumer, journal = MemoryConsumer(FIRST), FailingJournal()
    journal.failure = DatabaseUnavailableError("taken", is_away=False)
    write_events(consumer, "A", "B")
    async with running(consumer, journal, replace(JOURNAL_CONSUMER, topics=("events",))):
        await until_true(lambda: journal.tries > 2)
        write_events(consumer, "C")
        tries = journal.tries
        await until_true(lambda: journal.tries > tries + 2)
        assert (position(consumer, FIRST), consumer.commits) == (2, 0)
        journal.failure = None
        await until_true(lambda: consumer.committed == {FIRST: 3})
    forget()
    assert journal.written == ["A", "B", "C"]


async def test_a_stop_ends_a_journal_that_waits_for_its_database() -> None:
    """A stop ends the wait at once, long before the next attempt; the batch is read again."""
    consumer, journal = MemoryConsumer(FIRST), FailingJournal()
    journal.failure = DatabaseUnavailableError("gone")
    write_events(consumer, "A")
    async with running(consumer, journal, replace(JOURNAL_CONSUMER, grace=3600.0)) as (task, stop):
        await until_true(lambda: journal.tries > 0)
        stop.set()
        await asyncio.wait_for(task, 30)
    forget()
    assert consumer.committed == {}


async def test_an_unforeseen_error_stops_the_journal_without_values_in_the_reason() -> None:
    """The reason has only the class of the error, and nothing of the batch is committed."""
    consumer, journal = MemoryConsumer(FIRST), FailingJournal()
    journal.failure = KeyError("11987654321")
    write_events(consumer, "A")
    with capture_logs() as lines:
        async with running(consumer, journal, JOURNAL_CONSUMER) as (task, _):
            with pytest.raises(StopError, match=r"KeyError$"):
                await asyncio.wait_for(asyncio.shield(task), 30)
    assert [line["event"] for line in lines] == ["a record can't be handled"]
    assert consumer.committed == {}


async def test_the_retry_reader_waits_while_the_producer_is_full() -> None:
    """The retry reader reads on when the producer has room, because records that it moves wait in memory."""
    consumer = MemoryConsumer(FIRST)
    consumer.write(FIRST, "a", "b")
    producer: Any = SimpleNamespace(is_full=True, enqueue=lambda *_: _[-1]())
    client: Any = consumer
    reader = RetryReader(client, producer, lambda: datetime.now(UTC), timedelta(hours=1), lambda _: False)
    await consumer.assign()
    running = asyncio.create_task(reader.run())
    await until_true(lambda: consumer.is_asked_for_ends)
    assert position(consumer, FIRST) == 0
    producer.is_full = False
    await until_true(lambda: consumer.committed == {FIRST: 2})
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
