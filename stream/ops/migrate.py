"""Applies the database migrations. They only add, and are safe beside the replaced service and beside each other."""

from __future__ import annotations

import asyncio
from importlib import resources
from pathlib import Path

import asyncpg
from pogo_core.util import migrate as pogo
from pogo_core.util import sql as pogo_sql

from stream.store.pool import database_errors

SCHEMA = "public"
ADVISORY_LOCK = 0x6C656164  # "lead" in ASCII; one migration at a time in a database
BUILT_CONCURRENTLY = ("core.party_enrichments_enriched_at_idx", "stream.paid_calls_reserved_idx")


async def migrate(url: str) -> list[str]:
    """Bring the database up to date and return the ids of the migrations that were applied.

    Raises DatabaseUnavailableError if the database can't be reached, and pogo's BadMigrationError if a step fails. The
    steps before it stay applied, and the next run continues with the one that failed.
    """
    with database_errors():
        connection = await asyncpg.connect(url)
        try:
            return await _migrate(connection)
        finally:
            await connection.close()


async def _migrate(connection: asyncpg.Connection) -> list[str]:
    # Polling instead of a statement that waits: a waiting statement holds a snapshot, and an index that the owner of
    # the lock builds concurrently would wait for that snapshot forever.
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", ADVISORY_LOCK):  # noqa: ASYNC110 - another process has it
        await asyncio.sleep(0.2)
    before = await _applied(connection)
    await _drop_invalid_indexes(connection)
    with resources.as_file(resources.files("stream.store") / "migrations") as folder:
        await pogo.apply(connection, Path(folder), schema_name=SCHEMA)
    return sorted(await _applied(connection) - before)


async def _drop_invalid_indexes(connection: asyncpg.Connection) -> None:
    """Drop the indexes of interrupted concurrent builds.

    PostgreSQL maintains such an index but never uses it, and IF NOT EXISTS would skip its build.
    """
    for index in BUILT_CONCURRENTLY:
        is_invalid = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid)"
        if await connection.fetchval(is_invalid, index):
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")


async def _applied(connection: asyncpg.Connection) -> set[str]:
    await pogo_sql.ensure_pogo_sync(connection)
    applied: set[str] = await pogo_sql.get_applied_migrations(connection, schema_name=SCHEMA)
    return applied
