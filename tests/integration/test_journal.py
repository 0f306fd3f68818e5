"""The journal on a real broker and database: one row for each webhook, whatever is repeated, late or invalid."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import orjson
import pytest

from stream.domain.events import decode_event
from stream.kafka.consumer_loop import open_consumer_loop
from stream.reporting.journal import JOURNAL_CONSUMER, Journal
from stream.settings import Settings
from stream.topics import JOURNAL_GROUP
from tests.support.enriched import NOW, committed, event, identity, lag, publish, start, until
from tests.support.waiting import LIMIT

LATER = NOW + timedelta(minutes=5)


@asynccontextmanager
async def journal(broker: Settings, pool: asyncpg.Pool, *, webhook_events: bool = False) -> AsyncIterator[None]:
    """A running journal; at the end everything published before is written and committed."""
    stop = asyncio.Event()
    async with open_consumer_loop(broker, JOURNAL_CONSUMER, Journal(pool, webhook_events=webhook_events)) as loop:
        task = asyncio.create_task(loop.run(stop))
        try:
            yield

            async def all_committed() -> bool:
                if task.done():
                    task.result()
                return await lag(broker, JOURNAL_GROUP) == 0

            await until(all_committed)
        finally:
            stop.set()
            await task


async def answered(pool: asyncpg.Pool) -> list[tuple[object, ...]]:
    """The rows: lead, outcome, calls."""
    rows = await pool.fetch("SELECT lead_id, outcome, diretrix_calls, work_calls FROM stream.answered ORDER BY lead_id")
    return [tuple(row.values()) for row in rows]


async def test_each_webhook_is_one_row_however_often_it_comes(broker: Settings, pool: asyncpg.Pool) -> None:
    """Repeats in one batch, in a later one and in a replay do not change the first answer."""
    async with journal(broker, pool):
        await publish(broker, [event("A", calls=(1, 1)), event("A", calls=(0, 0)), event("B", None)])
    async with journal(broker, pool):
        await publish(broker, [event("A", emitted_at=LATER), event("C")])
    expected = [("A", "enriched", 1, 1), ("B", "not_found", 0, 0), ("C", "enriched", 0, 0)]
    assert await answered(pool) == expected
    await Journal(pool, webhook_events=False).write(
        [decode_event(orjson.dumps(event("A", None, outcome="pending"))), decode_event(orjson.dumps(event("B")))]
    )
    assert await answered(pool) == expected


@pytest.mark.parametrize("together", [True, False])
async def test_a_pending_row_is_replaced_and_its_calls_count(pool: asyncpg.Pool, *, together: bool) -> None:
    """A webhook that was paid for before it was parked is a paying one, whether both events are in one batch or not."""
    told = [
        event("A", None, outcome="pending", calls=(1, 0)),
        event("A", None, outcome="pending", emitted_at=NOW + timedelta(minutes=1), calls=(0, 1)),
        event("A", calls=(0, 1), emitted_at=LATER),
    ]
    events = [decode_event(orjson.dumps(one)) for one in told]
    books = Journal(pool, webhook_events=True)
    for batch in [events] if together else [[one] for one in events]:
        await books.write(batch)
    await books.write(events)  # as after a crash before the commit
    assert await answered(pool) == [("A", "enriched", 1, 2)]


async def test_webhook_events_are_not_written_by_default(broker: Settings, pool: asyncpg.Pool) -> None:
    """Without JOURNAL=true the table of the replaced service gets no row."""
    async with journal(broker, pool):
        await publish(broker, [event("A")])
    assert await pool.fetchval("SELECT count(*) FROM public.webhook_events") == 0


async def test_webhook_events_are_written_if_configured(broker: Settings, pool: asyncpg.Pool) -> None:
    """A pending webhook is processing, an answered one completed; the first processed_at stays."""
    async with journal(broker, pool, webhook_events=True):
        await publish(broker, [event("A", emitted_at=NOW + timedelta(seconds=2)), event("B", None, outcome="pending")])
    async with journal(broker, pool, webhook_events=True):
        await publish(broker, [event("A", emitted_at=LATER), event("B", None, outcome="pending", emitted_at=LATER)])
    rows = await pool.fetch("SELECT lead_id, updated_at, status, processed_at FROM public.webhook_events ORDER BY 1")
    assert [tuple(row.values()) for row in rows] == [
        ("A", NOW, "completed", NOW + timedelta(seconds=2)),
        ("B", NOW, "processing", None),
    ]
    average = await pool.fetchval(
        "SELECT avg(processed_at - received_at) FROM public.webhook_events WHERE status = 'completed'"
    )
    assert average == timedelta(seconds=2)


async def test_two_webhooks_of_a_lead_at_one_instant_are_one_row(pool: asyncpg.Pool) -> None:
    """A Google lead with the same number and a foreign event id do not fail a batch."""
    created = event("A", None, outcome="pending")
    foreign = {**event("A", emitted_at=LATER), "event_id": identity("somebody else's")}
    submitted = event("A", source="google_ads", emitted_at=LATER + timedelta(minutes=1))
    events = [decode_event(orjson.dumps(one)) for one in (created, foreign, submitted)]
    for _ in range(2):
        await Journal(pool, webhook_events=True).write(events)
    rows = await pool.fetch("SELECT lead_id, updated_at, status, processed_at FROM public.webhook_events")
    assert [tuple(row.values()) for row in rows] == [("A", NOW, "completed", LATER)]
    assert len(await answered(pool)) == 3


async def test_rows_of_the_replaced_service_are_completed(broker: Settings, pool: asyncpg.Pool) -> None:
    """A row that it left in processing becomes completed, because (lead, updated_at) is unique."""
    await pool.execute(
        "INSERT INTO public.webhook_events (lead_id, updated_at, status, received_at)"
        " VALUES ('A', $1, 'processing', $1)",
        NOW,
    )
    async with journal(broker, pool, webhook_events=True):
        await publish(broker, [event("A", emitted_at=LATER)])
    row = await pool.fetchrow("SELECT status, processed_at, received_at FROM public.webhook_events")
    assert tuple(row.values()) == ("completed", LATER, NOW)


async def test_a_google_lead_uses_its_submission_or_first_receipt(broker: Settings, pool: asyncpg.Pool) -> None:
    """A second delivery of a form without lead_submit_time adds no second row."""
    said = {"source": "google_ads", "outcome": "not_found"}
    async with journal(broker, pool, webhook_events=True):
        await publish(broker, [event("G1", None, updated_at=NOW, received_at=LATER, **said)])
        await publish(broker, [event("G2", None, updated_at=None, received_at=NOW, **said)])
    async with journal(broker, pool, webhook_events=True):
        await publish(broker, [event("G2", None, updated_at=None, received_at=LATER, emitted_at=LATER, **said)])
    rows = await pool.fetch("SELECT lead_id, updated_at FROM public.webhook_events ORDER BY 1")
    assert [tuple(row.values()) for row in rows] == [("G1", NOW), ("G2", NOW)]


async def test_invalid_records_do_not_stop_the_journal(broker: Settings, pool: asyncpg.Pool) -> None:
    """Foreign records and values that PostgreSQL can't store are skipped, and the events beside them written."""
    no_uuid = {**event("X"), "event_id": "x"}
    no_zone = orjson.dumps(event("Y")).replace(b"+00:00", b"")
    async with journal(broker, pool, webhook_events=True):
        await publish(
            broker, [event("A"), b"\xff", b"{}", b"[]", orjson.dumps(no_uuid), no_zone, event("B\x00"), event("C")]
        )
    assert [row[0] for row in await answered(pool)] == ["A", "C"]


