"""Keeps a partner from being overrun, and us from waiting on one that is down.

Four guards around every call: a rate and a number at once (stated for the whole fleet, divided by its
workers), a breaker that opens after failures in a row, and tries again of what was certainly not carried
out. A call that may have been billed is never repeated here. After a refusal of our credentials or quota
nothing is asked for a while and then one call, and nothing before the time that a ``Retry-After`` names.

Rule: a call is reserved in the ledger behind all of these guards and right before its request goes out, so that who
waits here is on no bill. What keeps us from reserving it says nothing of the partner: the breaker counts it neither as
a failure nor as an answer, and a probe that is not reserved leaves the next call to probe.
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

FAILURES = 5  # in a row open the breaker
OPEN_FOR = 15.0  # seconds until one call may try again
REFUSED_FOR = 60.0  # seconds without a question after a refusal
ATTEMPTS = 4
LONGEST_WAIT = 10.0  # seconds for a turn, or as a partner wants it; who would wait longer is parked
LONGEST_OBEDIENCE = 3600.0  # seconds; a Retry-After beyond that is taken for a slip

T = TypeVar("T")
Reserve = Callable[[], Awaitable[None]]


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
            default_threshold=FAILURES, default_ttl=OPEN_FOR, exclude=[RefusedError]
        )
        self._breakers.add_listener(self._changed)
        metrics.BREAKER_OPEN.labels(name).set(0)
        metrics.PARTNER_REFUSES.labels(name).set(0)
        self._state = CLOSED
        self._cause = ""  # of the newest failure
        self._opened_at: float | None = None  # when it was last closed before
        self._said_at = -math.inf
        self._open_until = -math.inf
        self._probing = False
        self._refusing = False
        self._refused_until = -math.inf
        self._refusal = ""
        self._asked_to_wait_until = -math.inf

    def trouble(self) -> str:
        """Why the partner is not asked now, "" while it is: the worker goes on without it."""
        if self._refusing:
            return f"refuses us: {self._refusal}"
        if self._state != CLOSED:
            return BREAKER_OPEN
        return TOLD_TO_WAIT if self._clock() < self._asked_to_wait_until else ""

    def availability(self) -> Availability:
        """Whether the partner can be asked now. After an outage one call finds out; meanwhile it can't."""
        try:
            self.check()
        except (PartnerUnavailableError, RefusedError):
            return Availability.UNAVAILABLE
        if self._state == CLOSED and not self._refusing:
            return Availability.AVAILABLE
        return Availability.UNAVAILABLE if self._probing else Availability.TRIAL

    async def call(self, work: Callable[[], Awaitable[T]], reserve: Reserve) -> T:
        """Carry ``work`` out behind the guards. Raises PartnerUnavailableError or RefusedError.

        ``reserve`` is awaited right before each try of ``work``; what it raises ends the call, and ``work`` is not
        begun. It must have a time limit of its own: the slot is held meanwhile.
        """
        async for attempt in stamina.retry_context(
            on=_may_try_again, attempts=ATTEMPTS, timeout=None, wait_initial=0.2
        ):
            with attempt:
                return await self._once(work, reserve)
        raise AssertionError("a retry context ends by returning or raising")

    async def _once(self, work: Callable[[], Awaitable[T]], reserve: Reserve) -> T:
        self.check()
        async with self._turn(), self._admission():
            await reserve()
            async with self._counted():
                return await self._noting_wishes(work)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for a place and for the pace. Whoever waited too long was not sent, and is told so: it costs nothing."""
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await self._slots.acquire()
        except TimeoutError:
            raise self._no_turn() from None
        try:
            self.check()  # others were answered while this one waited
            if self._limiter is not None:
                try:
                    async with asyncio.timeout(LONGEST_WAIT):
                        await self._limiter.acquire()
                except TimeoutError:
                    raise self._no_turn() from None
                self.check()
            yield
        finally:
            self._slots.release()

    def _no_turn(self) -> PartnerUnavailableError:
        return PartnerUnavailableError(f"{self.name}: {NO_SLOT}", billed=Billed.NO, retry_after=OPEN_FOR)

    def check(self) -> None:
        """Raise at once, without waiting for a turn, while the partner is not to be asked."""
        now = self._clock()
        if self._refusing and (now < self._refused_until or self._probing):
            raise RefusedError(self.name, self._refusal)
        if now < self._open_until:
            raise self._is_open()
        if now < self._asked_to_wait_until:
            raise PartnerUnavailableError(
                f"{self.name}: {TOLD_TO_WAIT}", billed=Billed.NO, retry_after=self._asked_to_wait_until - now
            )

    async def _noting_wishes(self, work: Callable[[], Awaitable[T]]) -> T:
        with metrics.PARTNER_SECONDS.labels(self.name).time():
            try:
                answer = await work()
            except RefusedError as refusal:
                self._refused(refusal)
                raise
            except PartnerUnavailableError as error:
                if error.retry_after is not None:
                    until = self._clock() + min(error.retry_after, LONGEST_OBEDIENCE)
                    self._asked_to_wait_until = max(self._asked_to_wait_until, until)
                raise
        if self._refusing:
            self._refusing = False
            metrics.PARTNER_REFUSES.labels(self.name).set(0)
            log.info("partner takes us again", partner=self.name)
        return answer

    def _refused(self, refusal: RefusedError) -> None:
        self._refusing = True
        self._refused_until = self._clock() + REFUSED_FOR
        self._refusal = refusal.reason
        metrics.PARTNER_REFUSES.labels(self.name).set(1)
        log.error("partner refuses us", partner=self.name, reason=refusal.reason, asked_again_after=REFUSED_FOR)

    @asynccontextmanager
    async def _admission(self) -> AsyncIterator[None]:
        """Let calls through while the partner answers, and one at a time while that is being found out."""
        breaker = await self._breakers.get_breaker(self.name)
        try:
            await breaker.__aenter__()
        except OpenedState:
            raise self._is_open() from None
        probes = self._refusing or breaker.context.state == HALF_OPENED
        if probes and self._probing:
            raise self._is_open()
        self._probing = self._probing or probes
        try:
            yield
        finally:
            self._probing = self._probing and not probes

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        """Tell the breaker how a call ended; one that was cancelled says nothing of the partner, good or bad."""
        breaker = await self._breakers.get_breaker(self.name)
        try:
            yield
        except Exception as error:
            reason = error.reason if isinstance(error, TransientError | RefusedError) else type(error).__name__
            self._cause = reason.removeprefix(f"{self.name}: ")
            await breaker.__aexit__(type(error), error, error.__traceback__)
            raise
        await breaker.__aexit__(None, None, None)

    def _is_open(self) -> PartnerUnavailableError:
        return PartnerUnavailableError(f"{self.name}: {BREAKER_OPEN}", billed=Billed.NO, retry_after=OPEN_FOR)

    def _changed(self, name: str, event: str, payload: object) -> None:
        if event == "state_changed":
            self._state = getattr(payload, "state", "")
            self._say()
            metrics.BREAKER_OPEN.labels(name).set(self._state == OPENED)
            self._open_until = self._clock() + OPEN_FOR if self._state == OPENED else -math.inf

    def _say(self) -> None:
        """One line when it opens, one a minute while the partner stays down, one when it closes."""
        now = self._clock()
        if self._state == CLOSED:
            if self._opened_at is not None:
                log.info("breaker closed", partner=self.name, open=f"{now - self._opened_at:.0f} s")
            self._opened_at = None
        elif self._opened_at is None:
            self._opened_at = self._said_at = now
            log.warning("breaker opened", partner=self.name, cause=self._cause)
        elif self._state == OPENED and now - self._said_at >= REMINDER_INTERVAL_SECONDS:
            self._said_at = now
            log.warning(
                "breaker still open", partner=self.name, cause=self._cause, open=f"{now - self._opened_at:.0f} s"
            )


def _may_try_again(error: Exception) -> bool | float:
    """Whether, or after how many seconds, a call may be tried again."""
    if not isinstance(error, PartnerUnavailableError) or error.billed != Billed.NO:
        return False
    if error.retry_after is None:
        return True
    # Whoever was told to wait does not come back all at once.
    return error.retry_after + random.random() if error.retry_after <= LONGEST_WAIT else False  # noqa: S311
