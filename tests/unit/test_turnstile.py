"""What strangers may cost in one turn of the event loop, and how their clients share it."""

from __future__ import annotations

import asyncio

import pytest

from producers.turnstile import Turnstile


async def turn_of_the_loop() -> None:
    await asyncio.sleep(0)


async def test_a_turn_has_an_end() -> None:
    """What costs more than a turn has left passes in a later one, and each turn begins anew."""
    turnstile = Turnstile(per_turn=4)
    for _ in range(3):
        assert [turnstile.pass_now(1) for _ in range(6)] == [True] * 4 + [False] * 2
        await turn_of_the_loop()


@pytest.mark.parametrize("cost", [1, 2, 17])
async def test_whoever_waits_passes_in_the_end(cost: int) -> None:
    """At least one passes in each turn, whatever it costs, and no more than a turn holds."""
    turnstile, passed = Turnstile(per_turn=4), []
    for number in range(8):
        turnstile.enter("one", cost, lambda number=number: passed.append(number))  # type: ignore[misc]
    turns = 0
    while len(passed) < 8:
        before = len(passed)
        await turn_of_the_loop()
        assert 1 <= len(passed) - before <= max(1, 4 // cost)
        turns += 1
    assert passed == list(range(8))


async def test_clients_take_turns() -> None:
    """Who comes last with one request does not wait for the hundred of another client."""
    turnstile, passed = Turnstile(per_turn=2), []
    for number in range(100):
        turnstile.enter("many", 1, lambda number=number: passed.append(number))  # type: ignore[misc]
    turnstile.enter("single", 1, lambda: passed.append("single"))
    await turn_of_the_loop()
    assert passed == [0, "single"]


async def test_nobody_overtakes_who_waits() -> None:
    """While somebody waits nobody passes at once."""
    turnstile, passed = Turnstile(per_turn=4), []
    turnstile.enter("one", 1, lambda: passed.append("one"))
    assert not turnstile.pass_now(1)
    await turn_of_the_loop()
    assert passed == ["one"]
    assert turnstile.pass_now(1)


async def test_a_waiter_that_is_cancelled_holds_up_nobody() -> None:
    """A request whose client has gone leaves its place empty."""
    turnstile = Turnstile()
    gone, stays = asyncio.create_task(turnstile.wait("one")), asyncio.create_task(turnstile.wait("one"))
    await turn_of_the_loop()
    gone.cancel()
    async with asyncio.timeout(5):
        await stays
    assert gone.cancelled()
