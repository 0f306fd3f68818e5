"""The guard in front of a provider: limits its calls, and asks nothing while it is down.

Rule 1: concurrency and rate are limits of the whole fleet; each worker takes its share.
Rule 2: a breaker opens after failures in a row. Then one call at a time is a trial.
Rule 3: only requests that were certainly not sent are retried. A call that may have been billed is never repeated.
Rule 4: after a refusal of our credentials or quota nothing is asked for ``REFUSAL_PAUSE_S``; then one call is a trial.
Nothing is asked before the time that a ``Retry-After`` names.
Rule 5: a call is reserved in the ledger behind all these limits, right before its request is sent. So a call that waits
here has no row. A call that can't be reserved says nothing about the provider: the breaker does not count it, and if
it was the trial, the next call is.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import stamina
from aiolimiter import AsyncLimiter
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import CLOSED, HALF_OPENED, OPENED, OpenedState

from stream import metrics
from stream.domain.availability import Availability
from stream.domain.errors import Billed, PartnerUnavailableError, RefusedError, TransientError
from stream.domain.parking import BREAKER_OPEN, NO_SLOT, TOLD_TO_WAIT
from stream.logs import get_logger
from stream.logs.outages import REMINDER_INTERVAL_SECONDS

log = get_logger(__name__)

BREAKER_THRESHOLD = 5  # failures in a row that open the breaker
BREAKER_OPEN_S = 15.0  # from the opening of the breaker to the trial
REFUSAL_PAUSE_S = 60.0  # from a refusal to the trial
MAX_ATTEMPTS = 4
MAX_WAIT_S = 10.0  # for a slot, for the rate, or for a Retry-After; a call that would wait longer fails
MAX_RETRY_AFTER_S = 3600.0  # a longer Retry-After is shortened to it: it is probably a mistake

T = TypeVar("T")
Reserve = Callable[[], Awaitable[None]]


class Guard:
    """The guard of one partner in one worker."""

    def __init__(
        self, name: str, *, at_once: int, rate: float | None, workers: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``at_once`` (calls) and ``rate`` (calls a second) are limits of all ``workers`` together."""
        self.name = name
        self._clock = clock
        self._slots = asyncio.Semaphore(max(1, at_once // workers))
        self._limiter = AsyncLimiter(1, workers / rate) if rate is not None else None
        self._breakers = AsyncCircuitBreakerFactory(
            default_threshold=BREAKER_THRESHOLD, default_ttl=BREAKER_OPEN_S, exclude=[RefusedError]
        )
        self._breakers.add_listener(self._on_breaker_event)
        metrics.BREAKER_OPEN.labels(name).set(0)
        metrics.PARTNER_REFUSES.labels(name).set(0)
        self._state = CLOSED
        self._last_failure = ""
        self._opened_at: float | None = None  # when the breaker left the closed state, None while it is closed
        self._logged_at = -math.inf
        self._open_until = -math.inf
        self._trial_running = False
        self._refusing = False
        self._refused_until = -math.inf
        self._refusal = ""
        self._retry_after_until = -math.inf

    def trouble(self) -> str:
        """Return why the partner can't be asked now, "" if it can. The worker continues without it."""
        if self._refusing:
            return f"refuses us: {self._refusal}"
        if self._state != CLOSED:
            return BREAKER_OPEN
        return TOLD_TO_WAIT if self._clock() < self._retry_after_until else ""

    def availability(self) -> Availability:
        """Return whether the partner can be asked now. After an outage: only by a trial, if none is running."""
        try:
            self.check()
        except (PartnerUnavailableError, RefusedError):
            return Availability.UNAVAILABLE
        if self._state == CLOSED and not self._refusing:
            return Availability.AVAILABLE
        return Availability.UNAVAILABLE if self._trial_running else Availability.TRIAL

    async def call(self, work: Callable[[], Awaitable[T]], reserve: Reserve) -> T:
        """Execute ``work`` behind the guard. Raise PartnerUnavailableError or RefusedError.

        ``reserve`` is awaited right before each try of ``work``. If it raises, ``work`` is not started and the call
        ends with that error. ``reserve`` must have its own time limit: the call holds its slot meanwhile.
        """
        async for attempt in stamina.retry_context(
            on=_retry_delay, attempts=MAX_ATTEMPTS, timeout=None, wait_initial=0.2
        ):
            with attempt:
                return await self._try(work, reserve)
        raise AssertionError("a retry context ends by returning or raising")

    async def _try(self, work: Callable[[], Awaitable[T]], reserve: Reserve) -> T:
        self.check()
        async with self._slot_and_rate(), self._admission():
            await reserve()
            async with self._reported_to_breaker():
                return await self._send(work)

    @asynccontextmanager
    async def _slot_and_rate(self) -> AsyncIterator[None]:
        """Hold a slot inside the context, and respect the rate. Raise an unbilled error after ``MAX_WAIT_S``."""
        try:
            async with asyncio.timeout(MAX_WAIT_S):
                await self._slots.acquire()
        except TimeoutError:
            raise self._waited_too_long() from None
        try:
            self.check()  # another call may have failed while this one waited
            if self._limiter is not None:
                try:
                    async with asyncio.timeout(MAX_WAIT_S):
                        await self._limiter.acquire()
                except TimeoutError:
                    raise self._waited_too_long() from None
                self.check()
            yield
        finally:
            self._slots.release()

    def _waited_too_long(self) -> PartnerUnavailableError:
        return PartnerUnavailableError(f"{self.name}: {NO_SLOT}", billed=Billed.NO, retry_after=BREAKER_OPEN_S)

    def check(self) -> None:
        """Raise PartnerUnavailableError or RefusedError while the partner must not be asked. Never waits."""
        now = self._clock()
        if self._refusing and (now < self._refused_until or self._trial_running):
            raise RefusedError(self.name, self._refusal)
        if now < self._open_until:
            raise self._breaker_error()
        if now < self._retry_after_until:
            raise PartnerUnavailableError(
                f"{self.name}: {TOLD_TO_WAIT}", billed=Billed.NO, retry_after=self._retry_after_until - now
            )

    async def _send(self, work: Callable[[], Awaitable[T]]) -> T:
        with metrics.PARTNER_SECONDS.labels(self.name).time():
            try:
                answer = await work()
            except RefusedError as refusal:
                self._on_refusal(refusal)
                raise
            except PartnerUnavailableError as error:
                if error.retry_after is not None:
                    until = self._clock() + min(error.retry_after, MAX_RETRY_AFTER_S)
                    self._retry_after_until = max(self._retry_after_until, until)
                raise
        if self._refusing:
            self._refusing = False
            metrics.PARTNER_REFUSES.labels(self.name).set(0)
            log.info("partner accepts us again", partner=self.name)
        return answer

    def _on_refusal(self, refusal: RefusedError) -> None:
        self._refusing = True
        self._refused_until = self._clock() + REFUSAL_PAUSE_S
        self._refusal = refusal.reason
        metrics.PARTNER_REFUSES.labels(self.name).set(1)
        log.error("partner refuses us", partner=self.name, reason=refusal.reason, asked_again_after=REFUSAL_PAUSE_S)

    @asynccontextmanager
    async def _admission(self) -> AsyncIterator[None]:
        """Admit calls while the partner answers. After an outage or a refusal admit one call at a time, as a trial."""
        breaker = await self._breakers.get_breaker(self.name)
        try:
            await breaker.__aenter__()
        except OpenedState:
            raise self._breaker_error() from None
        is_trial = self._refusing or breaker.context.state == HALF_OPENED
        if is_trial and self._trial_running:
            raise self._breaker_error()
        self._trial_running = self._trial_running or is_trial
        try:
            yield
        finally:
            self._trial_running = self._trial_running and not is_trial

    @asynccontextmanager
    async def _reported_to_breaker(self) -> AsyncIterator[None]:
        """Report the end of a call to the breaker, unless it was cancelled: that says nothing about the partner."""
        breaker = await self._breakers.get_breaker(self.name)
        try:
            yield
        except Exception as error:
            reason = error.reason if isinstance(error, TransientError | RefusedError) else type(error).__name__
            self._last_failure = reason.removeprefix(f"{self.name}: ")
            await breaker.__aexit__(type(error), error, error.__traceback__)
            raise
        await breaker.__aexit__(None, None, None)

    def _breaker_error(self) -> PartnerUnavailableError:
        return PartnerUnavailableError(f"{self.name}: {BREAKER_OPEN}", billed=Billed.NO, retry_after=BREAKER_OPEN_S)

    def _on_breaker_event(self, name: str, event: str, payload: object) -> None:
        if event == "state_changed":
            self._state = getattr(payload, "state", "")
            self._log_state()
            metrics.BREAKER_OPEN.labels(name).set(self._state == OPENED)
            self._open_until = self._clock() + BREAKER_OPEN_S if self._state == OPENED else -math.inf

    def _log_state(self) -> None:
        """Log when the breaker opens, once a minute while it stays open, and when it closes."""
        now = self._clock()
        if self._state == CLOSED:
            if self._opened_at is not None:
                log.info("breaker closed", partner=self.name, open=f"{now - self._opened_at:.0f} s")
            self._opened_at = None
        elif self._opened_at is None:
            self._opened_at = self._logged_at = now
            log.warning("breaker opened", partner=self.name, cause=self._last_failure)
        elif self._state == OPENED and now - self._logged_at >= REMINDER_INTERVAL_SECONDS:
            self._logged_at = now
            log.warning(
                "breaker still open", partner=self.name, cause=self._last_failure, open=f"{now - self._opened_at:.0f} s"
            )


def _retry_delay(error: Exception) -> bool | float:
    """Return whether a call may be retried, or after how many seconds."""
    if not isinstance(error, PartnerUnavailableError) or error.billed != Billed.NO:
        return False
    if error.retry_after is None:
        return True
    # Random, so that calls that were told to wait do not all come back at the same time.
    return error.retry_after + random.random() if error.retry_after <= MAX_WAIT_S else False  # noqa: S311
