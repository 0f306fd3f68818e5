"""The daily budget on a real PostgreSQL: shared by the sources, never overspent, with notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from stream.domain.errors import BudgetSpentError, DeadlyError
from stream.domain.parking import BUDGET_SPENT
from stream.domain.shares import Sources
from stream.settings import Settings
from stream.store.ledger import MAX_ABANDONED_CALLS, Ledger
from stream.store.pool import open_pool
from stream.store.sources import SourceSync
from tests.support.clock import NOON, Clock

TODAY = date(2026, 11, 24)
C2S, GOOGLE, PORTAL = "c2s", "google_ads", "portal"


async def ask(
    ledger: Ledger, source: str, budget: int | None, event: str = "", provider: str = "diretrix"
) -> UUID | None:
    """One reservation; None if the budget is spent."""
    try:
        return await ledger.reserve(
            provider, "phone", "p:+5511987654321", event or str(uuid4()), source, Decimal("0.01"), budget
        )
    except BudgetSpentError:
        return None


async def flood(ledger: Ledger, source: str, budget: int) -> int:
    """Reserve until a call is refused; returns the number of reservations."""
    given = 0
    while await ask(ledger, source, budget):
        given += 1
    return given


async def see(pool: asyncpg.Pool, clock: Clock, *sources: str) -> None:
    await SourceSync(pool, clock, Sources(set(sources))).sync()


async def test_a_flood_leaves_the_other_source_its_part(pool: asyncpg.Pool, ledger: Ledger, clock: Clock) -> None:
    """With two sources each has a quarter of its own, and the other half is open to both."""
    await see(pool, clock, C2S, GOOGLE)
    assert await flood(ledger, C2S, 100) == 75
    assert await flood(ledger, GOOGLE, 100) == 25
    assert await flood(ledger, C2S, 100) == 0
    assert await pool.fetchval("SELECT calls FROM stream.budgets") == 100


async def test_three_sources_share_the_half_in_three(pool: asyncpg.Pool, ledger: Ledger, clock: Clock) -> None:
    """The remainder of the division goes to the common half."""
    await see(pool, clock, C2S, GOOGLE, PORTAL)
    assert [await flood(ledger, source, 100) for source in (PORTAL, C2S, GOOGLE)] == [68, 16, 16]


async def test_a_single_source_has_the_whole_budget(ledger: Ledger) -> None:
    """No share is kept for sources that have not been seen."""
    assert await flood(ledger, C2S, 20) == 20


async def test_a_new_source_has_a_share_from_its_first_call(pool: asyncpg.Pool, ledger: Ledger) -> None:
    """Its first request makes it a recent source, whether it is refused or not; the total does not change."""
    for _ in range(60):
        assert await ask(ledger, C2S, 100)
    assert await ask(ledger, GOOGLE, 100)
    assert await flood(ledger, C2S, 100) == 15
    assert await flood(ledger, GOOGLE, 100) == 24
    assert await pool.fetchval("SELECT calls FROM stream.budgets") == 100


async def test_a_source_keeps_its_share_for_seven_days(pool: asyncpg.Pool, ledger: Ledger, clock: Clock) -> None:
    """A source that was last seen on Wednesday has a share until Tuesday, in days of Sao Paulo."""
    clock.time = NOON - timedelta(days=6)
    await see(pool, clock, GOOGLE)
    clock.time = NOON
    assert await flood(ledger, C2S, 100) == 75
    clock.time = datetime(2026, 11, 25, 2, 59, tzinfo=UTC)
    assert await ask(ledger, C2S, 100) is None
    clock.time = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
    assert await flood(ledger, C2S, 100) == 100


async def test_a_free_call_is_given_back_to_its_source(pool: asyncpg.Pool, ledger: Ledger, clock: Clock) -> None:
    """C2S may reserve again the calls it gets back, and the share of Google stays the same."""
    await see(pool, clock, C2S, GOOGLE)
    calls = [await ask(ledger, C2S, 100) for _ in range(75)]
    assert await ask(ledger, C2S, 100) is None
    assert calls[0] is not None
    assert calls[1] is not None
    await ledger.settle(calls[0], "free")
    await ledger.settle(calls[0], "free")  # a second time changes nothing
    await ledger.settle(calls[1], "paid")
    assert await flood(ledger, C2S, 100) == 1
    assert await flood(ledger, GOOGLE, 100) == 25


async def test_each_provider_has_its_own_shares(pool: asyncpg.Pool, ledger: Ledger, clock: Clock) -> None:
    """Calls of Diretrix do not count at the Work API."""
    await see(pool, clock, C2S, GOOGLE)
    assert await flood(ledger, C2S, 8) == 6
    assert await ask(ledger, C2S, 8, provider="work")


async def test_calls_of_an_older_release_count_for_the_common_half(
    pool: asyncpg.Pool, ledger: Ledger, clock: Clock
) -> None:
    """A day whose row has no sources continues within its budget."""
    await see(pool, clock, C2S, GOOGLE)
    await pool.execute("INSERT INTO stream.budgets (provider, day, calls) VALUES ('diretrix', $1, 50)", TODAY)
    assert await flood(ledger, C2S, 100) == 25
    assert await flood(ledger, GOOGLE, 100) == 25


async def test_concurrent_workers_keep_to_the_shares(
    pool: asyncpg.Pool, database_settings: Settings, clock: Clock
) -> None:
    """300 reservations by three workers, some given back, exceed neither a share nor the total."""
    await see(pool, clock, C2S, GOOGLE)
    async with open_pool(database_settings) as second, open_pool(database_settings) as third:
        workers = [Ledger(one, clock) for one in (pool, second, third)]

        async def one(number: int) -> tuple[str, bool]:
            source = GOOGLE if number % 10 == 0 else C2S
            call = await ask(workers[number % 3], source, 60)
            if call is not None and number % 4 == 1:
                await workers[(number + 1) % 3].settle(call, "free")
                return source, False
            return source, call is not None

        results = await asyncio.gather(*(one(number) for number in range(300)))
        spent = Counter(source for source, is_spent in results if is_spent)
        assert spent[C2S] <= 45
        row = await pool.fetchrow("SELECT calls, by_source FROM stream.budgets")
        assert row is not None
        assert (row["calls"], row["by_source"]) == (sum(spent.values()), {C2S: spent[C2S], GOOGLE: spent[GOOGLE]})
        assert spent[GOOGLE] >= 15
        floods = await asyncio.gather(*(flood(worker, source, 60) for worker in workers for source in (C2S, GOOGLE)))
    assert sum(floods) + sum(spent.values()) == 60
    row = await pool.fetchrow("SELECT calls, by_source FROM stream.budgets")
    assert row is not None
    assert row["calls"] == 60
    assert row["by_source"][C2S] <= 45


class Model:
    """The rule in short: a call uses its source's share while that lasts, then the common rest."""

    def __init__(self, budget: int, sources: set[str]) -> None:
        share = budget // 2 // len(sources)
        self.own = dict.fromkeys(sources, share)
        self.rest = budget - share * len(sources)
        self.from_rest = dict.fromkeys(sources, 0)

    def take(self, source: str) -> bool:
        """Whether one more call is allowed."""
        if self.own[source]:
            self.own[source] -= 1
        elif self.rest:
            self.rest -= 1
            self.from_rest[source] += 1
        else:
            return False
        return True

    def give_back(self, source: str) -> None:
        """Give a call back, first to the common rest."""
        if self.from_rest[source]:
            self.from_rest[source] -= 1
            self.rest += 1
        else:
            self.own[source] += 1


