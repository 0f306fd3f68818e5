"""The guard of a partner: pace, tries again, breaker, refusals. Time is real where the libraries' own is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import stamina
from prometheus_client import REGISTRY

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
    MAX_RETRY_AFTER_S,
    MAX_WAIT_S,
    REFUSAL_PAUSE_S,
    Guard,
)
from tests.support.fakes import unbooked
from tests.support.waiting import LIMIT


@dataclass
class Clock:
    """A clock that a test turns."""

    now: float = 1000.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


@dataclass
class Partner:
    """Answers with what it was given, one a call, the last one for ever; counts its calls."""

    answers: list[Exception | str]
    calls: int = 0
    running: int = 0
    most: int = 0
    takes: float = 0.0
    gate: asyncio.Event | None = None
    times: list[float] = field(default_factory=list)

    async def __call__(self) -> str:
        """One call."""
        answer = self.answers[min(self.calls, len(self.answers) - 1)]
        self.calls += 1
        self.times.append(time.monotonic())
        async with self._counted():
            await asyncio.sleep(self.takes)
            if self.gate is not None:
                await self.gate.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            yield
        finally:
            self.running -= 1


def guarded(
    *, at_once: int = 8, rate: float | None = None, workers: int = 1, clock: Callable[[], float] = time.monotonic
) -> Guard:
    return Guard("partner", at_once=at_once, rate=rate, workers=workers, clock=clock)


def unsure() -> PartnerUnavailableError:
    return PartnerUnavailableError("it broke", billed="unsure")


def not_carried_out(retry_after: float | None = None) -> PartnerUnavailableError:
    return PartnerUnavailableError("not now", billed="no", retry_after=retry_after)


def breaker_open() -> float | None:
    return REGISTRY.get_sample_value("leads_breaker_open", {"partner": "partner"})


async def fail(guard: Guard, times: int) -> None:
    for _ in range(times):
        with pytest.raises(PartnerUnavailableError, match="it broke"):
            await guard.call(Partner([unsure()]), unbooked)


async def until_asked(partner: Partner, calls: int) -> None:
    async with asyncio.timeout(LIMIT):
        while partner.calls < calls:  # noqa: ASYNC110 - the partner sets no event
            await asyncio.sleep(0.001)


@pytest.fixture
def without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=MAX_ATTEMPTS):
        yield


@pytest.mark.parametrize(("at_once", "workers", "most"), [(4, 1, 4), (8, 4, 2), (2, 4, 1)])
async def test_calls_at_once_are_the_fleets_divided_by_its_workers(at_once: int, workers: int, most: int) -> None:
    """A worker takes its share of the calls at once, and at least one."""
    guard, partner = guarded(at_once=at_once, workers=workers), Partner(["yes"], takes=0.01)
    await asyncio.gather(*(guard.call(partner, unbooked) for _ in range(12)))
    assert partner.calls == 12
    assert partner.most == most


async def test_rate_is_the_fleets_divided_by_its_workers() -> None:
    """Forty calls a second of two workers are twenty of one: a call every 50 ms."""
    guard, partner = guarded(rate=40, workers=2), Partner(["yes"])
    await asyncio.gather(*(guard.call(partner, unbooked) for _ in range(5)))
    assert partner.times[-1] - partner.times[0] >= 4 * 0.05 * 0.9


@pytest.mark.usefixtures("without_waiting")
async def test_what_was_not_carried_out_is_tried_again() -> None:
    """A refused connection, then a 429, then an answer: the caller sees the answer."""
    partner = Partner([not_carried_out(), not_carried_out(), "yes"])
    assert await guarded().call(partner, unbooked) == "yes"
    assert partner.calls == 3


@pytest.mark.usefixtures("without_waiting")
async def test_trying_again_ends() -> None:
    """After a number of tries the error is the caller's, who parks the webhook."""
    partner = Partner([not_carried_out()])
    with pytest.raises(PartnerUnavailableError, match="not now") as caught:
        await guarded().call(partner, unbooked)
    assert caught.value.billed == "no"
    assert partner.calls == MAX_ATTEMPTS


