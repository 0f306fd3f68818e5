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

PROBE_DELAYS_S = (1.0, 2.0, 5.0, 10.0)  # seconds until the next probe; the last one is repeated
LOG_EVERY_S = 60.0  # seconds between two lines of one pause


class Pause:
    """Whether ``partner`` refuses us; ``reason`` is "" while it does not."""

    def __init__(self, partner: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.reason = ""
        self._partner = partner
        self._clock = clock
        self._probe_at = self._logged_at = self._since = 0.0
        self._refusals = 0
        self._ended = asyncio.Event()
        self._probe_queue = asyncio.Lock()  # first come, first served

    async def wait(self) -> None:
        """Return at once while there is no pause, else when it is over or the caller is to be the probe."""
        while self.reason:
            async with self._probe_queue:
                left = self._probe_at - self._clock()
                if self.reason and left <= 0:
                    self._probe_at = (
                        self._clock() + PROBE_DELAYS_S[-1]
                    )  # for the others, until it is known how this one ends
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), max(left, 0.0))

    def refused(self, reason: str) -> None:
        """The partner refuses us: begin a pause, or go on with it."""
        now = self._clock()
        if not self.reason:
            self._since, self._refusals, self._logged_at = now, 0, now - LOG_EVERY_S
            self._ended.clear()
            metrics.PARTNER_REFUSES.labels(self._partner).set(1)
        self._probe_at = now + PROBE_DELAYS_S[min(self._refusals, len(PROBE_DELAYS_S) - 1)]
        self.reason = reason
        self._refusals += 1
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            log.error("paused: the partner refuses us", partner=self._partner, reason=reason, since=self._age(now))

    def accepted(self) -> None:
        """The partner takes us: the pause is over."""
        if self.reason:
            log.info("the partner takes us again", partner=self._partner, paused=self._age(self._clock()))
            metrics.PARTNER_REFUSES.labels(self._partner).set(0)
            self.reason = ""
            self._ended.set()

    def probe_unused(self) -> None:
        """The probe ended without a call: the next one may go."""
        self._probe_at = self._clock()

    def _age(self, now: float) -> str:
        return f"{now - self._since:.0f} s"