async def test_the_day_is_that_of_the_invoice(pool: asyncpg.Pool) -> None:
    """A webhook at one in the morning UTC belongs to the day before in Sao Paulo."""
    night = NOW.replace(hour=1)
    await Journal(pool, webhook_events=False).write([decode_event(orjson.dumps(event("A", received_at=night)))])
    assert await pool.fetchval("SELECT day FROM stream.answered") == (night - timedelta(days=1)).date()


async def test_a_killed_journal_loses_nothing(broker: Settings, pool: asyncpg.Pool, database_url: str) -> None:
    """After a SIGKILL amid 3,000 events each has its row, and SIGTERM ends the journal with 0."""
    leads = [f"L{number}" for number in range(3_000)]
    await publish(broker, [event(lead, key=f"+55119{int(lead[1:]):08d}") for lead in leads])
    process = await start(broker, "-m", "stream", "journal", DATABASE_URL=database_url)
    await until(lambda: _has(pool, 1))
    process.kill()
    await process.wait()
    process = await start(broker, "-m", "stream", "journal", DATABASE_URL=database_url)
    await until(lambda: _has(pool, len(leads)))
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(LIMIT):
        _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert sum((await committed(broker, JOURNAL_GROUP)).values()) == len(leads)
    ids = {str(row[0]) for row in await pool.fetch("SELECT event_id FROM stream.answered")}
    assert ids == {identity(lead) for lead in leads}


async def _has(pool: asyncpg.Pool, count: int) -> bool:
    found: int = await pool.fetchval("SELECT count(*) FROM stream.answered")
    return found >= count


async def test_a_journal_without_a_database_can_be_stopped(broker: Settings) -> None:
    """A database that is away at the start is one log line, and nothing is committed."""
    process = await start(broker, "-m", "stream", "journal", DATABASE_URL="postgresql://127.0.0.1:9/none")
    async with asyncio.timeout(LIMIT):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert "database: " in said.decode()
    assert "Traceback" not in said.decode()
    assert await committed(broker, JOURNAL_GROUP) == {}
