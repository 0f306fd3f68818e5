"""Are the broker and the database there? Asked for it alone, whatever else goes on: an idle worker knows it too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaConnectionError, KafkaError

from stream.domain.errors import DatabaseUnavailableError, StopError
from stream.health.watchdog import BROKER_PATIENCE
from stream.logs.outages import outage

EVERY = 2.0  # seconds between questions
LIMIT = 5.0  # seconds for an answer

T = TypeVar("T")


class Probe:
    """Knows since when something has not answered."""

    def __init__(
        self,
        what: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        every: float = EVERY,
        patience: float = BROKER_PATIENCE,
    ) -> None:
        """``what``: its name; ``patience``: seconds for which ``reach`` tries."""
        self._what = what
        self._outage = outage(what)
        self._clock = clock
        self._every = every
        self._patience = patience
        self._since: float | None = None

    @property
    def away(self) -> float:
        """Seconds for which it has not answered; 0 while it does."""
        return 0.0 if self._since is None else max(self._clock() - self._since, 0.001)

    async def reach(self, connect: Callable[[], Awaitable[T]]) -> T:
        """Connect as soon as it is there. Raises StopError when it does not come; others as they are."""
        while True:
            try:
                reached = await connect()
            except (KafkaConnectionError, DatabaseUnavailableError, OSError) as error:
                self._missed(error)
            else:
                self._answered()
                return reached
            if self.away > self._patience:
                raise StopError(f"{self._what} is away: nothing answered for {self._patience:.0f} s")
            await asyncio.sleep(self._every)

    async def run(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask for ever."""
        self._outage.has_probe = True
        while True:
            try:
                async with asyncio.timeout(LIMIT):
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