STEP = st.tuples(st.sampled_from([C2S, GOOGLE, PORTAL]), st.sampled_from(["ask", "ask", "free"]))


@given(budget=st.integers(0, 25), steps=st.lists(STEP, max_size=40))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_statement_follows_the_rule(
    pool: asyncpg.Pool, ledger: Ledger, clock: Clock, budget: int, steps: list[tuple[str, str]]
) -> None:
    """For every sequence of reservations and returns the statement decides as the model."""
    await pool.execute("TRUNCATE stream.budgets, stream.paid_calls, stream.sources_seen")
    await see(pool, clock, C2S, GOOGLE, PORTAL)
    model, calls = Model(budget, {C2S, GOOGLE, PORTAL}), {source: list[UUID]() for source in (C2S, GOOGLE, PORTAL)}
    for source, step in steps:
        if step == "ask":
            call = await ask(ledger, source, budget)
            assert (call is not None) == model.take(source)
            if call is not None:
                calls[source].append(call)
        elif calls[source]:
            await ledger.settle(calls[source].pop(), "free")
            model.give_back(source)


async def test_a_notice_is_added_once_over_all_workers_and_restarts(
    pool: asyncpg.Pool, database_settings: Settings, clock: Clock
) -> None:
    """50, 80, 95 and 100 percent each cause one row and one log line, however many workers spend and restart."""
    async with open_pool(database_settings) as second, contextlib.AsyncExitStack() as stack:
        lines = stack.enter_context(capture_logs())
        for number in range(25):  # a worker of its own each: none remembers what was said
            await asyncio.gather(pay(Ledger(pool, clock), 20), pay(Ledger(second, clock), 20))
            if number == 4:
                assert await pool.fetchval("SELECT count(*) FROM stream.notices") == 1
    rows = await pool.fetch("SELECT kind, key, day, text FROM stream.notices ORDER BY created_at, key")
    assert [(row["kind"], row["key"], row["day"]) for row in rows] == [
        ("budget", f"2026-11-24 diretrix {percent}", TODAY) for percent in (50, 80, 95, 100)
    ]
    assert "20 of 20 calls" in rows[-1]["text"]
    levels = [line["log_level"] for line in lines if line["event"] == "budget notice"]
    assert levels == ["warning", "warning", "warning", "error"]


