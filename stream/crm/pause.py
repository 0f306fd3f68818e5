"""Pauses all writes while the CRM refuses our credentials or account.

Such a refusal is not the fault of a lead, so every event waits, uncommitted. From time to time one event is let through
as a probe. A refused event goes to the end of the queue, so that one lead does not block the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from stream import metrics
from stream.logs import get_logger

log = get_logger(__name__)

PROBE_DELAYS_S = (1.0, 2.0, 5.0, 10.0)  # until the next probe; the last delay is repeated
LOG_EVERY_S = 60.0  # between two log lines of one pause


class Pause:
    """Whether ``partner`` refuses us, and why; ``reason`` is "" while it accepts our requests."""

    def __init__(self, partner: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.reason = ""
        self._partner = partner
        self._clock = clock
        self._probe_at = self._logged_at = self._since = 0.0
        self._refusals = 0
        self._ended = asyncio.Event()
        self._probe_queue = asyncio.Lock()  # first come, first served

    async def wait(self) -> None:
        """Return at once if there is no pause, otherwise when the pause ends or the caller is the next probe."""
        while self.reason:
            async with self._probe_queue:
                left = self._probe_at - self._clock()
                if self.reason and left <= 0:
                    self._probe_at = self._clock() + PROBE_DELAYS_S[-1]  # no other probe before the result of this one
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), max(left, 0.0))

    def refused(self, reason: str) -> None:
        """Begin a pause, or continue it: the partner has refused us."""
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
        """End the pause: the partner has accepted a request."""
        if self.reason:
            log.info("resumed: the partner accepts us again", partner=self._partner, paused=self._age(self._clock()))
            metrics.PARTNER_REFUSES.labels(self._partner).set(0)
            self.reason = ""
            self._ended.set()

    def probe_unused(self) -> None:
        """Let the next probe go at once: this one has ended without a call."""
        self._probe_at = self._clock()

    def _age(self, now: float) -> str:
        return f"{now - self._since:.0f} s"