@pytest.mark.usefixtures("without_waiting")
async def test_what_may_have_been_billed_is_never_repeated() -> None:
    """An unsure call is made once, whatever follows."""
    partner = Partner([unsure(), "yes"])
    with pytest.raises(PartnerUnavailableError) as caught:
        await guarded().call(partner, unbooked)
    assert caught.value.billed == "unsure"
    assert partner.calls == 1


async def test_retry_after_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next try comes no earlier than the partner said."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    partner = Partner([not_carried_out(retry_after=0.15), "yes"])
    assert await guarded().call(partner, unbooked) == "yes"
    assert partner.times[1] - partner.times[0] >= 0.15


async def test_a_long_retry_after_is_left_to_the_caller() -> None:
    """Who wants us to wait longer than a look-up can is not waited for: the error says how long."""
    partner = Partner([not_carried_out(retry_after=MAX_WAIT_S + 1)])
    with pytest.raises(PartnerUnavailableError) as caught:
        await guarded().call(partner, unbooked)
    assert caught.value.retry_after == MAX_WAIT_S + 1
    assert partner.calls == 1


async def test_retry_after_holds_for_every_call() -> None:
    """What one call was told the others obey without asking, and ask again once the time has passed."""
    clock = Clock()
    guard, partner = guarded(clock=clock), Partner([not_carried_out(retry_after=60), "yes"])
    for _ in range(2):
        with pytest.raises(PartnerUnavailableError) as caught:
            await guard.call(partner, unbooked)
        assert (caught.value.billed, caught.value.retry_after) == ("no", 60)
    assert partner.calls == 1
    clock.now += 61
    assert await guard.call(partner, unbooked) == "yes"


async def test_an_absurd_retry_after_does_not_stop_us_for_days() -> None:
    """Beyond an hour it is taken for a slip."""
    clock = Clock()
    guard, partner = guarded(clock=clock), Partner([not_carried_out(retry_after=1e12), "yes"])
    with pytest.raises(PartnerUnavailableError):
        await guard.call(partner, unbooked)
    clock.now += MAX_RETRY_AFTER_S + 1
    assert await guard.call(partner, unbooked) == "yes"


async def test_after_a_refusal_nothing_is_asked_for_a_while() -> None:
    """Wrong credentials stop the asking at once; after a while one call finds out whether they are right now."""
    clock = Clock()
    guard, partner = guarded(clock=clock), Partner([RefusedError("partner", "status 401"), "yes"])
    for _ in range(3):
        with pytest.raises(RefusedError, match="status 401"):
            await guard.call(partner, unbooked)
    assert partner.calls == 1
    clock.now += REFUSAL_PAUSE_S + 1
    assert await guard.call(partner, unbooked) == "yes"


