"""Whether a partner can be asked, and what the log says of its breaker."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from stream.domain.availability import Availability
from stream.domain.errors import PartnerUnavailableError, RefusedError
from stream.logs.outages import REMIND_EVERY
from stream.providers import guard as guard_module
from stream.providers.guard import BREAKER_OPEN_S, BREAKER_THRESHOLD, REFUSAL_PAUSE_S, Guard
from tests.support.fakes import unbooked
from tests.support.guarded import Clock, Partner

SHORT = 0.05  # seconds; the breaker's own clock is the world's


def down(reason: str = "partner: status 503") -> PartnerUnavailableError:
    return PartnerUnavailableError(reason, billed="unsure")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Guard:
    """A guard whose breaker lets a call through after a moment."""
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", SHORT)
    return Guard("partner", at_once=8, rate=None, workers=1, clock=clock)


async def fail(guard: Guard, partner: Partner, times: int = 1) -> None:
    """Calls that fail."""
    for _ in range(times):
        with pytest.raises(PartnerUnavailableError):
            await guard.call(partner, unbooked)


async def test_after_an_outage_one_call_finds_out(guard: Guard, clock: Clock) -> None:
    """Open: it can't be asked. Then it may be tried, while one call does it can't, and its answer lets all through."""
    partner = Partner([*[down()] * BREAKER_THRESHOLD, "yes"])
    assert guard.availability() is Availability.AVAILABLE
    await fail(guard, partner, BREAKER_THRESHOLD)
    assert guard.availability() is Availability.UNAVAILABLE
    clock.now += BREAKER_OPEN_S
    assert guard.availability() is Availability.TRIAL
    await asyncio.sleep(SHORT)  # the breaker's library has a clock of its own
    partner.gate = asyncio.Event()
    trial = asyncio.create_task(guard.call(partner, unbooked))
    while not partner.running:  # noqa: ASYNC110 - the partner sets no event
        await asyncio.sleep(0)
    assert guard.availability() is Availability.UNAVAILABLE
    partner.gate.set()
    assert await trial == "yes"
    assert guard.availability() is Availability.AVAILABLE


async def test_a_refusal_and_a_wish_to_wait_are_no_availability(guard: Guard, clock: Clock) -> None:
    """Credentials may be mended after a while; a time that a partner names is kept."""
    with pytest.raises(RefusedError):
        await guard.call(Partner([RefusedError("partner", "status 401")]), unbooked)
    assert guard.availability() is Availability.UNAVAILABLE
    clock.now += REFUSAL_PAUSE_S
    assert guard.availability() is Availability.TRIAL
    assert await guard.call(Partner(["yes"]), unbooked) == "yes"
    assert guard.availability() is Availability.AVAILABLE
    await fail(guard, Partner([PartnerUnavailableError("partner: status 429", billed="no", retry_after=600.0)]))
    assert guard.availability() is Availability.UNAVAILABLE
    clock.now += 600.0
    assert guard.availability() is Availability.AVAILABLE


async def test_a_breaker_says_why_it_opened_once_a_minute_that_it_is_and_when_it_closes(
    guard: Guard, clock: Clock
) -> None:
    """Trials that fail in between are no lines."""
    partner = Partner([*[down()] * BREAKER_THRESHOLD, *[down("partner: TimeoutError")] * 8, "yes"])
    with capture_logs() as lines:
        await fail(guard, partner, BREAKER_THRESHOLD)
        for _ in range(8):
            clock.now += REMIND_EVERY / 4
            await asyncio.sleep(SHORT)  # the breaker's library has a clock of its own
            await fail(guard, partner)
        clock.now += REMIND_EVERY / 4
        await asyncio.sleep(SHORT)
        assert await guard.call(partner, unbooked) == "yes"
    assert [(line["event"], line.get("cause")) for line in lines] == [
        ("breaker opened", "status 503"),
        ("breaker still open", "TimeoutError"),
        ("breaker still open", "TimeoutError"),
        ("breaker closed", None),
    ]
    assert {line["partner"] for line in lines} == {"partner"}
    assert lines[-1]["open"] == "135 s"
