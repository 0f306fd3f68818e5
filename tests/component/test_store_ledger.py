"""The books of paid calls: no worker overspends, nothing is paid without having been written down first."""

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


async def test_a_call_is_on_the_books_before_it_is_made(pool: asyncpg.Pool, ledger: Ledger, clock: Clock) -> None:
    """The intent holds all that the invoice is compared with."""
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
async def test_how_a_call_ended_is_written_once(pool: asyncpg.Pool, ledger: Ledger, clock: Clock, status: str) -> None:
    """The first settlement stands; a second one changes nothing."""
    call = await reserve(ledger)
    clock.time += timedelta(seconds=2)
    await ledger.settle(call, status)
    settled = clock.time
    clock.time += timedelta(seconds=2)
    await ledger.settle(call, "free")
    row = await pool.fetchrow("SELECT status, settled_at FROM stream.paid_calls")
    assert row is not None
    assert tuple(row) == (status, settled)


async def test_workers_at_once_do_not_overspend(pool: asyncpg.Pool, database_settings: Settings, clock: Clock) -> None:
    """Of 120 reservations by three workers at once, exactly the budget of 50 is let through."""
    async with open_pool(database_settings) as second, open_pool(database_settings) as third:
        workers = [Ledger(one, clock) for one in (pool, second, third)]
        results = await asyncio.gather(
            *(reserve(workers[number % 3], budget=50) for number in range(120)), return_exceptions=True
        )
    assert sum(isinstance(one, UUID) for one in results) == 50
    assert sum(isinstance(one, BudgetSpentError) for one in results) == 70
    assert await pool.fetchval("SELECT count(*) FROM stream.paid_calls") == 50


async def test_a_budget_of_nothing_lets_nothing_through(pool: asyncpg.Pool, ledger: Ledger) -> None:
    """Zero is a budget, not the lack of one."""
    with pytest.raises(BudgetSpentError):
        await reserve(ledger, budget=0)
    assert await pool.fetchval("SELECT count(*) FROM stream.paid_calls") == 0


async def test_what_was_spent_before_a_budget_was_set_counts(ledger: Ledger) -> None:
    """A budget that is configured during the day sees the calls of the morning."""
    await reserve(ledger)
    await reserve(ledger, budget=2)
    with pytest.raises(BudgetSpentError):
        await reserve(ledger, budget=2)


async def test_budgets_of_partners_are_apart(ledger: Ledger) -> None:
    """What Diretrix has spent is not taken from the Work API."""
    await reserve(ledger, budget=1)
    await reserve(ledger, budget=1, provider="work")
    with pytest.raises(BudgetSpentError, match="diretrix: the day's budget is spent"):
        await reserve(ledger, budget=1)


async def test_only_a_free_call_gives_its_budget_back(ledger: Ledger) -> None:
    """A call that cost nothing may be made again the same day; a paid or unsure one may not, however often settled."""
    for status in ("paid", "unsure"):
        await ledger.settle(await reserve(ledger, budget=3), status)
    free = await reserve(ledger, budget=3)
    await ledger.settle(free, "free")
    await ledger.settle(free, "free")
    await reserve(ledger, budget=3)
    with pytest.raises(BudgetSpentError):
        await reserve(ledger, budget=3)


async def test_a_call_whose_worker_died_stays_on_the_bill(ledger: Ledger, clock: Clock) -> None:
    """What was reserved and never settled keeps its place in the budget."""
    await reserve(ledger, budget=1)
    clock.time += timedelta(hours=1)
    with pytest.raises(BudgetSpentError):
        await reserve(ledger, budget=1)


async def test_the_day_is_that_of_sao_paulo(pool: asyncpg.Pool, ledger: Ledger, clock: Clock) -> None:
    """The budget is new at midnight in Sao Paulo, which is 03:00 UTC."""
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


async def test_one_worker_has_a_cpf(pool: asyncpg.Pool, clock: Clock) -> None:
    """Of twenty that ask at once one gets the lease; after it gave it back another one may."""
    workers = [Ledger(pool, clock) for _ in range(20)]
    taken = await asyncio.gather(*(worker.take_lease(CPF, 30) for worker in workers))
    assert taken.count(True) == 1
    await workers[taken.index(True)].drop_lease(CPF)
    assert await workers[0].take_lease(CPF, 30)


async def test_without_a_database_no_call_is_reserved(pool: asyncpg.Pool, ledger: Ledger) -> None:
    """No connection, no paid call: every method says that the database is away."""
    pool.terminate()
    for work in (reserve(ledger), ledger.settle(uuid4(), "paid"), ledger.take_lease(CPF, 1)):
        with pytest.raises(DatabaseUnavailableError):
            await work
