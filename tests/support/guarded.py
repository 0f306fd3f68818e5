"""A guard, a partner behind it, and what the tests of the guard do with them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from prometheus_client import REGISTRY

from stream.domain.errors import PartnerUnavailableError
from stream.providers.guard import Guard
from tests.support.fakes import no_reservation
from tests.support.waiting import LIMIT


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 1000.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


@dataclass
class Partner:
    """Returns or raises ``answers`` one by one, the last one for ever, and counts its calls."""

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


def refuses() -> float | None:
    return REGISTRY.get_sample_value("leads_partner_refuses", {"partner": "partner"})


async def fail(guard: Guard, times: int) -> None:
    for _ in range(times):
        with pytest.raises(PartnerUnavailableError, match="it broke"):
            await guard.call(Partner([unsure()]), no_reservation)


async def until_asked(partner: Partner, calls: int) -> None:
    async with asyncio.timeout(LIMIT):
        while partner.calls < calls:  # noqa: ASYNC110 - the partner sets no event
            await asyncio.sleep(0.001)
