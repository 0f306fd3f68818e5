"""What a failure of PostgreSQL means to a caller: a transient error, or a bug."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from stream.domain.errors import DatabaseUnavailableError, TransientError
from stream.local.postgres import LocalPostgres
from stream.settings import Settings, load
from stream.store.pool import database_errors, open_pool
from stream.store.queries import sql


@asynccontextmanager
async def expect_unavailable(error: str) -> AsyncIterator[None]:
    """The block must raise DatabaseUnavailableError, whose text has only the class of the error."""
    with pytest.raises(DatabaseUnavailableError) as caught, database_errors():
        yield
    assert caught.value.reason == f"database: {error}"
    assert isinstance(caught.value, TransientError)


async def test_json_is_read_and_written_as_values(pool: asyncpg.Pool) -> None:
    """JSON columns are Python objects; JSON that Python can't read is None and no error."""
    value = {"a": [1, None, "é", 1.5]}
    assert await pool.fetchval("SELECT $1::jsonb", value) == value
    assert await pool.fetchval("SELECT ('1' || repeat('0', 400))::jsonb") is None
    assert await pool.fetchval("SELECT (repeat('[', 2000) || repeat(']', 2000))::json") is None


async def test_without_a_server_the_pool_raises(tmp_path: Path) -> None:
    """Without a server the caller gets DatabaseUnavailableError."""
    settings = load({"DATABASE_URL": f"postgresql://postgres@/postgres?host={tmp_path}"})
    with pytest.raises(DatabaseUnavailableError):
        async with open_pool(settings):
            pass


async def test_a_missing_database_is_transient(database_url: str) -> None:
    """A missing database, as during a restore, counts as away."""
    nowhere = urlunsplit(urlsplit(database_url)._replace(path="/nowhere"))
    with pytest.raises(DatabaseUnavailableError, match="InvalidCatalogNameError"):
        async with open_pool(load({"DATABASE_URL": nowhere})):
            pass


async def test_a_terminated_session_is_transient(pool: asyncpg.Pool, database_url: str) -> None:
    """A statement whose session is terminated counts as away, and the pool works afterwards."""
    other = await asyncpg.connect(database_url)
    try:
        async with expect_unavailable("ConnectionDoesNotExistError"):
            await asyncio.gather(
                pool.fetchval("SELECT pg_sleep(60)"),
                _end_sleepers(other),
            )
    finally:
        await other.close()
    assert await pool.fetchval("SELECT 1") == 1


async def _end_sleepers(connection: asyncpg.Connection) -> None:
    ended = 0
    while not ended:
        ended = await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'SELECT pg_sleep%'"
        )


async def test_a_server_that_crashes_and_comes_back() -> None:
    """Statements count as away while the server is down; the same pool works when it is back."""
    with TemporaryDirectory(prefix="lead-stream-") as folder, LocalPostgres(Path(folder, "postgres")) as server:
        async with open_pool(load({"DATABASE_URL": server.url})) as pool:
            assert await pool.fetchval("SELECT 1") == 1
            server.kill()
            for _ in range(3):
                with pytest.raises(DatabaseUnavailableError), database_errors():
                    await pool.fetchval("SELECT 1")
            server.start()
            assert await pool.fetchval("SELECT 1") == 1


async def test_a_statement_that_takes_too_long(database_url: str) -> None:
    """A statement that exceeds the configured time-out counts as away."""
    settings = load({"DATABASE_URL": database_url, "DATABASE_TIMEOUT": "200ms"})
    async with open_pool(settings) as pool, expect_unavailable("TimeoutError"):
        await pool.fetchval("SELECT pg_sleep(60)")


async def test_a_read_only_server(pool: asyncpg.Pool) -> None:
    """A statement that writes to a replica, or to a primary after a switch-over, counts as away."""
    async with pool.acquire() as connection, expect_unavailable("ReadOnlySQLTransactionError"):
        await connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        await connection.execute(sql("save_answer"), "p:+1", [], await connection.fetchval("SELECT now()"))


async def test_too_many_connections(database_url: str) -> None:
    """A server without a free connection counts as away."""
    parts = urlsplit(database_url)
    role = f"crowd_{parts.path.strip('/')}"
    crowded = urlunsplit(parts._replace(netloc=f"{role}:crowd@{parts.netloc.rpartition('@')[2]}"))
    admin = await asyncpg.connect(database_url)
    try:
        await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'crowd' CONNECTION LIMIT 0")
        with pytest.raises(DatabaseUnavailableError, match="TooManyConnectionsError"):
            async with open_pool(load({"DATABASE_URL": crowded})):
                pass
    finally:
        await admin.execute(f"DROP ROLE {role}")
        await admin.close()


