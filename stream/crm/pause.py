"""Holds everything back while the CRM refuses us: nothing is lost, nothing is logged twice, and one probe asks again.

A refusal of credentials is nobody's lead's fault: each event waits where it is, uncommitted. Now and then one of them
goes through and is the probe; the one that was refused goes to the end, so that no single lead holds the others up.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from stream import metrics
from stream.logs import get_logger

log = get_logger(__name__)

PROBES = (1.0, 2.0, 5.0, 10.0)  # seconds until the next probe; the last one is repeated
SAID_EVERY = 60.0  # seconds between two lines of one pause


class Pause:
    """Whether ``partner`` refuses us; ``reason`` is "" while it does not."""

    def __init__(self, partner: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.reason = ""
        self._partner = partner
        self._clock = clock
        self._probe_at = self._said_at = self._since = 0.0
        self._refusals = 0
        self._over = asyncio.Event()
        self._turns = asyncio.Lock()  # first come, first served

    async def wait(self) -> None:
        """Return at once while there is no pause, else when it is over or the caller is to be the probe."""
        while self.reason:
            async with self._turns:
                left = self._probe_at - self._clock()
                if self.reason and left <= 0:
                    self._probe_at = self._clock() + PROBES[-1]  # for the others, until it is known how this one ends
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), max(left, 0.0))

    def refused(self, reason: str) -> None:
        """The partner refuses us: begin a pause, or go on with it."""
        now = self._clock()
        if not self.reason:
            self._since, self._refusals, self._said_at = now, 0, now - SAID_EVERY
            self._over.clear()
            metrics.PARTNER_REFUSES.labels(self._partner).set(1)
        self._probe_at = now + PROBES[min(self._refusals, len(PROBES) - 1)]
        self.reason = reason
        self._refusals += 1
        if now - self._said_at >= SAID_EVERY:
            self._said_at = now
            log.error("paused: the partner refuses us", partner=self._partner, reason=reason, since=self._age(now))

    def taken(self) -> None:
        """The partner takes us: the pause is over."""
        if self.reason:
            log.info("the partner takes us again", partner=self._partner, paused=self._age(self._clock()))
            metrics.PARTNER_REFUSES.labels(self._partner).set(0)
            self.reason = ""
            self._over.set()

    def not_asked(self) -> None:
        """The probe ended without a call: the next one may go."""
        self._probe_at = self._clock()

    def _age(self, now: float) -> str:
        return f"{now - self._since:.0f} s"
