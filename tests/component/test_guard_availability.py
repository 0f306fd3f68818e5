"""Whether a partner can be asked, and what the log says about its breaker."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from stream.domain.availability import Availability
from stream.domain.errors import PartnerUnavailableError, RefusedError
from stream.logs.outages import REMINDER_INTERVAL_SECONDS
from stream.providers import guard as guard_module
from stream.providers.guard import BREAKER_OPEN_S, BREAKER_THRESHOLD, REFUSAL_PAUSE_S, Guard
from tests.support.fakes import no_reservation
from tests.support.guarded import Clock, Partner

SHORT = 0.05  # seconds; the breaker's own clock is the world's


def down(reason: str = "partner: status 503") -> PartnerUnavailableError:
    return PartnerUnavailableError(reason, billed="unsure")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Guard:
    """A guard whose breaker admits a trial after a moment."""
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", SHORT)
    return Guard("partner", at_once=8, rate=None, workers=1, clock=clock)


async def fail(guard: Guard, partner: Partner, times: int = 1) -> None:
    """Calls that fail."""
    for _ in range(times):
        with pytest.raises(PartnerUnavailableError):
            await guard.call(partner, no_reservation)


async def test_after_an_outage_one_call_is_a_trial(guard: Guard, clock: Clock) -> None:
    """Open: unavailable. Then: trial. While the trial runs: unavailable. Its answer: available."""
    partner = Partner([*[down()] * BREAKER_THRESHOLD, "yes"])
    assert guard.availability() is Availability.AVAILABLE
    await fail(guard, partner, BREAKER_THRESHOLD)
    assert guard.availability() is Availability.UNAVAILABLE
    clock.now += BREAKER_OPEN_S
    assert guard.availability() is Availability.TRIAL
    await asyncio.sleep(SHORT)  # the breaker's library has a clock of its own
    partner.gate = asyncio.Event()
    trial = asyncio.create_task(guard.call(partner, no_reservation))
    while not partner.running:  # noqa: ASYNC110 - the partner sets no event
        await asyncio.sleep(0)
    assert guard.availability() is Availability.UNAVAILABLE
    partner.gate.set()
    assert await trial == "yes"
    assert guard.availability() is Availability.AVAILABLE


async def test_a_refused_partner_or_one_that_asked_to_wait_is_unavailable(guard: Guard, clock: Clock) -> None:
    """Until the pause is over, and until the time that the partner named."""
    with pytest.raises(RefusedError):
        await guard.call(Partner([RefusedError("partner", "status 401")]), no_reservation)
    assert guard.availability() is Availability.UNAVAILABLE
    clock.now += REFUSAL_PAUSE_S
    assert guard.availability() is Availability.TRIAL
    assert await guard.call(Partner(["yes"]), no_reservation) == "yes"
    assert guard.availability() is Availability.AVAILABLE
    await fail(guard, Partner([PartnerUnavailableError("partner: status 429", billed="no", retry_after=600.0)]))
    assert guard.availability() is Availability.UNAVAILABLE
    clock.now += 600.0
    assert guard.availability() is Availability.AVAILABLE


async def test_the_breaker_logs_its_opening_a_reminder_a_minute_and_its_closing(guard: Guard, clock: Clock) -> None:
    """Failed trials in between are not logged."""
    partner = Partner([*[down()] * BREAKER_THRESHOLD, *[down("partner: TimeoutError")] * 8, "yes"])
    with capture_logs() as lines:
        await fail(guard, partner, BREAKER_THRESHOLD)
        for _ in range(8):
            clock.now += REMINDER_INTERVAL_SECONDS / 4
            await asyncio.sleep(SHORT)  # the breaker's library has a clock of its own
            await fail(guard, partner)
        clock.now += REMINDER_INTERVAL_SECONDS / 4
        await asyncio.sleep(SHORT)
        assert await guard.call(partner, no_reservation) == "yes"
    assert [(line["event"], line.get("cause")) for line in lines] == [
        ("breaker opened", "status 503"),
        ("breaker still open", "TimeoutError"),
        ("breaker still open", "TimeoutError"),
        ("breaker closed", None),
    ]
    assert {line["partner"] for line in lines} == {"partner"}
    assert lines[-1]["open"] == "135 s"
