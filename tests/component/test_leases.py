"""Leases of CPFs on a real PostgreSQL: they expire soon after their holder, and not before."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from stream.domain.errors import DatabaseUnavailableError
from stream.domain.shares import Sources
from stream.settings import Settings
from stream.store.ledger import Ledger
from stream.store.periodic import LEASE_S, RENEW_EVERY_S, RENEW_TIMEOUT_S, PeriodicStatements
from stream.store.sources import SourceSync
from tests.component.test_store_ledger import CPF

OTHER_CPF = "39053344705"
SHORT_LEASE_S, RENEW_OFTEN_S = 0.5, 0.1  # seconds; in the proportion of LEASE_S and RENEW_EVERY_S
LIMIT = 10.0  # seconds

HOLDER = """
import asyncio, sys
from datetime import UTC, datetime
from stream.domain.shares import Sources
from stream.settings import load
from stream.store.periodic import LEASE_S, PeriodicStatements
from stream.store.ledger import Ledger
from stream.store.pool import open_pool
from stream.store.sources import SourceSync

async def main():
    async with open_pool(load({"DATABASE_URL": sys.argv[1]})) as pool:
        now = lambda: datetime.now(UTC)
        ledger = Ledger(pool, now)
        assert await ledger.take_lease(sys.argv[2], LEASE_S)
        print("taken", flush=True)
        await PeriodicStatements(pool, ledger, SourceSync(pool, now, Sources())).run()

