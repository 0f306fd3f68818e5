"""The guard's breaker, and its pause after a refusal. The breaker's library has a real clock."""

from __future__ import annotations

import asyncio

import pytest

from stream.domain.errors import (
    PartnerUnavailableError,
    RefusedError,
)
from stream.providers import guard as guard_module
from stream.providers.guard import (
    BREAKER_THRESHOLD,
    MAX_WAIT_S,
    REFUSAL_PAUSE_S,
)
from tests.support.fakes import no_reservation
from tests.support.guarded import (
    Clock,
    Partner,
    breaker_open,
    fail,
    guarded,
    not_carried_out,
    refuses,
    until_asked,
)


async def test_after_a_refusal_no_call_is_made_for_a_while() -> None:
    """Every call is refused without a request, until the pause is over."""
    clock = Clock()
    guard, partner = guarded(clock=clock), Partner([RefusedError("partner", "status 401"), "yes"])
    for _ in range(3):
        with pytest.raises(RefusedError, match="status 401"):
            await guard.call(partner, no_reservation)
    assert partner.calls == 1
    clock.now += REFUSAL_PAUSE_S + 1
    assert await guard.call(partner, no_reservation) == "yes"


async def test_calls_that_wait_for_a_slot_end_with_a_refusal() -> None:
    """Calls that wait when the refusal comes send no request."""
    guard, partner = guarded(at_once=1), Partner([RefusedError("partner", "status 403")], takes=0.01)
    ends = await asyncio.gather(*(guard.call(partner, no_reservation) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(end, RefusedError) for end in ends)
    assert partner.calls == 1


async def test_after_a_refusal_one_call_is_a_trial() -> None:
    """When the pause is over one call is sent. If it is refused, the pause starts again."""
    clock = Clock()
    guard = guarded(clock=clock)
    partner = Partner([RefusedError("partner", "status 401")])
    with pytest.raises(RefusedError):
        await guard.call(partner, no_reservation)
    clock.now += REFUSAL_PAUSE_S + 1
    partner.takes = 0.01
    ends = await asyncio.gather(*(guard.call(partner, no_reservation) for _ in range(8)), return_exceptions=True)
    assert partner.calls == 2
    assert sum(isinstance(end, RefusedError) for end in ends) >= 1
    assert all(isinstance(end, RefusedError | PartnerUnavailableError) and end.billed == "no" for end in ends)


async def test_refusals_do_not_open_the_breaker() -> None:
    """A partner that refuses us is not down."""
    clock = Clock()
    guard = guarded(clock=clock)
    for _ in range(BREAKER_THRESHOLD + 1):
        with pytest.raises(RefusedError):
            await guard.call(Partner([RefusedError("partner", "status 401")]), no_reservation)
        clock.now += REFUSAL_PAUSE_S + 1
    assert await guard.call(Partner(["yes"]), no_reservation) == "yes"


async def test_breaker_opens_after_failures_in_a_row() -> None:
    """No request is sent then, the error says that nothing was billed, and the metric is 1."""
    guard = guarded()
    assert breaker_open() == 0
    await fail(guard, BREAKER_THRESHOLD)
    assert breaker_open() == 1
    partner = Partner(["yes"])
    with pytest.raises(PartnerUnavailableError, match="the breaker is open") as caught:
        await guard.call(partner, no_reservation)
    assert caught.value.billed == "no"
    assert partner.calls == 0


async def test_an_answer_between_failures_keeps_the_breaker_closed() -> None:
    """Only failures in a row count."""
    guard = guarded()
    await fail(guard, BREAKER_THRESHOLD - 1)
    await guard.call(Partner(["yes"]), no_reservation)
    await fail(guard, BREAKER_THRESHOLD - 1)
    assert await guard.call(Partner(["yes"]), no_reservation) == "yes"


async def test_an_open_breaker_admits_one_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time one call is sent and not several. Its answer closes the breaker."""
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", 0.05)
    guard = guarded()
    await fail(guard, BREAKER_THRESHOLD)
    await asyncio.sleep(0.06)
    partner = Partner(["yes"], gate=asyncio.Event())
    probe = asyncio.create_task(guard.call(partner, no_reservation))
    await until_asked(partner, 1)
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", MAX_WAIT_S + 1)  # the others need not try again
    with pytest.raises(PartnerUnavailableError, match="the breaker is open"):
        await guard.call(partner, no_reservation)
    assert partner.calls == 1
    partner.gate.set()  # type: ignore[union-attr]
    assert await probe == "yes"
    assert breaker_open() == 0
    assert await guard.call(Partner(["yes"]), no_reservation) == "yes"


async def test_a_failed_trial_opens_the_breaker_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One failure of the trial is enough."""
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", 0.05)
    guard = guarded()
    await fail(guard, BREAKER_THRESHOLD)
    await asyncio.sleep(0.06)
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", MAX_WAIT_S + 1)
    await fail(guard, 1)
    assert breaker_open() == 1
    with pytest.raises(PartnerUnavailableError, match="the breaker is open"):
        await guard.call(Partner(["yes"]), no_reservation)


async def test_a_cancelled_call_is_not_counted() -> None:
    """A deadline that cancels a call counts neither as a failure nor as an answer."""
    guard = guarded()
    await fail(guard, BREAKER_THRESHOLD - 1)
    partner = Partner(["yes"], gate=asyncio.Event())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await guard.call(partner, no_reservation)
    assert breaker_open() == 0
    await fail(guard, 1)
    assert breaker_open() == 1


async def test_after_a_cancelled_trial_the_next_call_is_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slot is free again as well."""
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", 0.05)
    guard = guarded(at_once=1)
    await fail(guard, BREAKER_THRESHOLD)
    await asyncio.sleep(0.06)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await guard.call(Partner(["yes"], gate=asyncio.Event()), no_reservation)
    assert await guard.call(Partner(["yes"]), no_reservation) == "yes"
    assert breaker_open() == 0


async def test_trouble_says_why_the_partner_is_not_asked() -> None:
    """It names a refusal, an open breaker or a Retry-After until a call is answered again."""
    clock = Clock()
    guard = guarded(clock=clock)
    assert guard.trouble() == ""
    with pytest.raises(RefusedError):
        await guard.call(Partner([RefusedError("partner", "status 401: check PASSWORD")]), no_reservation)
    assert (guard.trouble(), refuses()) == ("refuses us: status 401: check PASSWORD", 1)
    clock.now += REFUSAL_PAUSE_S + 1
    assert guard.trouble() != "", "nobody has asked yet whether it is over"
    await guard.call(Partner(["yes"]), no_reservation)
    assert (guard.trouble(), refuses()) == ("", 0)
    with pytest.raises(PartnerUnavailableError):
        await guard.call(Partner([not_carried_out(retry_after=60)]), no_reservation)
    assert guard.trouble() == "asked us to wait"
    clock.now += 61
    assert guard.trouble() == ""
    await fail(guard, BREAKER_THRESHOLD - 1)  # the 429 was one
    assert (guard.trouble(), breaker_open()) == ("the breaker is open", 1)
