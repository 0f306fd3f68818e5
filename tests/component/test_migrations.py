"""The migrations: an empty database gets everything, production only additions, and no other client waits."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from importlib import resources
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pogo_core.error import BadMigrationError

from stream.domain.errors import DatabaseUnavailableError
from stream.domain.events import EnrichedEvent, EventContact, EventLead, Outcome
from stream.domain.identity import Contact, Phone
from stream.domain.person import Candidate, person_from_work
from stream.lookup.postgres import MAX_PARTIES_PER_SPELLING, PostgresTier
from stream.ops.migrate import BUILT_CONCURRENTLY, migrate
from stream.reporting.journal import Journal
from stream.settings import load
from stream.store.contacts import ContactStore
from stream.store.pool import open_pool
from stream.store.queries import sql
from tests.support import legacy_database
from tests.support.legacy_database import ReplacedService

CPF = "52998224725"
ALL = ["0001_core", "0002_stream", "0003_enriched_at", "0005_unanswered_cpfs", "0006_notices"]
LEGACY_ROWS = 100_000
STATEMENT_LIMIT_S = 5.0  # of any statement of the replaced service while the migrations run
LIMIT = 120.0  # seconds; no test waits longer

COLUMNS = {
    "core.parties": "id party_type cpf_cnpj full_name normalized_name sex birth_date mother_name enriched"
    " created_at updated_at",
    "core.party_contacts": "contact_id party_id contact_type value is_primary is_verified is_whatsapp source"
    " confidence valid_from valid_to created_at updated_at",
    "core.party_enrichments": "enrichment_id party_id provider raw_payload normalized_data quality_score"
    " enriched_at created_at",
    "public.webhook_events": "id lead_id updated_at hook_action payload_raw received_at processed_at status"
    " error_message created_at updated_at_ts",
}
# Everything that must not change: definitions, storage (a rewritten table has another file), contents.
FINGERPRINT = """
SELECT c.oid::regclass::text, c.relfilenode, i.indexdef,
       (SELECT array_agg((a.attname, a.atttypid::regtype, a.attnotnull)::text ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0)::text
FROM pg_class c LEFT JOIN pg_indexes i ON i.indexname = c.relname
WHERE c.relkind IN ('r', 'i') AND (c.relnamespace = 'core'::regnamespace OR c.relname LIKE 'webhook_events%')
ORDER BY 1
"""


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def legacy(empty: asyncpg.Connection) -> asyncpg.Connection:
    """A database of production with few rows."""
    await legacy_database.create(empty, 100)
    return empty


async def fingerprint(connection: asyncpg.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(FINGERPRINT)]


async def columns(connection: asyncpg.Connection, table: str) -> set[str]:
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0", table
    )
    return {row["attname"] for row in rows}


async def test_an_empty_database_gets_everything(empty: asyncpg.Connection, empty_database_url: str) -> None:
    """The tables of production and our own are created, and the names of the steps are returned."""
    assert await migrate(empty_database_url) == ALL
    for table, names in COLUMNS.items():
        assert await columns(empty, table) == set(names.split()), table
    tables = await empty.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'stream'::regnamespace AND relkind = 'r'"
    )
    assert {row["relname"] for row in tables} == {
        "answers", "answered", "budgets", "crm_deliveries", "crm_leads", "leases", "notices", "paid_calls",
        "sources_seen", "unanswered_cpfs",
    }  # fmt: skip
    indexes = {
        row["indexdef"] for row in await empty.fetch("SELECT indexdef FROM pg_indexes WHERE schemaname = 'core'")
    }
    for index in (
        "INDEX party_contacts_value_idx ON core.party_contacts USING btree (value)",
        "INDEX parties_cpf_cnpj_idx ON core.parties USING btree (cpf_cnpj)",
        "core.party_contacts USING btree (party_id, contact_type, value)",
        "core.party_enrichments USING btree (party_id)",
        "INDEX party_enrichments_enriched_at_idx ON core.party_enrichments USING btree (enriched_at)",
    ):
        assert any(index in one for one in indexes), index
    await empty.execute("INSERT INTO core.parties (cpf_cnpj) VALUES ('1'), ('1')")


async def test_a_second_run_does_nothing(empty: asyncpg.Connection, empty_database_url: str) -> None:
    """A second run applies nothing and changes nothing."""
    await migrate(empty_database_url)
    before = await fingerprint(empty)
    assert await migrate(empty_database_url) == []
    assert await fingerprint(empty) == before


async def test_several_at_once_apply_each_step_once(empty_database_url: str) -> None:
    """Concurrent migrations neither fail nor wait for each other forever."""
    async with asyncio.timeout(LIMIT):
        runs = await asyncio.gather(*(migrate(empty_database_url) for _ in range(5)))
    assert sorted(name for run in runs for name in run) == ALL


async def test_the_replaced_service_works_during_a_migration(
    empty: asyncpg.Connection, empty_database_url: str
) -> None:
    """On 100,000 rows the migrations only add; no row or table file changes, and the replaced service does not wait."""
    await legacy_database.create(empty, LEGACY_ROWS)
    before = await fingerprint(empty)
    stop = asyncio.Event()
    connections = [await asyncpg.connect(empty_database_url) for _ in range(3)]
    services = [ReplacedService(connection) for connection in connections]
    running = [asyncio.create_task(service.run(stop)) for service in services]
    try:
        async with asyncio.timeout(LIMIT):
            assert await migrate(empty_database_url) == ALL
            rounds = sum(service.rounds for service in services)
            while sum(service.rounds for service in services) < rounds + 10:  # noqa: ASYNC110 - they only count
                await asyncio.sleep(0.01)
    finally:
        stop.set()
        await asyncio.gather(*running)
        for connection in connections:
            await connection.close()
    assert max(service.slowest for service in services) < STATEMENT_LIMIT_S
    after = await fingerprint(empty)
    assert set(before) <= set(after)
    assert [one[0] for one in after if one not in before] == ["core.party_enrichments_enriched_at_idx"]
    rounds = sum(service.rounds for service in services)
    assert await empty.fetchval("SELECT count(*) FROM core.party_contacts") == LEGACY_ROWS + rounds
    assert await empty.fetchval("SELECT count(*) FROM webhook_events WHERE status = 'completed'") == rounds
    await _check_tier_2(empty_database_url)


async def _check_tier_2(url: str) -> None:
    """Phones with and without 55 are found through the index of production."""
    async with open_pool(load({"DATABASE_URL": url})) as pool:
        tier = PostgresTier(pool)
        for number in (60000003, 60000006):  # stored without 55, and as WhatsApp with it
            phone = Phone(f"+55119{number}")
            (known,) = (await tier.find(Contact(phone, None, None, phone.e164))).known
            assert known.raw == {"DadosBasicos": {"nome": f"PESSOA {number - 60000000}"}}
        phones = [f"119{60000000 + number}" for number in range(64)]
        plan = await pool.fetch(f"EXPLAIN {sql('find_people')}", phones, phones, MAX_PARTIES_PER_SPELLING)
        text = "\n".join(row[0] for row in plan)
        assert "idx_contacts_value" in text
        assert "Seq Scan" not in text


async def test_our_statements_run_on_production_tables(
    legacy: asyncpg.Connection, empty_database_url: str, work_raw: dict[str, Any]
) -> None:
    """Storing, finding and the journal work with production's names, types and columns without defaults."""
    await migrate(empty_database_url)
    phone, at = Phone("+5511987654321"), datetime(2026, 11, 24, 12, tzinfo=UTC)
    contact, person = Contact(phone, None, None, phone.e164), person_from_work(work_raw, CPF, at)
    async with open_pool(load({"DATABASE_URL": empty_database_url})) as pool:
        store = ContactStore(pool)
        for _ in range(2):
            await store.save_answer(phone, (Candidate("MARIA", CPF),), at)
            await store.save_person((phone,), person, work_raw, "1", at)
        (known,) = (await PostgresTier(pool).find(contact)).known
        assert known.raw == {**work_raw, "lead_id": "1"}
        event = EnrichedEvent(
            event_id=str(uuid4()),
            revision="1",
            lead=EventLead(source="c2s", id="lead", updated_at=at),
            contact=EventContact(key=phone.e164),
            outcome=Outcome.ENRICHED,
            received_at=at,
            emitted_at=at,
        )
        await Journal(pool, webhook_events=True).write([event])
    assert await legacy.fetchval("SELECT status FROM webhook_events") == "completed"


async def test_a_long_transaction_delays_the_migration_and_nobody_else(
    legacy: asyncpg.Connection, empty_database_url: str
) -> None:
    """An index build that waits for an old transaction delays no reader or writer, and ends after that transaction."""
    old, other = await asyncpg.connect(empty_database_url), await asyncpg.connect(empty_database_url)
    try:
        transaction = old.transaction(isolation="repeatable_read")
        await transaction.start()
        await old.execute("INSERT INTO core.parties (id, enriched) VALUES (gen_random_uuid(), false)")
        await old.fetchval("SELECT count(*) FROM core.party_enrichments")
        runs = [asyncio.create_task(migrate(empty_database_url)) for _ in range(2)]
        await _until(
            legacy,
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%'"
            " AND datname = current_database() AND wait_event_type = 'Lock')",
        )
        async with asyncio.timeout(STATEMENT_LIMIT_S):
            await other.execute(
                "INSERT INTO core.party_enrichments (enrichment_id, party_id, enriched_at)"
                " SELECT gen_random_uuid(), id, now() FROM core.parties WHERE NOT enriched LIMIT 1"
            )
            await other.execute("UPDATE core.party_enrichments SET quality_score = 1")
        assert not any(run.done() for run in runs)
        await transaction.commit()
        async with asyncio.timeout(LIMIT):
            assert sorted(await asyncio.gather(*runs)) == [[], ALL]
    finally:
        await old.close()
        await other.close()


async def _until(connection: asyncpg.Connection, condition: str) -> None:
    async with asyncio.timeout(LIMIT):
        while not await connection.fetchval(condition):  # noqa: ASYNC110 - the server's state
            await asyncio.sleep(0.01)


async def test_a_run_that_gets_no_lock_fails_and_the_next_one_succeeds(
    legacy: asyncpg.Connection, empty_database_url: str
) -> None:
    """A migration without a lock gives up soon, as others would queue behind it; nothing is half applied."""
    blocker = legacy.transaction()
    await blocker.start()
    await legacy.execute("LOCK TABLE core.party_contacts IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(BadMigrationError) as caught:
        await migrate(empty_database_url)
    assert isinstance(caught.value.__cause__, asyncpg.LockNotAvailableError)
    await blocker.rollback()
    assert await migrate(empty_database_url) == ALL


async def test_an_interrupted_index_build_is_repeated(legacy: asyncpg.Connection, empty_database_url: str) -> None:
    """An index that an interrupted build left invalid is dropped and built again."""
    index = BUILT_CONCURRENTLY[0]
    await legacy.execute(f"CREATE INDEX {index.partition('.')[2]} ON core.party_enrichments (enriched_at)")
    await legacy.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = $1::text::regclass", index)
    assert await migrate(empty_database_url) == ALL
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = $1::text::regclass"
    assert await legacy.fetchval(valid, index) is True


async def test_missing_tables_of_production_are_added(empty: asyncpg.Connection, empty_database_url: str) -> None:
    """A database with some of production's tables gets the others."""
    await empty.execute("CREATE SCHEMA core; CREATE TABLE core.parties (id uuid PRIMARY KEY, cpf_cnpj text)")
    assert await migrate(empty_database_url) == ALL
    assert await columns(empty, "core.parties") == {"id", "cpf_cnpj"}
    assert "status" in await columns(empty, "public.webhook_events")


async def test_a_server_that_is_away_is_reported() -> None:
    """A migration without a server raises DatabaseUnavailableError."""
    with pytest.raises(DatabaseUnavailableError):
        await migrate("postgresql://nobody:secret@127.0.0.1:1/none")


def test_every_step_is_shipped_and_only_adds() -> None:
    """The package has all steps. None drops, alters or rewrites; each has a lock time-out or runs concurrently."""
    steps = {
        one.name: one.read_text(encoding="utf-8") for one in (resources.files("stream.store") / "migrations").iterdir()
    }
    assert sorted(steps) == [f"{name}.sql" for name in ALL]
    for name, text in steps.items():
        code = re.sub(r"--.*|'[^']*'", "", text)
        # A column with a constant default, on a table of ours: no row is rewritten.
        code = re.sub(r"ALTER TABLE stream\.\w+ ADD COLUMN IF NOT EXISTS ", "", code)
        assert not re.search(r"\b(DROP|ALTER|DELETE|TRUNCATE|UPDATE|RENAME|REINDEX|VACUUM)\b", code), name
        assert "SET LOCAL lock_timeout" in text or "CONCURRENTLY" in text, name
        unguarded = re.findall(
            r"^CREATE (?:TABLE|SCHEMA|INDEX)(?! IF NOT EXISTS| CONCURRENTLY IF NOT EXISTS).*", code, re.MULTILINE
        )
        assert not unguarded, name


def run_command(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stream", "migrate"],
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_prints_the_applied_steps(empty_database_url: str) -> None:
    """The first run prints the applied steps, the second that there is nothing to apply."""
    first, second = run_command(empty_database_url), run_command(empty_database_url)
    assert (first.returncode, first.stdout.splitlines()) == (0, [f"applied {name}" for name in ALL])
    assert (second.returncode, second.stdout) == (0, "nothing to apply\n")


def test_the_command_reports_a_server_that_is_away() -> None:
    """Without a server the command exits with 1 and prints a hint, no password and no traceback."""
    done = run_command("postgresql://nobody:s3cret@127.0.0.1:1/none")
    assert done.returncode == 1
    assert "DATABASE_URL" in done.stderr
    assert "s3cret" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