async def test_locks_and_deadlocks(pool: asyncpg.Pool) -> None:
    """A deadlock and a lock time-out are transient."""
    await pool.execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)")
    met = asyncio.Barrier(2)

    async def cross(first: int, second: int) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL deadlock_timeout = '50ms'")
            await connection.execute("UPDATE t SET n = n + 1 WHERE id = $1", first)
            await met.wait()
            await connection.execute("UPDATE t SET n = n + 1 WHERE id = $1", second)

    results = await asyncio.gather(cross(1, 2), cross(2, 1), return_exceptions=True)
    lost = [one for one in results if one is not None]
    async with expect_unavailable("DeadlockDetectedError"):
        assert len(lost) == 1
        raise lost[0]


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError,
        asyncpg.InvalidCachedStatementError,
        asyncpg.InvalidPasswordError,
        asyncpg.TooManyConnectionsError,
        asyncpg.CannotConnectNowError,
        asyncpg.QueryCanceledError,
        asyncpg.DiskFullError,
        asyncpg.SerializationError,
        asyncpg.LockNotAvailableError,
        asyncpg.IdleInTransactionSessionTimeoutError,
        ConnectionResetError,
    ],
)
async def test_transient_errors(error: type[Exception]) -> None:
    """Each of these errors is transient, and its text, which may contain values, is dropped."""
    async with expect_unavailable(error.__name__):
        raise error("Key (value)=(11987654321) already exists.")


async def test_a_wrong_statement_is_no_outage(pool: asyncpg.Pool) -> None:
    """A wrong statement raises its own error, because waiting would not help."""
    for statement in ("SELECT 1 / 0", "SELECT * FROM nowhere", "SELECT 'x'::int"):
        with pytest.raises(asyncpg.PostgresError), database_errors():
            await pool.fetchval(statement)


async def test_a_statement_in_progress_ends_before_the_pool_closes(database_settings: Settings) -> None:
    """A settlement in progress when the process stops is still stored."""
    async with open_pool(database_settings) as pool:
        await pool.execute("CREATE TABLE t (id int)")
        writing = asyncio.create_task(pool.execute("INSERT INTO t SELECT 1 FROM pg_sleep(0.3)"))
        await asyncio.sleep(0)
    await writing
    async with open_pool(database_settings) as pool:
        assert await pool.fetchval("SELECT count(*) FROM t") == 1


async def test_connections_use_generic_plans(pool: asyncpg.Pool) -> None:
    """Every statement of a connection uses a generic plan, also after its release."""
    for _ in range(2):
        async with pool.acquire() as connection:
            assert await connection.fetchval("SHOW plan_cache_mode") == "force_generic_plan"


async def test_a_transaction_left_open_is_rolled_back(database_settings: Settings) -> None:
    """A transaction that a caller leaves open is rolled back before the connection is used again."""
    async with open_pool(database_settings.model_copy(update={"database_pool_size": 1})) as pool:
        async with pool.acquire() as connection:
            await connection.execute("BEGIN")
            await connection.execute("INSERT INTO stream.leases (cpf, until) VALUES ('1', now())")
        assert await pool.fetchval("SELECT count(*) FROM stream.leases") == 0


async def test_a_plan_made_on_an_empty_table_does_not_stay(pool: asyncpg.Pool) -> None:
    """A statement that was prepared on empty tables uses their indexes after ANALYZE."""
    async with pool.acquire() as connection:
        await connection.execute(f"PREPARE find (text[], text[], int) AS {sql('find_people')}")
        await connection.execute("EXECUTE find ('{1}', '{}', 20)")
        await connection.execute(
            """
            INSERT INTO core.parties (id, enriched) SELECT md5(n::text)::uuid, true FROM generate_series(1, 20000) n;
            INSERT INTO core.party_contacts (party_id, contact_type, value)
            SELECT md5(n::text)::uuid, 'phone', n FROM generate_series(1, 20000) n;
            INSERT INTO core.party_enrichments (party_id) SELECT md5(n::text)::uuid FROM generate_series(1, 20000) n;
            ANALYZE
            """
        )
        plan = await connection.fetch("EXPLAIN EXECUTE find ('{1}', '{}', 20)")
    assert not [line[0] for line in plan if "Seq Scan" in line[0]]


def test_every_statement_has_a_name_and_text() -> None:
    """An unknown name raises KeyError, and every statement has text."""
    assert sql("find_people").startswith("--")
    with pytest.raises(KeyError):
        sql("nothing")


async def test_sessions_terminated_at_any_moment_are_transient(pool: asyncpg.Pool, database_url: str) -> None:
    """At whatever moment a session is terminated, its statement counts as away."""
    cuts = 100
    everybody = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    done = asyncio.Event()
    ends: Counter[str] = Counter()

    async def ask() -> None:
        while not done.is_set():
            try:
                with database_errors():
                    await pool.fetch("SELECT $1::int", 1)
                ends["answered"] += 1
            except DatabaseUnavailableError:
                ends["away"] += 1
                await asyncio.sleep(0.001)

    other = await asyncpg.connect(database_url)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(ask())
            for _ in range(cuts):
                await other.fetch(everybody)
                await asyncio.sleep(0.002)
            done.set()
    finally:
        await other.close()
    assert set(ends) == {"answered", "away"}
