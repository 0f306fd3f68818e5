"""A paid call is reserved in the ledger after the provider's guard admits it and before its request is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from stream.domain.availability import Availability
from stream.domain.choice import PersonFound
from stream.domain.errors import (
    BudgetSpentError,
    DatabaseUnavailableError,
    DeadlyError,
    PartnerUnavailableError,
    TransientError,
)
from stream.domain.provider import Provider
from stream.local.people import population
from stream.local.simulators import Fault
from stream.lookup.chain import LookupChain
from stream.lookup.ports import PricingPolicy
from stream.providers import guard as guard_module
from stream.providers.guard import BREAKER_THRESHOLD, MAX_WAIT_S
from stream.settings import Settings, load
from stream.store import ledger as ledger_module
from stream.store.ledger import MAX_ABANDONED_CALLS, Ledger
from stream.store.pool import open_pool
from tests.component.test_deadly_webhooks import ABANDONED
from tests.support.fakes import NOW
from tests.support.lookup_rig import PRICING, answer, contact, request
from tests.support.real_rig import RealRig, real_rig
from tests.support.waiting import LIMIT, until_true

PEOPLE = population(30, seed=5)
SHORT = 0.05  # seconds


def budgeted(calls: int) -> PricingPolicy:
    """The prices of the tests, with a daily budget of Diretrix calls."""
    diretrix = replace(PRICING.providers[Provider.DIRETRIX], daily_budget=calls)
    return replace(PRICING, providers={**PRICING.providers, Provider.DIRETRIX: diretrix})


@pytest.fixture
async def rig(pool: asyncpg.Pool) -> AsyncIterator[RealRig]:
    """Providers that know everybody."""
    async with real_rig(pool) as made, asyncio.timeout(LIMIT):
        for one in PEOPLE:
            made.know(one)
        yield made


async def look_up(chain: LookupChain, number: int, source: str = "c2s") -> object:
    """Look up one person by phone."""
    asked = replace(request(contact(PEOPLE[number], by="phone"), PEOPLE[number].name), source=source)
    return await answer(chain, asked)


async def fail(rig: RealRig, chain: LookupChain, times: int) -> None:
    """Make Diretrix answer calls with 500."""
    for number in range(times):
        rig.simulators.faults["diretrix"] = Fault(status=500, times=1)
        with pytest.raises(PartnerUnavailableError, match="status 500"):
            await look_up(chain, number)


async def test_a_look_up_that_waits_for_a_slot_has_no_reservation(rig: RealRig) -> None:
    """Of thirty look-ups only the three in progress are reserved, so a killed worker leaves three rows."""
    rig.at_once = 3
    rig.simulators.faults["diretrix"] = Fault(hang=60)
    chain = rig.worker()
    looking = [asyncio.create_task(look_up(chain, number)) for number in range(30)]
    await until_true(lambda: rig.calls("diretrix") == 3)
    await until_true(lambda: waiting(rig) == 27)
    assert await rig.statuses("diretrix") == ["reserved"] * 3
    for one in looking:
        one.cancel()
    await asyncio.wait(looking)
    await chain.wait_settled()
    assert await rig.statuses("diretrix") == ["unsure"] * 3


def waiting(rig: RealRig) -> int:
    """How many look-ups wait for a slot of Diretrix's guard."""
    return len(rig.guards["diretrix"]._slots._waiters or ())  # noqa: SLF001 - asyncio has no other way to see them


