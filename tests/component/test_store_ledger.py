"""The ledger of paid calls: workers never overspend, and no call is made before it is reserved."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg
import pytest

from stream.domain.errors import BudgetSpentError, DatabaseUnavailableError
from stream.settings import Settings
from stream.store.ledger import Ledger
from stream.store.pool import open_pool
from tests.support.clock import Clock

PRICE = Decimal("0.01")
CPF = "52998224725"


async def reserve(ledger: Ledger, budget: int | None = None, provider: str = "diretrix") -> UUID:
    return await ledger.reserve(provider, "phone", "p:+5511987654321", str(uuid4()), "c2s", PRICE, budget)


async def test_a_reservation_has_all_facts_of_a_call(pool: asyncpg.Pool, ledger: Ledger, clock: Clock) -> None:
    """The row of a reservation has every value that the invoice is compared with."""
    event = str(uuid4())
    call = await ledger.reserve("diretrix", "email", "e:a@example.com", event, "google_ads", Decimal("0.015"), None)
    row = await pool.fetchrow("SELECT * FROM stream.paid_calls")
    assert row is not None
    assert dict(row) == {
        "id": call,
        "provider": "diretrix",
        "kind": "email",
        "alias": "e:a@example.com",
        "event_id": UUID(event),
        "source": "google_ads",
        "day": date(2026, 11, 24),
        "price": Decimal("0.015"),
        "status": "reserved",
        "reserved_at": clock.time,
        "settled_at": None,
    }


@pytest.mark.parametrize("status", ["paid", "free", "unsure"])
async def test_a_call_is_settled_once(pool: asyncpg.Pool, ledger: Ledger, clock: Clock, status: str) -> None:
    """The first settlement stays, and a second one changes nothing."""
    call = await reserve(ledger)
    clock.time += timedelta(seconds=2)
    await ledger.settle(call, status)
    settled = clock.time
    clock.time += timedelta(seconds=2)
    await ledger.settle(call, "free")
    row = await pool.fetchrow("SELECT status, settled_at FROM stream.paid_calls")
    assert row is not None
    assert tuple(row) == (status, settled)


async def test_concurrent_workers_do_not_overspend(
    pool: asyncpg.Pool, database_settings: Settings, clock: Clock
) -> None:
    """Of 120 reservations by three workers exactly the budget of 50 succeeds."""
    async with open_pool(database_settings) as second, open_pool(database_settings) as third:
        workers = [Ledger(one, clock) for one in (pool, second, third)]
        results = await asyncio.gather(
            *(reserve(workers[number % 3], budget=50) for number in range(120)), return_exceptions=True
        )
    assert sum(isinstance(one, UUID) for one in results) == 50
    assert sum(isinstance(one, BudgetSpentError) for one in results) == 70
    assert await pool.fetchval("SELECT count(*) FROM stream.paid_calls") == 50


async def test_a_budget_of_0_allows_no_call(pool: asyncpg.Pool, ledger: Ledger) -> None:
    """A budget of 0 refuses every call; it does not mean unlimited."""
    with pytest.raises(BudgetSpentError):
        await reserve(ledger, budget=0)
    assert await pool.fetchval("SELECT count(*) FROM stream.paid_calls") == 0


async def test_calls_before_a_budget_was_set_count(ledger: Ledger) -> None:
    """A budget that is set during the day counts the calls of the morning."""
    await reserve(ledger)
    await reserve(ledger, budget=2)
    with pytest.raises(BudgetSpentError):
        await reserve(ledger, budget=2)


async def test_each_provider_has_its_own_budget(ledger: Ledger) -> None:
    """Calls of Diretrix do not count for the budget of the Work API."""
    await reserve(ledger, budget=1)
    await reserve(ledger, budget=1, provider="work")
    with pytest.raises(BudgetSpentError, match="diretrix: the day's budget is spent"):
        await reserve(ledger, budget=1)


async def test_only_a_free_call_gives_its_budget_back(ledger: Ledger) -> None:
    """A free call returns its budget; a paid or unsure one does not, however often it is settled."""
    for status in ("paid", "unsure"):
        await ledger.settle(await reserve(ledger, budget=3), status)
    free = await reserve(ledger, budget=3)
    await ledger.settle(free, "free")
    await ledger.settle(free, "free")
    await reserve(ledger, budget=3)
    with pytest.raises(BudgetSpentError):
        await reserve(ledger, budget=3)


async def test_an_abandoned_call_counts_for_the_budget(ledger: Ledger, clock: Clock) -> None:
    """A call that was reserved and never settled still counts."""
    await reserve(ledger, budget=1)
    clock.time += timedelta(hours=1)
    with pytest.raises(BudgetSpentError):
        await reserve(ledger, budget=1)


async def test_the_day_is_that_of_sao_paulo(pool: asyncpg.Pool, ledger: Ledger, clock: Clock) -> None:
    """The budget starts anew at midnight in Sao Paulo, which is 03:00 UTC."""
    clock.time = datetime(2026, 11, 25, 2, 59, 59, tzinfo=UTC)
    await reserve(ledger, budget=1)
    with pytest.raises(BudgetSpentError):
        await reserve(ledger, budget=1)
    clock.time = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
    late = await reserve(ledger, budget=1)
    days = await pool.fetch("SELECT day FROM stream.paid_calls ORDER BY day")
    assert [row["day"] for row in days] == [date(2026, 11, 24), date(2026, 11, 25)]
    clock.time += timedelta(days=1)
    await ledger.settle(late, "free")
    assert await pool.fetchval("SELECT calls FROM stream.budgets WHERE day = '2026-11-25'") == 0


async def test_one_worker_holds_the_lease_of_a_cpf(pool: asyncpg.Pool, clock: Clock) -> None:
    """Of twenty concurrent requests one gets the lease; after its release another can get it."""
    workers = [Ledger(pool, clock) for _ in range(20)]
    taken = await asyncio.gather(*(worker.take_lease(CPF, 30) for worker in workers))
    assert taken.count(True) == 1
    await workers[taken.index(True)].drop_lease(CPF)
    assert await workers[0].take_lease(CPF, 30)


async def test_without_a_database_no_call_is_reserved(pool: asyncpg.Pool, ledger: Ledger) -> None:
    """Without a connection every method raises DatabaseUnavailableError, so no call is made."""
    pool.terminate()
    for work in (reserve(ledger), ledger.settle(uuid4(), "paid"), ledger.take_lease(CPF, 1)):
        with pytest.raises(DatabaseUnavailableError):
            await work