async def test_who_waited_for_a_turn_does_not_ask_after_a_refusal() -> None:
    """Calls in the queue when the refusal comes end with it."""
    guard, partner = guarded(at_once=1), Partner([RefusedError("partner", "status 403")], takes=0.01)
    ends = await asyncio.gather(*(guard.call(partner, unbooked) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(end, RefusedError) for end in ends)
    assert partner.calls == 1


async def test_breaker_opens_after_failures_in_a_row() -> None:
    """Then nothing is asked, the error says that nothing was billed, and the metric is 1."""
    guard = guarded()
    assert breaker_open() == 0
    await fail(guard, BREAKER_THRESHOLD)
    assert breaker_open() == 1
    partner = Partner(["yes"])
    with pytest.raises(PartnerUnavailableError, match="the breaker is open") as caught:
        await guard.call(partner, unbooked)
    assert caught.value.billed == "no"
    assert partner.calls == 0


async def test_an_answer_between_failures_keeps_the_breaker_closed() -> None:
    """Only failures in a row count."""
    guard = guarded()
    await fail(guard, BREAKER_THRESHOLD - 1)
    await guard.call(Partner(["yes"]), unbooked)
    await fail(guard, BREAKER_THRESHOLD - 1)
    assert await guard.call(Partner(["yes"]), unbooked) == "yes"


async def test_refusals_do_not_open_the_breaker() -> None:
    """A partner that refuses us is up."""
    clock = Clock()
    guard = guarded(clock=clock)
    for _ in range(BREAKER_THRESHOLD + 1):
        with pytest.raises(RefusedError):
            await guard.call(Partner([RefusedError("partner", "status 401")]), unbooked)
        clock.now += REFUSAL_PAUSE_S + 1
    assert await guard.call(Partner(["yes"]), unbooked) == "yes"


async def test_one_call_finds_out_whether_the_partner_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An open breaker lets one call through after its time, not a crowd; its answer closes it."""
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", 0.05)
    guard = guarded()
    await fail(guard, BREAKER_THRESHOLD)
    await asyncio.sleep(0.06)
    partner = Partner(["yes"], gate=asyncio.Event())
    probe = asyncio.create_task(guard.call(partner, unbooked))
    await until_asked(partner, 1)
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", MAX_WAIT_S + 1)  # the others need not try again
    with pytest.raises(PartnerUnavailableError, match="the breaker is open"):
        await guard.call(partner, unbooked)
    assert partner.calls == 1
    partner.gate.set()  # type: ignore[union-attr]
    assert await probe == "yes"
    assert breaker_open() == 0
    assert await guard.call(Partner(["yes"]), unbooked) == "yes"


async def test_a_failed_probe_opens_the_breaker_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One failure is enough while the partner is on probation."""
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", 0.05)
    guard = guarded()
    await fail(guard, BREAKER_THRESHOLD)
    await asyncio.sleep(0.06)
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", MAX_WAIT_S + 1)
    await fail(guard, 1)
    assert breaker_open() == 1
    with pytest.raises(PartnerUnavailableError, match="the breaker is open"):
        await guard.call(Partner(["yes"]), unbooked)


async def test_a_cancelled_call_says_nothing_of_the_partner() -> None:
    """Deadlines cancel calls of a partner that hangs: they must not count as its answers."""
    guard = guarded()
    await fail(guard, BREAKER_THRESHOLD - 1)
    partner = Partner(["yes"], gate=asyncio.Event())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await guard.call(partner, unbooked)
    assert breaker_open() == 0
    await fail(guard, 1)
    assert breaker_open() == 1


async def test_a_cancelled_probe_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next call is the probe then, and slots are free again."""
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", 0.05)
    guard = guarded(at_once=1)
    await fail(guard, BREAKER_THRESHOLD)
    await asyncio.sleep(0.06)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await guard.call(Partner(["yes"], gate=asyncio.Event()), unbooked)
    assert await guard.call(Partner(["yes"]), unbooked) == "yes"
    assert breaker_open() == 0


def refuses() -> float | None:
    return REGISTRY.get_sample_value("leads_partner_refuses", {"partner": "partner"})


async def test_after_a_refusal_one_call_finds_out_whether_it_is_over() -> None:
    """Once its time has passed, one asks and the others do not; refused again, all wait again."""
    clock = Clock()
    guard = guarded(clock=clock)
    partner = Partner([RefusedError("partner", "status 401")])
    with pytest.raises(RefusedError):
        await guard.call(partner, unbooked)
    clock.now += REFUSAL_PAUSE_S + 1
    partner.takes = 0.01
    ends = await asyncio.gather(*(guard.call(partner, unbooked) for _ in range(8)), return_exceptions=True)
    assert partner.calls == 2
    assert sum(isinstance(end, RefusedError) for end in ends) >= 1
    assert all(isinstance(end, RefusedError | PartnerUnavailableError) and end.billed == "no" for end in ends)


async def test_the_guard_says_what_keeps_us_from_asking() -> None:
    """A refusal, a breaker, a Retry-After: each is told and in the metrics until a call is answered again."""
    clock = Clock()
    guard = guarded(clock=clock)
    assert guard.trouble() == ""
    with pytest.raises(RefusedError):
        await guard.call(Partner([RefusedError("partner", "status 401: check PASSWORD")]), unbooked)
    assert (guard.trouble(), refuses()) == ("refuses us: status 401: check PASSWORD", 1)
    clock.now += REFUSAL_PAUSE_S + 1
    assert guard.trouble() != "", "nobody has asked yet whether it is over"
    await guard.call(Partner(["yes"]), unbooked)
    assert (guard.trouble(), refuses()) == ("", 0)
    with pytest.raises(PartnerUnavailableError):
        await guard.call(Partner([not_carried_out(retry_after=60)]), unbooked)
    assert guard.trouble() == "asked us to wait"
    clock.now += 61
    assert guard.trouble() == ""
    await fail(guard, BREAKER_THRESHOLD - 1)  # the 429 was one
    assert (guard.trouble(), breaker_open()) == ("the breaker is open", 1)


async def test_who_waits_too_long_for_a_turn_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs nothing, says so, and is not tried again by the guard."""
    monkeypatch.setattr(guard_module, "MAX_WAIT_S", 0.02)
    guard, partner = guarded(at_once=1), Partner(["yes"], gate=asyncio.Event())
    first = asyncio.create_task(guard.call(partner, unbooked))
    await until_asked(partner, 1)
    with pytest.raises(PartnerUnavailableError, match="no turn in time") as caught:
        await guard.call(partner, unbooked)
    assert caught.value.billed == "no"
    partner.gate.set()  # type: ignore[union-attr]
    assert await first == "yes"
    assert await guard.call(partner, unbooked) == "yes"
    slow = guarded(rate=0.1)
    await slow.call(partner, unbooked)
    with pytest.raises(PartnerUnavailableError, match="no turn in time"):
        await slow.call(partner, unbooked)
    assert partner.calls == 3


class Books:
    """Reserves; raises what it was given first, once each."""

    def __init__(self, *failing: Exception) -> None:
        self.failing = list(failing)
        self.reserved = 0

    async def reserve(self) -> None:
        """One reservation."""
        await asyncio.sleep(0)
        if self.failing:
            raise self.failing.pop(0)
        self.reserved += 1


async def test_a_call_is_reserved_behind_all_guards() -> None:
    """Who waits for a slot or for the pace, or finds the breaker open, has reserved nothing."""
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
async def test_what_can_not_be_reserved_is_neither_asked_nor_tried_again() -> None:
    """Whatever reserving raises reaches the caller as it is."""
    partner = Partner(["yes"])
    for error in (BudgetSpentError("spent"), DatabaseUnavailableError("away"), DeadlyError(3, "id"), ValueError("bug")):
        books = Books(error)
        with pytest.raises(type(error)):
            await guarded().call(partner, books.reserve)
        assert (partner.calls, books.reserved) == (0, 0)


async def test_reserving_that_is_cancelled_frees_slot_and_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that comes while the database is slow leaves the partner to the next call."""
    monkeypatch.setattr(guard_module, "BREAKER_OPEN_S", 0.05)
    guard = guarded(at_once=1)
    await fail(guard, BREAKER_THRESHOLD)
    await asyncio.sleep(0.06)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await guard.call(Partner(["yes"]), asyncio.Event().wait)  # type: ignore[arg-type]
    assert await guard.call(Partner(["yes"]), unbooked) == "yes"
    assert breaker_open() == 0


async def test_a_refused_partner_is_probed_by_the_next_call_when_one_can_not_be_reserved() -> None:
    """The same for the call that finds out whether our credentials are right now."""
    clock = Clock()
    guard = guarded(clock=clock)
    with pytest.raises(RefusedError):
        await guard.call(Partner([RefusedError("partner", "status 401")]), unbooked)
    clock.now += REFUSAL_PAUSE_S + 1
    with pytest.raises(BudgetSpentError):
        await guard.call(Partner(["yes"]), Books(BudgetSpentError("spent")).reserve)
    assert guard.trouble() == "refuses us: status 401", "nobody was asked"
    assert await guard.call(Partner(["yes"]), unbooked) == "yes"
    assert guard.trouble() == ""
