"""Connections to PostgreSQL, and what its failures mean to a caller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg
import orjson

from stream.domain.errors import DatabaseUnavailableError
from stream.settings import Settings

# The server is away, full, shutting down, read-only, or too slow: later it may work.
_FOR_NOW = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.CannotConnectNowError,
)


@asynccontextmanager
async def open_pool(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """A bounded pool; JSON columns are Python objects. Raises DatabaseUnavailableError when it can't connect."""
    with database_errors():
        pool = await asyncpg.create_pool(
            settings.database_url.get_secret_value(),
            min_size=1,
            max_size=settings.database_pool_size,
            command_timeout=settings.database_timeout.total_seconds(),
            timeout=settings.database_timeout.total_seconds(),
            init=_prepare,
        )
    try:
        yield pool
    finally:
        pool.terminate()


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what may work later into DatabaseUnavailableError; a fault of ours stays what it is."""
    try:
        yield
    except _FOR_NOW as error:
        # The text of the error may hold values; its class says enough.
        raise DatabaseUnavailableError(f"database: {type(error).__name__}") from None


async def _prepare(connection: asyncpg.Connection) -> None:
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(
            kind, schema="pg_catalog", encoder=lambda value: orjson.dumps(value).decode(), decoder=orjson.loads
        )
