"""PostgreSQL is killed, restarted, out of connections, slow and read-only, one after the other, under load."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import ClassVar

import asyncpg

from tests.chaos import scenario
from tests.chaos.rig import Rig
from tests.support.system import counts

BOUNCES = 3
UNDER_WAY = 11.0  # seconds; after them nothing is under way that was begun before
OTHERS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> ALL($1::int[])"
)
READ_ONLY = "ALTER SYSTEM SET default_transaction_read_only = on"
WRITABLE = "ALTER SYSTEM RESET default_transaction_read_only"


class Scenario(scenario.Scenario):
    """Meanwhile no paid call starts and known contacts are answered; then everything continues by itself."""

    number, name = 4, "database away"
    full = {"webhooks": 9_000, "per_second": 50, "away": 60, "seconds": 15}
    # As in production a statement is given up well before its look-up is.
    environment: ClassVar = {"LOOKUP_DEADLINE": "10s", "DATABASE_TIMEOUT": "2s", "RETRY_DELAYS": "1s,3s,5s"}

    def play(self, rig: Rig, webhooks: int, per_second: int, away: int, seconds: int) -> None:
        """``away``: seconds for which PostgreSQL is down; ``seconds``: of each other failure."""
        database = rig.stack.postgres
        assert database is not None, "a database of this run's own is needed"
        # So many people that new ones come all along: who is asked for only once proves that they are not paid for.
        load = rig.load(webhooks, per_second=per_second, people=webhooks // 2)
        rig.sleep(5)
        with rig.breaking(f"database killed and away for {away} s"):
            database.kill()
            self.wait(rig, away)
            database.start()
        rig.look()
        for bounce in range(BOUNCES):
            rig.sleep(rig.chance.uniform(2.0, 5.0))
            with rig.breaking(f"database restarted, {bounce + 1} of {BOUNCES}"):
                database.stop()
                database.start()
            rig.look()
        for what, trouble in TROUBLES.items():
            rig.sleep(4)
            with rig.breaking(f"database {what} for {seconds} s"), during(trouble(database.url)):
                self.wait(rig, seconds)
            rig.look()
        load.wait()
        rig.promise(not rig.left, f"processes left by themselves: {rig.left}")

    @staticmethod
    def wait(rig: Rig, seconds: float) -> None:
        """Let the failure last, and check the promises meanwhile."""
        began = time.time()
        rig.sleep(min(UNDER_WAY, seconds))
        paid = counts(rig.stack)["counts"].get("diretrix", 0)
        rig.sleep(seconds - UNDER_WAY)
        asked = counts(rig.stack)["counts"].get("diretrix", 0) - paid
        rig.promise(not asked, f"{asked} calls were paid for while the database was away")
        rig.look()
        answered = sum(began < event.at and event.outcome == "enriched" for event in rig.evidence.emissions)
        rig.promise(answered, "nobody who is known was answered while the database was away")
        rig.say(f"{answered} webhooks of known contacts answered meanwhile")


@contextmanager
def during(trouble: AbstractAsyncContextManager[None]) -> Iterator[None]:
    """Cause a failure in a loop and thread of its own: a process that this thread starts must not die with it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(trouble.__aenter__(), loop).result()
        yield
        asyncio.run_coroutine_threadsafe(trouble.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def full(url: str) -> AsyncIterator[None]:
    """Another client holds every connection."""
    async with AsyncExitStack() as stack:
        ours: list[int] = []
        left = True
        while left:  # those that go make room, for which others are quicker now and then
            while True:
                try:
                    connection = await stack.enter_async_context(_connected(url))
                except asyncpg.TooManyConnectionsError:
                    break
                ours.append(connection.get_server_pid())
            left = await connection.fetchval(OTHERS, ours)
        yield


@asynccontextmanager
async def slow(url: str) -> AsyncIterator[None]:
    """Every look-up and every write of a contact waits for a lock."""
    async with _connected(url) as connection, connection.transaction():
        await connection.execute("LOCK TABLE core.party_contacts IN ACCESS EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def read_only(url: str) -> AsyncIterator[None]:
    """No write is possible, as on a server that is about to fail over."""
    async with _connected(url) as connection:
        await connection.execute(READ_ONLY)
        await connection.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            await connection.execute(WRITABLE)
            await connection.execute("SELECT pg_reload_conf()")


TROUBLES = {"full": full, "slow": slow, "read-only": read_only}
