"""What strangers may cost in one turn of the event loop, and how their clients share it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from producers.fair_scheduler import FairScheduler
from producers.usage import HALF_LIFE_SECONDS, MAX_CLIENTS, REBASE_HALF_LIVES, Usage


async def turn_of_the_loop() -> None:
    await asyncio.sleep(0)


def work(scheduler: FairScheduler, client: str, cost: float, done: list[str]) -> Callable[[], None]:
    """A piece of work that says what it took."""

    def carry_out() -> None:
        done.append(client)
        scheduler.charge(client, cost)

    return carry_out


async def test_a_turn_has_an_end() -> None:
    """When a turn's time is used nobody passes any more, and the next turn begins anew."""
    scheduler = FairScheduler(seconds_per_tick=4)
    for _ in range(3):
        passed = []
        for _ in range(6):
            passed.append(scheduler.can_run_now())
            if passed[-1]:
                scheduler.charge("one", 1)
        assert passed == [True] * 4 + [False] * 2
        await turn_of_the_loop()


@pytest.mark.parametrize("cost", [1, 2, 17])
async def test_whoever_waits_passes_in_the_end(cost: float) -> None:
    """At least one passes in each turn, whatever it costs, and no more than a turn holds."""
    scheduler, done = FairScheduler(seconds_per_tick=4), []
    for _ in range(8):
        scheduler.schedule("one", work(scheduler, "one", cost, done))
    while len(done) < 8:
        before = len(done)
        await turn_of_the_loop()
        assert 1 <= len(done) - before <= max(1, 4 // cost)


async def test_what_is_expected_is_charged_before_the_work() -> None:
    """Work that is done later than the passing can't let everybody pass at once."""
    scheduler, passed = FairScheduler(seconds_per_tick=4), []
    for number in range(4):
        scheduler.schedule("one", lambda number=number: passed.append(number), 4)  # type: ignore[misc]
    for turns in range(1, 5):
        await turn_of_the_loop()
        assert passed == list(range(turns))


async def test_who_used_least_passes_first() -> None:
    """A newcomer passes before three hundred clients that wait with expensive work, in the next turn."""
    scheduler, done = FairScheduler(seconds_per_tick=1), []
    for number in range(300):
        scheduler.charge(f"client {number}", 5)
        for _ in range(3):
            scheduler.schedule(f"client {number}", work(scheduler, f"client {number}", 5, done))
    await turn_of_the_loop()
    scheduler.schedule("newcomer", work(scheduler, "newcomer", 0.1, done))
    before = len(done)
    await turn_of_the_loop()
    assert done[before] == "newcomer"


async def test_who_has_shown_a_secret_passes_before_newcomers() -> None:
    """Its next connections too: three hundred newcomers do not keep a known sender waiting."""
    scheduler, done = FairScheduler(seconds_per_tick=1), []
    scheduler.favour("known")
    for number in range(300):
        scheduler.schedule(f"newcomer {number}", work(scheduler, "newcomer", 5, done))
    scheduler.schedule("known", work(scheduler, "known", 0.1, done))
    await turn_of_the_loop()
    assert done[0] == "known"


async def test_cheap_requests_do_not_wait_for_a_share_of_expensive_ones() -> None:
    """Who asks much, but cheaply, passes before who asks seldom and expensively."""
    scheduler, done = FairScheduler(), []
    for _ in range(20):
        scheduler.charge("cheap", 0.0003)
    scheduler.charge("expensive", 0.004)
    scheduler.schedule("expensive", work(scheduler, "expensive", 0.004, done))
    scheduler.schedule("cheap", work(scheduler, "cheap", 0.0003, done))
    await turn_of_the_loop()
    assert done[0] == "cheap"


async def test_one_clients_waiters_keep_their_order() -> None:
    """What a client sent first passes first."""
    scheduler, passed = FairScheduler(seconds_per_tick=100), []
    for number in range(20):
        scheduler.schedule("one", lambda number=number: passed.append(number), 1)  # type: ignore[misc]
    await turn_of_the_loop()
    assert passed == list(range(20))


async def test_nobody_overtakes_who_waits() -> None:
    """While somebody waits nobody passes at once."""
    scheduler, done = FairScheduler(seconds_per_tick=4), []
    scheduler.schedule("one", work(scheduler, "one", 1, done))
    assert not scheduler.can_run_now()
    await turn_of_the_loop()
    assert done == ["one"]
    assert scheduler.can_run_now()


async def test_a_waiter_that_is_cancelled_holds_up_nobody() -> None:
    """A request whose client has gone leaves its place empty."""
    scheduler = FairScheduler()
    gone, stays = asyncio.create_task(scheduler.wait("one")), asyncio.create_task(scheduler.wait("one"))
    await turn_of_the_loop()
    gone.cancel()
    async with asyncio.timeout(5):
        await stays
    assert gone.cancelled()


def test_what_was_used_long_ago_counts_less() -> None:
    """After each half-life a client may have used twice as much anew."""
    now = 0.0
    usage = Usage(lambda: now)
    usage.add("before", 4.0)
    now = HALF_LIFE_SECONDS
    usage.add("now", 3.0)
    assert usage.of("now") > usage.of("before") > usage.of("never") == 0
    now = HALF_LIFE_SECONDS * (REBASE_HALF_LIVES + 2)
    usage.add("late", 0.001)
    assert usage.of("late") > usage.of("now")


def test_the_clients_that_are_remembered_are_bounded() -> None:
    """Who used least is forgotten first."""
    usage = Usage(lambda: 0.0)
    usage.add("heavy", 10.0)
    for number in range(3 * MAX_CLIENTS):
        usage.add(f"client {number}", 0.01)
    assert len(usage) <= MAX_CLIENTS
    assert usage.of("heavy") == 10.0
