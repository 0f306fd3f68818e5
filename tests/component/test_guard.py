"""The guard's limits and retries: concurrency, rate, Retry-After. Time is real where a library's is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import stamina

from stream.domain.errors import (
    PartnerUnavailableError,
)
from stream.providers import guard as guard_module
from stream.providers.guard import (
    MAX_ATTEMPTS,
    MAX_RETRY_AFTER_S,
    MAX_WAIT_S,
)
from tests.support.fakes import no_reservation
from tests.support.guarded import (
    Clock,
    Partner,
    guarded,
    not_carried_out,
    unsure,
    until_asked,
)


@pytest.fixture
def without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=MAX_ATTEMPTS):
        yield


@pytest.mark.parametrize(("at_once", "workers", "most"), [(4, 1, 4), (8, 4, 2), (2, 4, 1)])
async def test_each_worker_gets_its_share_of_the_fleets_concurrency(at_once: int, workers: int, most: int) -> None:
    """The share is rounded down and at least one call."""
    guard, partner = guarded(at_once=at_once, workers=workers), Partner(["yes"], takes=0.01)
    await asyncio.gather(*(guard.call(partner, no_reservation) for _ in range(12)))
    assert partner.calls == 12
    assert partner.most == most


async def test_each_worker_gets_its_share_of_the_fleets_rate() -> None:
    """Forty calls a second of two workers are one call every 50 ms for each."""
    guard, partner = guarded(rate=40, workers=2), Partner(["yes"])
    await asyncio.gather(*(guard.call(partner, no_reservation) for _ in range(5)))
    assert partner.times[-1] - partner.times[0] >= 4 * 0.05 * 0.9


async def test_a_call_that_waits_too_long_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says that nothing was billed, and the guard does not retry it."""
    monkeypatch.setattr(guard_module, "MAX_WAIT_S", 0.02)
    guard, partner = guarded(at_once=1), Partner(["yes"], gate=asyncio.Event())
    first = asyncio.create_task(guard.call(partner, no_reservation))
    await until_asked(partner, 1)
    with pytest.raises(PartnerUnavailableError, match="no slot in time") as caught:
        await guard.call(partner, no_reservation)
    assert caught.value.billed == "no"
    partner.gate.set()  # type: ignore[union-attr]
    assert await first == "yes"
    assert await guard.call(partner, no_reservation) == "yes"
    slow = guarded(rate=0.1)
    await slow.call(partner, no_reservation)
    with pytest.raises(PartnerUnavailableError, match="no slot in time"):
        await slow.call(partner, no_reservation)
    assert partner.calls == 3


@pytest.mark.usefixtures("without_waiting")
async def test_a_request_that_was_not_sent_is_retried() -> None:
    """After two such failures the caller gets the answer."""
    partner = Partner([not_carried_out(), not_carried_out(), "yes"])
    assert await guarded().call(partner, no_reservation) == "yes"
    assert partner.calls == 3


@pytest.mark.usefixtures("without_waiting")
async def test_retries_end() -> None:
    """After ``MAX_ATTEMPTS`` the caller gets the error."""
    partner = Partner([not_carried_out()])
    with pytest.raises(PartnerUnavailableError, match="not now") as caught:
        await guarded().call(partner, no_reservation)
    assert caught.value.billed == "no"
    assert partner.calls == MAX_ATTEMPTS


@pytest.mark.usefixtures("without_waiting")
async def test_a_call_that_may_be_billed_is_never_repeated() -> None:
    """An unsure call is made once."""
    partner = Partner([unsure(), "yes"])
    with pytest.raises(PartnerUnavailableError) as caught:
        await guarded().call(partner, no_reservation)
    assert caught.value.billed == "unsure"
    assert partner.calls == 1


async def test_retry_after_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The retry comes no earlier than the partner asked for."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    partner = Partner([not_carried_out(retry_after=0.15), "yes"])
    assert await guarded().call(partner, no_reservation) == "yes"
    assert partner.times[1] - partner.times[0] >= 0.15


async def test_a_retry_after_longer_than_a_look_up_is_left_to_the_caller() -> None:
    """The guard does not wait. The error says how long to wait."""
    partner = Partner([not_carried_out(retry_after=MAX_WAIT_S + 1)])
    with pytest.raises(PartnerUnavailableError) as caught:
        await guarded().call(partner, no_reservation)
    assert caught.value.retry_after == MAX_WAIT_S + 1
    assert partner.calls == 1


async def test_retry_after_holds_for_every_call() -> None:
    """No call is sent until the time that one call was given has passed."""
    clock = Clock()
    guard, partner = guarded(clock=clock), Partner([not_carried_out(retry_after=60), "yes"])
    for _ in range(2):
        with pytest.raises(PartnerUnavailableError) as caught:
            await guard.call(partner, no_reservation)
        assert (caught.value.billed, caught.value.retry_after) == ("no", 60)
    assert partner.calls == 1
    clock.now += 61
    assert await guard.call(partner, no_reservation) == "yes"


async def test_a_very_long_retry_after_is_shortened() -> None:
    """The guard waits for ``MAX_RETRY_AFTER_S`` at most."""
    clock = Clock()
    guard, partner = guarded(clock=clock), Partner([not_carried_out(retry_after=1e12), "yes"])
    with pytest.raises(PartnerUnavailableError):
        await guard.call(partner, no_reservation)
    clock.now += MAX_RETRY_AFTER_S + 1
    assert await guard.call(partner, no_reservation) == "yes"
