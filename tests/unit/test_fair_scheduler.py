"""The fair scheduler: what strangers may cost in one tick, and how their clients share it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from producers.fair_scheduler import FairScheduler
from producers.usage import HALF_LIFE_SECONDS, MAX_CLIENTS, REBASE_HALF_LIVES, Usage


async def next_tick() -> None:
    await asyncio.sleep(0)


def work(scheduler: FairScheduler, client: str, cost: float, done: list[str]) -> Callable[[], None]:
    """A piece of work that charges its own cost."""

    def run() -> None:
        done.append(client)
        scheduler.charge(client, cost)

    return run


async def test_a_tick_has_a_limit() -> None:
    """When the time of a tick is used up nothing more runs, and the next tick has its own time."""
    scheduler = FairScheduler(seconds_per_tick=4)
    for _ in range(3):
        passed = []
        for _ in range(6):
            passed.append(scheduler.can_run_now())
            if passed[-1]:
                scheduler.charge("one", 1)
        assert passed == [True] * 4 + [False] * 2
        await next_tick()


@pytest.mark.parametrize("cost", [1, 2, 17])
async def test_every_waiting_piece_runs(cost: float) -> None:
    """Each tick runs at least one piece, whatever its cost, and no more than fit into the tick."""
    scheduler, done = FairScheduler(seconds_per_tick=4), []
    for _ in range(8):
        scheduler.schedule("one", work(scheduler, "one", cost, done))
    while len(done) < 8:
        before = len(done)
        await next_tick()
        assert 1 <= len(done) - before <= max(1, 4 // cost)


async def test_the_expected_cost_is_charged_before_the_work() -> None:
    """Work that follows later does not let all pieces run in one tick."""
    scheduler, passed = FairScheduler(seconds_per_tick=4), []
    for number in range(4):
        scheduler.schedule("one", lambda number=number: passed.append(number), 4)  # type: ignore[misc]
    for ticks in range(1, 5):
        await next_tick()
        assert passed == list(range(ticks))


async def test_the_client_that_used_least_runs_first() -> None:
    """A new client runs in the next tick, before three hundred clients with expensive work."""
    scheduler, done = FairScheduler(seconds_per_tick=1), []
    for number in range(300):
        scheduler.charge(f"client {number}", 5)
        for _ in range(3):
            scheduler.schedule(f"client {number}", work(scheduler, f"client {number}", 5, done))
    await next_tick()
    scheduler.schedule("newcomer", work(scheduler, "newcomer", 0.1, done))
    before = len(done)
    await next_tick()
    assert done[before] == "newcomer"


async def test_a_client_with_a_right_secret_runs_before_new_clients() -> None:
    """Three hundred new clients do not keep a known sender waiting."""
    scheduler, done = FairScheduler(seconds_per_tick=1), []
    scheduler.favour("known")
    for number in range(300):
        scheduler.schedule(f"newcomer {number}", work(scheduler, "newcomer", 5, done))
    scheduler.schedule("known", work(scheduler, "known", 0.1, done))
    await next_tick()
    assert done[0] == "known"


async def test_cheap_requests_do_not_wait_for_a_share_of_expensive_ones() -> None:
    """A client with many cheap requests runs before one with few expensive ones."""
    scheduler, done = FairScheduler(), []
    for _ in range(20):
        scheduler.charge("cheap", 0.0003)
    scheduler.charge("expensive", 0.004)
    scheduler.schedule("expensive", work(scheduler, "expensive", 0.004, done))
    scheduler.schedule("cheap", work(scheduler, "cheap", 0.0003, done))
    await next_tick()
    assert done[0] == "cheap"


async def test_the_pieces_of_one_client_keep_their_order() -> None:
    """What a client sent first runs first."""
    scheduler, passed = FairScheduler(seconds_per_tick=100), []
    for number in range(20):
        scheduler.schedule("one", lambda number=number: passed.append(number), 1)  # type: ignore[misc]
    await next_tick()
    assert passed == list(range(20))


async def test_nothing_overtakes_a_waiting_piece() -> None:
    """While a piece waits, nothing runs at once."""
    scheduler, done = FairScheduler(seconds_per_tick=4), []
    scheduler.schedule("one", work(scheduler, "one", 1, done))
    assert not scheduler.can_run_now()
    await next_tick()
    assert done == ["one"]
    assert scheduler.can_run_now()


async def test_a_cancelled_wait_holds_up_nothing() -> None:
    """A request whose client has gone does not block the next one."""
    scheduler = FairScheduler()
    gone, stays = asyncio.create_task(scheduler.wait("one")), asyncio.create_task(scheduler.wait("one"))
    await next_tick()
    gone.cancel()
    async with asyncio.timeout(5):
        await stays
    assert gone.cancelled()


def test_what_was_used_long_ago_counts_less() -> None:
    """An amount counts half after each half-life."""
    now = 0.0
    usage = Usage(lambda: now)
    usage.add("before", 4.0)
    now = HALF_LIFE_SECONDS
    usage.add("now", 3.0)
    assert usage.of("now") > usage.of("before") > usage.of("never") == 0
    now = HALF_LIFE_SECONDS * (REBASE_HALF_LIVES + 2)
    usage.add("late", 0.001)
    assert usage.of("late") > usage.of("now")


def test_the_remembered_clients_are_limited() -> None:
    """The clients that used least are forgotten first."""
    usage = Usage(lambda: 0.0)
    usage.add("heavy", 10.0)
    for number in range(3 * MAX_CLIENTS):
        usage.add(f"client {number}", 0.01)
    assert len(usage) <= MAX_CLIENTS
    assert usage.of("heavy") == 10.0
