"""Is the worker getting anywhere? A worker that stalls leaves, and its supervisor starts it again.

``diagnose`` is the policy: from a few facts to a reason, or None. ``Watchdog`` gathers the facts. An idle
night is no stall, nor are records that are not due; a broker that is away is one only after five minutes.

``Pulse`` knows how long the loop last stood still. Kafka does not fence a plain producer, so a worker that
stood still longer than its session (a suspended machine) must leave before it sends anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from stream.domain.errors import StopError
from stream.logs import get_logger

log = get_logger(__name__)

BROKER_PATIENCE = 300.0  # seconds
STALL = 60.0  # seconds
BEAT = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Facts:
    """What the watchdog looks at; ages in seconds, 0 when there is nothing to age."""

    oldest_due_age: float
    unfinished: int
    since_finished: float
    uncommitted: int
    since_commit: float
    broker_away: float
    agent_restarts: int


def diagnose(facts: Facts, deadline: float) -> str | None:
    """Why the worker must leave, or None while all is well."""
    if facts.agent_restarts:
        return "the agent was restarted: Faust may have skipped an event"
    if facts.broker_away:
        return "the broker is away" if facts.broker_away > BROKER_PATIENCE else None
    if facts.oldest_due_age > 2 * deadline:
        return "a webhook is unfinished past twice its deadline"
    if facts.unfinished and facts.since_finished > STALL:
        return "webhooks wait and none has been finished"
    if facts.uncommitted and facts.since_commit > STALL:
        return "offsets are finished and none has been committed"
    return None


class Pulse:
    """Beats while the loop turns; tells whether the loop stood still for too long."""

    def __init__(self, session: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``session`` in seconds: longer than that without a beat, and the group has given our partitions away."""
        self._session = session
        self._clock = clock
        self._last = clock()

    async def beat(self) -> None:
        """Beat for ever; raises StopError after a stand-still."""
        while True:
            self.check()
            self._last = self._clock()
            await asyncio.sleep(BEAT)

    def check(self) -> None:
        """Raise StopError when the last beat is older than the session: nothing may be sent any more."""
        still = self._clock() - self._last
        if still > self._session:
            raise StopError(
                f"the process stood still for {still:.1f} s, longer than its session of {self._session:.0f} s"
            )


class Watchdog:
    """Looks at the facts every few seconds."""

    def __init__(self, facts: Callable[[], Awaitable[Facts]], deadline: float, *, every: float = 5.0) -> None:
        self._facts = facts
        self._deadline = deadline
        self._every = every

    async def run(self) -> None:
        """Watch for ever; raises StopError with the reason."""
        while True:
            await asyncio.sleep(self._every)
            facts = await self._facts()
            reason = diagnose(facts, self._deadline)
            if reason is not None:
                log.error("stalled", reason=reason, facts=str(facts))
                raise StopError(reason)
