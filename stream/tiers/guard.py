"""Keeps a partner from being overrun, and us from waiting on one that is down.

Four guards around every call: a rate and a number at once (stated for the whole fleet, divided by its
workers), a breaker that opens after failures in a row, and tries again of what was certainly not carried
out. A call that may have been billed is never repeated here. After a refusal of our credentials or quota
nothing is asked for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import stamina
from aiolimiter import AsyncLimiter
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from stream import metrics
from stream.domain.errors import PartnerUnavailableError, RefusedError
from stream.logs import get_logger
from stream.settings import Settings

log = get_logger(__name__)

FAILURES = 5  # in a row open the breaker
OPEN_FOR = 15.0  # seconds until one call may try again
REFUSED_FOR = 60.0  # seconds without a question after a refusal
ATTEMPTS = 4
LONGEST_WAIT = 10.0  # seconds; a partner that wants us to wait longer is left alone: the webhook is parked

T = TypeVar("T")


class Guard:
    """The guards of one partner in one worker."""

    def __init__(
        self, name: str, *, at_once: int, rate: float | None, workers: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``at_once`` and ``rate`` (calls a second) are the fleet's."""
        self.name = name
        self._clock = clock
        self._slots = asyncio.Semaphore(max(1, at_once // workers))
        self._limiter = AsyncLimiter(1, workers / rate) if rate is not None else None
        self._breakers = AsyncCircuitBreakerFactory(
            default_threshold=FAILURES, default_ttl=OPEN_FOR, exclude=[RefusedError, asyncio.CancelledError]
        )
        self._breakers.add_listener(self._changed)
        self._refused_until = 0.0
        self._refusal = ""

    @classmethod
    def for_diretrix(cls, settings: Settings) -> Guard:
        """The guards of Diretrix."""
        return cls(
            "diretrix",
            at_once=settings.diretrix_max_concurrency,
            rate=settings.diretrix_rate_per_second,
            workers=settings.workers,
        )

    @classmethod
    def for_work(cls, settings: Settings) -> Guard:
        """The guards of the Work API."""
        return cls(
            "work",
            at_once=settings.work_api_max_concurrency,
            rate=settings.work_api_rate_per_second,
            workers=settings.workers,
        )

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Carry ``work`` out behind the guards. Raises PartnerUnavailableError or RefusedError."""
        async for attempt in stamina.retry_context(
            on=_may_try_again, attempts=ATTEMPTS, timeout=None, wait_initial=0.2
        ):
            with attempt:
                return await self._once(work)
        raise AssertionError("a retry context ends by returning or raising")

    async def _once(self, work: Callable[[], Awaitable[T]]) -> T:
        if self._clock() < self._refused_until:
            raise RefusedError(self.name, self._refusal)
        async with self._slots, self._breaker():
            if self._limiter is not None:
                await self._limiter.acquire()
            with metrics.PARTNER_SECONDS.labels(self.name).time():
                try:
                    return await work()
                except RefusedError as refusal:
                    self._refused_until = self._clock() + REFUSED_FOR
                    self._refusal = refusal.reason
                    log.error("partner refuses us", partner=self.name, reason=refusal.reason)  # noqa: TRY400
                    raise

    @asynccontextmanager
    async def _breaker(self) -> AsyncIterator[None]:
        try:
            async with await self._breakers.get_breaker(self.name):
                yield
        except OpenedState:
            raise PartnerUnavailableError(
                f"{self.name}: the breaker is open", billed="no", retry_after=OPEN_FOR
            ) from None

    def _changed(self, name: str, event: str, payload: object) -> None:
        if event == "state_changed":
            state = getattr(payload, "state", "")
            log.warning("breaker", partner=name, state=state)
            metrics.BREAKER_OPEN.labels(name).set(state == "opened")


def _may_try_again(error: Exception) -> bool | float:
    """Whether, or after how many seconds, a call may be tried again."""
    if not isinstance(error, PartnerUnavailableError) or error.billed != "no":
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= LONGEST_WAIT else False