async def pay(ledger: Ledger, budget: int, status: str = "paid") -> None:
    """One call that is settled so, if there is budget for it."""
    call = await ask(ledger, C2S, budget)
    if call is not None:
        await ledger.settle(call, status)


async def noticed(pool: asyncpg.Pool) -> list[str]:
    """The notices of the budget, in order."""
    rows = await pool.fetch("SELECT text FROM stream.notices ORDER BY created_at, key")
    return [row["text"] for row in rows]


async def test_free_calls_cause_no_notice(pool: asyncpg.Pool, ledger: Ledger) -> None:
    """Calls that find nobody cause no notice, although each is reserved for a while."""
    for _ in range(5):
        await pay(ledger, 2, "free")
    at_once = [await ask(ledger, C2S, 8) for _ in range(7)]
    for call in at_once:
        assert call is not None
        await ledger.settle(call, "free")
    assert await noticed(pool) == []


async def test_a_notice_counts_calls_that_are_or_may_be_billed(pool: asyncpg.Pool, ledger: Ledger) -> None:
    """Paid, unsure and unsettled calls count, because the call of a dead worker may be billed."""
    for _ in range(3):
        assert await ask(ledger, C2S, 8)  # its worker dies
    await pay(ledger, 8, "free")
    assert await noticed(pool) == []
    await pay(ledger, 8, "unsure")
    assert await noticed(pool) == ["50 % of the budget of diretrix for 2026-11-24 is spent: 4 of 8 calls"]
    for _ in range(3):
        await pay(ledger, 8)
    assert (await noticed(pool))[1:] == ["80 % of the budget of diretrix for 2026-11-24 is spent: 7 of 8 calls"]


async def test_a_refused_call_causes_the_notice(pool: asyncpg.Pool, ledger: Ledger) -> None:
    """A refused call adds the notice of 100 percent, even if no call was settled since."""
    assert await flood(ledger, C2S, 8) == 8
    assert (await noticed(pool))[-1].startswith("100 % of the budget of diretrix")


async def test_a_call_settled_after_midnight_counts_for_its_own_day(
    pool: asyncpg.Pool, ledger: Ledger, clock: Clock
) -> None:
    """The day is that of the reservation, as on the invoice."""
    call = await ask(ledger, C2S, 1)
    assert call is not None
    clock.time += timedelta(days=1)
    await ledger.settle(call, "paid")
    assert {text.split(" is spent")[0].split(" for ")[1] for text in await noticed(pool)} == {"2026-11-24"}


async def test_notices_come_again_the_next_day(pool: asyncpg.Pool, ledger: Ledger, clock: Clock) -> None:
    """Each day and each provider has its own notices."""
    for _ in range(3):
        await flood(ledger, C2S, 2)
        clock.time += timedelta(days=1)
    call = await ask(ledger, C2S, 1, provider="work")
    assert call is not None
    await ledger.settle(call, "paid")
    days = await pool.fetch("SELECT day, count(*) AS notices FROM stream.notices GROUP BY 1 ORDER BY 1")
    assert [row["notices"] for row in days] == [4, 4, 4, 4]


