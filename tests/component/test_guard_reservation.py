"""When the guard reserves a call, and what happens if it can not be reserved."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import stamina

from stream.domain.errors import (
    BudgetSpentError,
    DatabaseUnavailableError,
    DeadlyError,
    PartnerUnavailableError,
    RefusedError,
)
from stream.providers import guard as guard_module
from stream.providers.guard import (
    BREAKER_THRESHOLD,
    MAX_ATTEMPTS,
    REFUSAL_PAUSE_S,
)
from tests.support.fakes import no_reservation
from tests.support.guarded import (
    Clock,
    Partner,
    breaker_open,
    fail,
    guarded,
    until_asked,
)


@pytest.fixture
def without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=MAX_ATTEMPTS):
        yield


class Books:
    """Reserves calls. Raises ``failing`` first, each once."""

    def __init__(self, *failing: Exception) -> None:
        self.failing = list(failing)
        self.reserved = 0

    async def reserve(self) -> None:
        """One reservation."""
        await asyncio.sleep(0)
        if self.failing:
            raise self.failing.pop(0)
        self.reserved += 1


async def test_a_call_is_reserved_behind_all_limits() -> None:
    """A call that waits for a slot or the rate, or finds the breaker open, has reserved nothing."""
    books, partner = Books(), Partner(["yes"], gate=asyncio.Event())
    guard, slow = guarded(at_once=2), guarded(rate=0.1)
    calls = [asyncio.create_task(guard.call(partner, books.reserve)) for _ in range(20)]
    await until_asked(partner, 2)
    assert books.reserved == 2
    partner.gate.set()  # type: ignore[union-attr]
    await asyncio.gather(*calls)
    assert books.reserved == partner.calls == 20
    await slow.call(partner, books.reserve)
    waiting = asyncio.create_task(slow.call(partner, books.reserve))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting, 0.05)
    assert books.reserved == partner.calls == 21
    await fail(guard, BREAKER_THRESHOLD)
    with pytest.raises(PartnerUnavailableError, match="the breaker is open"):
        await guard.call(partner, books.reserve)
    assert books.reserved == partner.calls == 21


@pytest.mark.usefixtures("without_waiting")
async def test_a_call_that_can_not_be_reserved_is_neither_sent_nor_retried() -> None:
    """The caller gets the error of the reservation unchanged."""
    partner = Partner(["yes"])
    for error in (BudgetSpentError("spent"), DatabaseUnavailableError("away"), DeadlyError(3, "id"), ValueError("bug")):
        books = Books(error)
        with pytest.raises(type(error)):
            await guarded().call(partner, books.reserve)
        assert (partner.calls, books.reserved) == (0, 0)


async def test_a_cancelled_reservation_frees_slot_and_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline during a slow reservation leaves the partner to the next call."""
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", 0.05)
    guard = guarded(at_once=1)
    await fail(guard, BREAKER_THRESHOLD)
    await asyncio.sleep(0.06)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await guard.call(Partner(["yes"]), asyncio.Event().wait)  # type: ignore[arg-type]
    assert await guard.call(Partner(["yes"]), no_reservation) == "yes"
    assert breaker_open() == 0


async def test_after_a_trial_that_can_not_be_reserved_the_next_call_is_the_trial() -> None:
    """The partner was not asked, so the refusal still stands."""
    clock = Clock()
    guard = guarded(clock=clock)
    with pytest.raises(RefusedError):
        await guard.call(Partner([RefusedError("partner", "status 401")]), no_reservation)
    clock.now += REFUSAL_PAUSE_S + 1
    with pytest.raises(BudgetSpentError):
        await guard.call(Partner(["yes"]), Books(BudgetSpentError("spent")).reserve)
    assert guard.trouble() == "refuses us: status 401", "nobody was asked"
    assert await guard.call(Partner(["yes"]), no_reservation) == "yes"
    assert guard.trouble() == ""