asyncio.run(main())
"""


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def kept(pool: asyncpg.Pool, ledger: Ledger) -> AsyncIterator[None]:
    """The ledger's leases are renewed within the context."""
    task = asyncio.create_task(PeriodicStatements(pool, ledger, SourceSync(pool, now, Sources()), RENEW_OFTEN_S).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def taken_after(ledger: Ledger, seconds: float) -> float:
    """Seconds until the CPF could be leased."""
    began = time.monotonic()
    async with asyncio.timeout(LIMIT):
        while not await ledger.take_lease(CPF, seconds):  # noqa: ASYNC110 - the database has no event
            await asyncio.sleep(0.02)
    return time.monotonic() - began


def test_a_renewal_may_fail() -> None:
    """One failed renewal does not cost a lease."""
    assert LEASE_S >= 2 * (RENEW_EVERY_S + RENEW_TIMEOUT_S)


async def test_leases_are_renewed_while_statements_hang(pool: asyncpg.Pool) -> None:
    """Leases are renewed while other statements of the ledger wait."""
    holder, other = Ledger(pool, now), Ledger(pool, now)
    async with kept(pool, holder), pool.acquire() as blocker:
        assert await holder.take_lease(CPF, SHORT_LEASE_S)
        call = await holder.reserve("work", "cpf", "c:1", str(uuid4()), "c2s", Decimal(1), None)
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE stream.budgets, stream.paid_calls")
            held_up = [asyncio.create_task(holder.settle(call, "paid")) for _ in range(4)]
            until = time.monotonic() + 4 * SHORT_LEASE_S
            while time.monotonic() < until:
                assert not await other.take_lease(CPF, SHORT_LEASE_S)
                await asyncio.sleep(0.02)
        await asyncio.gather(*held_up)


async def test_after_an_outage_an_expired_lease_is_not_taken_over(pool: asyncpg.Pool) -> None:
    """Its holder may still run and still has to store the answer it has paid for."""
    holder, other, third = (Ledger(pool, now) for _ in range(3))
    assert await holder.take_lease(CPF, SHORT_LEASE_S)
    other.database_failed()
    await pool.execute("UPDATE stream.leases SET until = clock_timestamp() - interval '1 s'")
    assert not await other.take_lease(CPF, SHORT_LEASE_S)
    assert await third.take_lease(CPF, SHORT_LEASE_S), "this one saw no outage"
    await third.drop_lease(CPF)
    assert await other.take_lease(CPF, SHORT_LEASE_S), "nobody has it"


async def test_a_running_holder_keeps_its_leases(pool: asyncpg.Pool) -> None:
    """During a call that takes many times as long as a lease, no other worker gets any of several CPFs."""
    holder, other = Ledger(pool, now), Ledger(pool, now)
    async with kept(pool, holder):
        for cpf in (CPF, OTHER_CPF):
            assert await holder.take_lease(cpf, SHORT_LEASE_S)
        until = time.monotonic() + 6 * SHORT_LEASE_S
        while time.monotonic() < until:
            assert not await other.take_lease(CPF, SHORT_LEASE_S)
            assert not await other.take_lease(OTHER_CPF, SHORT_LEASE_S)
            await asyncio.sleep(0.02)
        await holder.drop_lease(CPF)
        assert await other.take_lease(CPF, SHORT_LEASE_S)
        assert not await other.take_lease(OTHER_CPF, SHORT_LEASE_S)


async def test_a_lease_that_is_not_renewed_expires(pool: asyncpg.Pool) -> None:
    """A worker that is gone holds a CPF for the duration of a lease and no longer."""
    assert await Ledger(pool, now).take_lease(CPF, SHORT_LEASE_S)
    assert await taken_after(Ledger(pool, now), SHORT_LEASE_S) >= SHORT_LEASE_S * 0.9


async def test_a_killed_worker_delays_a_lookup_for_seconds(pool: asyncpg.Pool, database_settings: Settings) -> None:
    """After a SIGKILL the CPF is free within six seconds, well within the deadline of a look-up."""
    url = database_settings.database_url.get_secret_value()
    with subprocess.Popen([sys.executable, "-c", HOLDER, url, CPF], stdout=subprocess.PIPE) as holder:  # noqa: ASYNC220
        assert holder.stdout is not None
        assert await asyncio.to_thread(holder.stdout.readline) == b"taken\n"
        ledger = Ledger(pool, now)
        await asyncio.sleep(RENEW_EVERY_S)  # it has renewed
        assert not await ledger.take_lease(CPF, LEASE_S)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert await taken_after(ledger, LEASE_S) <= LEASE_S + 1.0


async def test_a_slow_worker_does_not_release_the_lease_of_another(pool: asyncpg.Pool) -> None:
    """A worker neither releases nor renews an expired lease that another worker has taken."""
    slow, quick, third = (Ledger(pool, now) for _ in range(3))
    assert await slow.take_lease(CPF, SHORT_LEASE_S)
    await taken_after(quick, LIMIT)
    await slow.renew_leases(pool, LIMIT)
    await slow.drop_lease(CPF)
    assert not await third.take_lease(CPF, SHORT_LEASE_S)
    await quick.drop_lease(CPF)
    assert await third.take_lease(CPF, SHORT_LEASE_S)


async def test_a_released_lease_is_not_renewed(pool: asyncpg.Pool) -> None:
    """If the release fails, the lease expires although its former holder renews others."""
    holder, other = Ledger(pool, now), Ledger(pool, now)
    for cpf in (CPF, OTHER_CPF):
        assert await holder.take_lease(cpf, SHORT_LEASE_S)
    holder._leases.pop(CPF)  # noqa: SLF001 - as when the statement that gives it back has failed
    async with kept(pool, holder):
        await taken_after(other, SHORT_LEASE_S)
        assert not await other.take_lease(OTHER_CPF, SHORT_LEASE_S)


async def test_look_ups_of_one_worker_do_not_share_a_lease(pool: asyncpg.Pool) -> None:
    """A second look-up in the same process waits, even if the lease of the first has expired."""
    ledger = Ledger(pool, now)
    assert await ledger.take_lease(CPF, 0.001)
    assert not await ledger.take_lease(CPF, SHORT_LEASE_S)
    await ledger.drop_lease(CPF)
    assert await ledger.take_lease(CPF, SHORT_LEASE_S)


async def test_renewals_continue_after_an_outage(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage the worker renews the leases that it still holds."""
    holder, other = Ledger(pool, now), Ledger(pool, now)
    assert await holder.take_lease(CPF, SHORT_LEASE_S)
    renewed, failed = asyncio.Event(), asyncio.Event()
    renew = holder.renew_leases

    async def fail_once(connection: Any, limit: float) -> None:
        if not failed.is_set():
            failed.set()
            raise DatabaseUnavailableError("database: ConnectionError")
        await renew(connection, limit)
        renewed.set()

    monkeypatch.setattr(holder, "renew_leases", fail_once)
    async with kept(pool, holder), asyncio.timeout(LIMIT):
        await renewed.wait()
        assert not await other.take_lease(CPF, SHORT_LEASE_S)