async def test_an_unlimited_budget_causes_no_notice(pool: asyncpg.Pool, ledger: Ledger) -> None:
    """Without a budget there is no notice."""
    for _ in range(5):
        assert await ask(ledger, C2S, None)
    assert await pool.fetchval("SELECT count(*) FROM stream.notices") == 0


async def test_the_reason_of_a_refused_call(pool: asyncpg.Pool, ledger: Ledger, clock: Clock) -> None:
    """The reason says whether the budget is spent or only the share of the source."""
    await see(pool, clock, C2S, GOOGLE)
    await flood(ledger, C2S, 8)
    with pytest.raises(BudgetSpentError) as caught:
        await ledger.reserve("diretrix", "phone", "p", str(uuid4()), C2S, Decimal(1), 8)
    assert caught.value.reason == f"diretrix: {BUDGET_SPENT} for this source"
    assert ledger.trouble("diretrix") == ""
    await flood(ledger, GOOGLE, 8)
    with pytest.raises(BudgetSpentError) as caught:
        await ledger.reserve("diretrix", "phone", "p", str(uuid4()), C2S, Decimal(1), 8)
    assert caught.value.reason == f"diretrix: {BUDGET_SPENT}"
    assert ledger.trouble("diretrix") == BUDGET_SPENT
    clock.time += timedelta(days=1)
    assert ledger.trouble("diretrix") == ""


async def test_a_deadly_webhook_gets_no_further_reservation(pool: asyncpg.Pool, ledger: Ledger, clock: Clock) -> None:
    """After three abandoned calls none is reserved at any provider, and the reason says what to do."""
    event = str(uuid4())
    for number in range(MAX_ABANDONED_CALLS):
        assert await ask(ledger, C2S, 100, event, provider=("diretrix", "work")[number % 2])
        clock.time += timedelta(seconds=31)
    with pytest.raises(DeadlyError, match=f"workers died in 3 paid calls.*'{event}'"):
        await ask(ledger, C2S, 100, event)
    assert await pool.fetchval("SELECT count(*) FROM stream.paid_calls") == MAX_ABANDONED_CALLS
    assert await pool.fetchval("SELECT sum(calls) FROM stream.budgets") == MAX_ABANDONED_CALLS
    assert await ask(ledger, C2S, 100)
    await pool.execute("UPDATE stream.paid_calls SET status = 'unsure' WHERE event_id = $1", UUID(event))
    assert await ask(ledger, C2S, 100, event)


async def test_calls_in_progress_are_not_abandoned(ledger: Ledger, clock: Clock) -> None:
    """Concurrent and settled calls of a webhook do not count as abandoned."""
    event = str(uuid4())
    for _ in range(5):
        assert await ask(ledger, C2S, None, event)
        clock.time += timedelta(seconds=5)
    for _ in range(5):
        call = await ask(ledger, C2S, None, other := str(uuid4()))
        assert call is not None
        await ledger.settle(call, "unsure")
        clock.time += timedelta(seconds=60)
    assert await ask(ledger, C2S, None, other)


async def test_a_failed_settlement_is_repeated(
    pool: asyncpg.Pool, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A settlement that failed in an outage is repeated, so the call does not look abandoned."""
    call = await ask(ledger, C2S, None)
    assert call is not None
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "_pool", SimpleNamespace(fetchrow=_away))
        with pytest.raises(Exception, match="database"):
            await ledger.settle(call, "paid")
    assert await pool.fetchval("SELECT status FROM stream.paid_calls") == "reserved"
    await ledger.settle_pending()
    await ledger.settle_pending()
    assert await pool.fetchval("SELECT status FROM stream.paid_calls") == "paid"


async def test_a_late_settlement_does_not_disturb_others(ledger: Ledger, pool: asyncpg.Pool) -> None:
    """``settle_pending`` may run at any moment of a settlement."""
    calls = [await ask(ledger, C2S, None) for _ in range(8)]
    ends = [ledger.settle(call, "paid") for call in calls if call is not None]
    await asyncio.gather(*ends, *(ledger.settle_pending() for _ in range(8)))
    assert await pool.fetch("SELECT DISTINCT status FROM stream.paid_calls") == [("paid",)]


async def _away(*_: object) -> None:
    raise OSError
