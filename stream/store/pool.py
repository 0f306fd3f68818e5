"""Connections to PostgreSQL, and what its failures mean to a caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import orjson

from stream.domain.errors import DatabaseUnavailableError, StopError
from stream.logs.outages import AWAY_ERRORS, DATABASE
from stream.settings import Settings

# The server is away, full, shutting down, read-only, too slow, or lets us in no longer: later it may work.
_FOR_NOW = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg says of a connection that the server ended under it
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    # Only said to who connects: a secret that is being rotated, a database that is being restored.
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    # Another writer was first, or a migration went by: the next try sees what it left.
    asyncpg.UniqueViolationError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
CLOSING = 2.0  # seconds for statements under way when a process leaves; the books may be among them


@asynccontextmanager
async def open_pool(settings: Settings, *, connected: bool = True) -> AsyncIterator[asyncpg.Pool]:
    """A bounded pool; JSON columns are Python objects. Raises DatabaseUnavailableError when it can't connect.

    Not ``connected``: it connects when it is first used, so that who opens it can wait for the database.
    """
    with database_errors():
        pool = await asyncpg.create_pool(
            settings.database_url.get_secret_value(),
            min_size=int(connected),
            max_size=settings.database_pool_size,
            command_timeout=settings.database_timeout.total_seconds(),
            timeout=settings.database_timeout.total_seconds(),
            init=_prepare,
            reset=_leave_as_it_is,
            server_settings={"application_name": "lead-stream"},
        )
    try:
        yield pool
    finally:
        await _close(pool)


async def ask(pool: asyncpg.Pool) -> None:
    """Ask the database anything. Raises DatabaseUnavailableError when it does not answer."""
    with database_errors():
        await pool.fetchval("SELECT 1")


async def reach(pool: asyncpg.Pool) -> None:
    """The same at a start, where a refusal is no absence. Raises StopError for it."""
    with database_errors():
        try:
            await pool.fetchval("SELECT 1")
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise StopError(f"the database refuses us: {type(error).__name__}. Check DATABASE_URL") from None


async def _close(pool: asyncpg.Pool) -> None:
    """Let what is under way end, but wait for nobody."""
    try:
        async with asyncio.timeout(CLOSING):
            await pool.close()
    except (TimeoutError, *_FOR_NOW):
        pool.terminate()


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what may work later into DatabaseUnavailableError; a fault of ours stays what it is."""
    try:
        yield
        DATABASE.answered()
    except _FOR_NOW as error:
        # The text of the error may hold values; its class says enough.
        raise DatabaseUnavailableError(
            f"database: {type(error).__name__}", is_away=isinstance(error, AWAY_ERRORS)
        ) from None


async def _prepare(connection: asyncpg.Connection) -> None:
    # A look-up took longer to plan than to run, and it is planned anew for each list of values unless told otherwise.
    # ANALYZE makes the plan be made again, so that what was planned on a small table does not stay.
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(
            kind, schema="pg_catalog", encoder=lambda value: orjson.dumps(value).decode(), decoder=_decode
        )


async def _leave_as_it_is(connection: asyncpg.Connection) -> None:
    """Nothing of ours outlives its transaction; asyncpg's own way is a round trip a statement.

    A transaction that was left open has been rolled back before this is asked.
    """
    del connection


def _decode(text: str) -> Any:
    """A JSON value; None for what PostgreSQL can hold and orjson can't read: one such row must not fail a batch."""
    try:
        return orjson.loads(text)
    except ValueError:
        return None
