"""Connections to PostgreSQL, and the translation of its errors."""

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

# The server is away, overloaded, shutting down, read-only, too slow, or refuses new connections: a retry may succeed.
_TRANSIENT_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # raised when the server has closed the connection
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    # Raised only by a new connection: a secret is being rotated, or a database is being restored.
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    # Another writer was first, or a migration has run: the next attempt sees its result.
    asyncpg.UniqueViolationError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
NEWEST_TABLE = "stream.notices"  # of the newest migration: it is there when all of them have run
CLOSE_TIMEOUT_S = 2.0  # for statements in progress when the process stops; the ledger's may be among them


@asynccontextmanager
async def open_pool(settings: Settings, *, connected: bool = True) -> AsyncIterator[asyncpg.Pool]:
    """A bounded pool that decodes JSON columns. Raises DatabaseUnavailableError if it can't connect.

    With ``connected=False`` it connects at its first use, so that the caller can wait for the database.
    """
    with database_errors():
        pool = await asyncpg.create_pool(
            settings.database_url.get_secret_value(),
            min_size=int(connected),
            max_size=settings.database_pool_size,
            command_timeout=settings.database_timeout.total_seconds(),
            timeout=settings.database_timeout.total_seconds(),
            init=_set_up_connection,
            reset=_skip_reset,
            server_settings={"application_name": "lead-stream"},
        )
    try:
        yield pool
    finally:
        await _close(pool)


@asynccontextmanager
async def open_migrated(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """``open_pool`` of a database with our schema. Raises StopError if there is none."""
    async with open_pool(settings) as pool:
        await ping_or_stop(pool)
        yield pool


async def ping(pool: asyncpg.Pool) -> None:
    """Execute a trivial statement. Raises DatabaseUnavailableError if the database does not answer."""
    with database_errors():
        await pool.fetchval("SELECT 1")


async def ping_or_stop(pool: asyncpg.Pool) -> None:
    """``ping`` at the start of a process: raises StopError if the database refuses us or was not migrated."""
    with database_errors():
        try:
            if await pool.fetchval("SELECT to_regclass($1)::text", NEWEST_TABLE) is None:
                raise StopError("the database has no schema of this release. Run: python -m stream migrate")
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise StopError(f"the database refuses us: {type(error).__name__}. Check DATABASE_URL") from None


async def _close(pool: asyncpg.Pool) -> None:
    """Close the pool, and terminate its connections if statements take longer than ``CLOSE_TIMEOUT_S``."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await pool.close()
    except (TimeoutError, *_TRANSIENT_ERRORS):
        pool.terminate()


@contextmanager
def database_errors() -> Iterator[None]:
    """Raise DatabaseUnavailableError instead of a transient error. Other errors pass unchanged."""
    try:
        yield
        DATABASE.answered()
    except _TRANSIENT_ERRORS as error:
        # Only the class: the text of the error may hold values.
        raise DatabaseUnavailableError(
            f"database: {type(error).__name__}", is_away=isinstance(error, AWAY_ERRORS)
        ) from None


async def _set_up_connection(connection: asyncpg.Connection) -> None:
    # A look-up takes longer to plan than to run, and by default PostgreSQL plans it again for each list of values.
    # ANALYZE discards a generic plan, so a plan that was made for a small table does not stay.
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(
            kind, schema="pg_catalog", encoder=lambda value: orjson.dumps(value).decode(), decoder=_decode
        )


async def _skip_reset(connection: asyncpg.Connection) -> None:
    """Skip the reset of a released connection, which would cost asyncpg a round trip for each statement.

    None of our session state outlives its transaction. asyncpg rolls an open transaction back before it calls this.
    """
    del connection


def _decode(text: str) -> Any:
    """A JSON value; None if orjson can't read what PostgreSQL has stored, because one row must not fail a batch."""
    try:
        return orjson.loads(text)
    except ValueError:
        return None