async def test_a_call_that_gets_no_turn_is_in_no_books(rig: RealRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not made, so no row says that it was, not even a free one."""
    monkeypatch.setattr(guard_module, "MAX_WAIT_S", SHORT)
    rig.at_once = 1
    rig.simulators.faults["diretrix"] = Fault(hang=60, times=1)
    chain = rig.worker()
    first = asyncio.create_task(look_up(chain, 0))
    await until_true(lambda: rig.calls("diretrix") == 1)
    with pytest.raises(PartnerUnavailableError, match="no slot in time"):
        await look_up(chain, 1)
    assert await rig.statuses("diretrix") == ["reserved"]
    assert await rig.pool.fetchval("SELECT calls FROM stream.budgets") == 1
    first.cancel()
    await asyncio.wait({first})
    await chain.wait_settled()


async def test_retries_of_a_call_share_a_row(rig: RealRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that was certainly not sent is retried under the same reservation."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    rig.simulators.faults["diretrix"] = Fault(status=429, retry_after=0, times=2)
    assert isinstance(await look_up(rig.worker(), 0), PersonFound)
    assert rig.calls("diretrix") == 3
    assert await rig.statuses("diretrix") == ["paid"]


async def test_a_row_exists_before_its_request(rig: RealRig) -> None:
    """The provider gets no request without a reservation."""
    rig.simulators.faults["diretrix"] = Fault(hang=60)
    chain = rig.worker()
    ask, seen = rig.simulators._take_fault, list[asyncio.Task[list[str]]]()  # noqa: SLF001 - the moment it arrives

    def look(partner: str) -> Fault | None:
        seen.append(asyncio.create_task(rig.statuses(partner)))
        return ask(partner)

    rig.simulators._take_fault = look  # type: ignore[method-assign]  # noqa: SLF001
    looking = asyncio.create_task(look_up(chain, 0))
    await until_true(lambda: bool(seen))
    assert await seen[0] == ["reserved"]
    looking.cancel()
    await asyncio.wait({looking})
    await chain.wait_settled()


async def test_a_refused_reservation_does_not_change_the_breaker(rig: RealRig) -> None:
    """A spent budget, a deadly webhook and a database outage neither open nor close the breaker."""
    good, spent = PRICING, budgeted(0)
    chain = rig.worker()
    await fail(rig, chain, BREAKER_THRESHOLD - 1)
    for number in range(BREAKER_THRESHOLD):
        chain._paid_calls._pricing = spent  # noqa: SLF001 - the budget of a worker does not change otherwise
        with pytest.raises(BudgetSpentError):
            await look_up(chain, number, f"source {number}")
        chain._paid_calls._pricing = good  # noqa: SLF001
        with pytest.raises(DeadlyError):
            await look_up_deadly(rig, chain, number)
        with pytest.raises(DatabaseUnavailableError):
            await look_up_without_ledger(chain, number)
    assert rig.guards["diretrix"].trouble() == "", "these are no failures"
    await fail(rig, chain, 1)
    assert rig.guards["diretrix"].trouble() == "the breaker is open", "nor are they answers between failures"


async def look_up_deadly(rig: RealRig, chain: LookupChain, number: int) -> None:
    """Look up a webhook in whose calls workers have died."""
    asked = request(contact(PEOPLE[number], by="phone"), PEOPLE[number].name)
    for _ in range(MAX_ABANDONED_CALLS):
        await rig.pool.execute(ABANDONED, uuid4(), "work", UUID(asked.event_id), NOW - timedelta(days=1))
    await answer(chain, asked)


async def look_up_without_ledger(chain: LookupChain, number: int) -> None:
    """Look up while the ledger refuses reservations and the rest of the database works."""
    ledger = chain._paid_calls._ledger  # noqa: SLF001
    assert isinstance(ledger, Ledger)
    pool, ledger._pool = ledger._pool, _Away()  # type: ignore[assignment]  # noqa: SLF001
    try:
        await look_up(chain, number)
    finally:
        ledger._pool = pool  # noqa: SLF001


class _Away:
    async def fetchrow(self, *_: object) -> None:
        raise OSError


async def test_a_probe_that_is_not_reserved_lets_another_one_probe(
    rig: RealRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage the call that was to find out is not made: the next one finds out, and is the only one."""
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", SHORT)
    chain = rig.worker()
    guard = rig.guards["diretrix"]
    await fail(rig, chain, BREAKER_THRESHOLD)
    await until_true(lambda: guard.availability() is Availability.TRIAL)
    await asyncio.sleep(SHORT)  # the breaker's library has a clock of its own
    for number in range(2):
        with pytest.raises(DatabaseUnavailableError):
            await look_up_without_ledger(chain, number)
        assert guard.availability() is Availability.TRIAL
    assert isinstance(await look_up(chain, 0), PersonFound)
    assert guard.availability() is Availability.AVAILABLE


async def test_a_slow_reservation_releases_its_slot(rig: RealRig, database_settings: Settings) -> None:
    """A reservation ends with the database's time-out and releases the provider's slot."""
    rig.at_once = 1
    settings = load({"DATABASE_URL": database_settings.database_url.get_secret_value(), "DATABASE_TIMEOUT": "200ms"})
    async with open_pool(settings) as impatient, rig.pool.acquire() as blocker:
        chain = rig.worker()
        chain._paid_calls._ledger = Ledger(impatient, rig.clock)  # noqa: SLF001
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE stream.budgets")
            for number in range(2):  # the second one gets the slot as well
                began = time.monotonic()
                with pytest.raises(DatabaseUnavailableError):
                    await look_up(chain, number)
                assert time.monotonic() - began < MAX_WAIT_S
        assert isinstance(await look_up(chain, 0), PersonFound)
    assert await rig.statuses("diretrix") == ["paid"]


async def test_a_full_pool_releases_the_slot(
    rig: RealRig, database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for a connection has a limit as well, which asyncpg lacks."""
    monkeypatch.setattr(ledger_module, "RESERVE_TIMEOUT_S", 0.2)
    rig.at_once = 1
    async with open_pool(database_settings) as other:
        chain = rig.worker()
        chain._paid_calls._ledger = ledger = Ledger(other, rig.clock)  # noqa: SLF001
        taken = [await other.acquire() for _ in range(other.get_max_size())]
        for number in range(2):
            with pytest.raises(DatabaseUnavailableError):
                await look_up(chain, number)
        for one in taken:
            await other.release(one)
        assert isinstance(await look_up(chain, 0), PersonFound)
        await ledger.settle_pending()
    assert await rig.statuses("diretrix") == ["paid"]


async def test_a_source_without_budget_takes_no_slots(rig: RealRig) -> None:
    """After one refusal the look-ups of C2S are refused at once, so those of Google do not wait behind them."""
    rig.rate, rig.pricing = 5.0, budgeted(4)
    await rig.pool.execute("INSERT INTO stream.sources_seen VALUES ('google_ads', $1)", NOW.date())
    chain = rig.worker()
    for number in range(3):
        assert isinstance(await look_up(chain, number), PersonFound)
    with pytest.raises(BudgetSpentError):
        await look_up(chain, 3)
    began = time.monotonic()
    ends = await asyncio.gather(*(look_up(chain, number) for number in range(4, 29)), return_exceptions=True)
    assert all(isinstance(end, BudgetSpentError) and "for this source" in end.reason for end in ends)
    assert isinstance(await look_up(chain, 29, "google_ads"), PersonFound)
    assert time.monotonic() - began < 25 / rig.rate, "they waited for a turn each"


async def test_a_refused_source_asks_again_soon(rig: RealRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment one look-up of a refused source tries again, and finds the budget of a free call."""
    monkeypatch.setattr(ledger_module, "REFUSAL_VALID_S", 0.0)
    chain = rig.worker()
    chain._paid_calls._pricing = budgeted(0)  # noqa: SLF001
    with pytest.raises(TransientError):
        await look_up(chain, 0)
    chain._paid_calls._pricing = PRICING  # noqa: SLF001
    assert isinstance(await look_up(chain, 0), PersonFound)
