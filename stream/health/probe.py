"""Asks the broker or the database every few seconds whether it answers, so that an idle process notices an outage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaConnectionError, KafkaError

from stream.domain.errors import DatabaseUnavailableError, StopError
from stream.health.watchdog import MAX_BROKER_OUTAGE_S
from stream.logs.outages import outage

PROBE_INTERVAL_S = 2.0
PROBE_TIMEOUT_S = 5.0

T = TypeVar("T")


class Probe:
    """Knows since when a server has not answered."""

    def __init__(
        self,
        server: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        every: float = PROBE_INTERVAL_S,
        max_wait: float = MAX_BROKER_OUTAGE_S,
    ) -> None:
        """``server``: its name for people. ``every``: seconds. ``max_wait``: seconds for which ``reach`` tries."""
        self._server = server
        self._outage = outage(server)
        self._clock = clock
        self._every = every
        self._max_wait = max_wait
        self._since: float | None = None

    @property
    def away(self) -> float:
        """Seconds for which the server has not answered; 0 while it does."""
        return 0.0 if self._since is None else max(self._clock() - self._since, 0.001)

    async def reach(self, connect: Callable[[], Awaitable[T]]) -> T:
        """Connect, and retry while the server does not answer. Raise StopError after ``max_wait`` seconds.

        An error that waiting does not cure is raised as it is.
        """
        while True:
            try:
                connection = await connect()
            except (KafkaConnectionError, DatabaseUnavailableError, OSError) as error:
                self._missed(error)
            else:
                self._answered()
                return connection
            if self.away > self._max_wait:
                raise StopError(f"{self._server} is away: nothing answered for {self._max_wait:.0f} s")
            await asyncio.sleep(self._every)

    async def run(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask for ever. ``ask`` raises if the server does not answer."""
        self._outage.has_probe = True
        while True:
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    await ask()
            except (KafkaError, DatabaseUnavailableError, OSError) as error:  # a TimeoutError is an OSError
                self._missed(error)
            else:
                self._answered()
            await asyncio.sleep(self._every)

    def _missed(self, error: Exception) -> None:
        if self._since is None:
            self._since = self._clock()
        reason = error.reason if isinstance(error, DatabaseUnavailableError) else type(error).__name__
        self._outage.missed(reason, from_probe=True)

    def _answered(self) -> None:
        self._since = None
        self._outage.answered()
