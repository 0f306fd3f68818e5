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
BROKER_AWAY = "the broker is away"
STALL = 60.0  # seconds
UNSETTLED = 300.0  # seconds
UNHEARD = 3  # times the allowance of what others have overtaken, for what may still wait for the reader
BEAT = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Facts:
    """What the watchdog looks at; ages in seconds, 0 when there is nothing to age.

    No age is older than the end of the last rebalance, or of the last absence of the broker: what stood still
    then has its time from there. ``overtaken``: the age of the oldest first unfinished offset of a partition in
    which later ones are finished; ``stuck``: of any first unfinished offset. ``unsettled``: since the group is
    being joined, or the table recovered, and neither gets anywhere.
    """

    oldest_due_age: float
    unfinished: int
    since_completed: float
    uncommitted: int
    since_commit: float
    broker_away: float
    agent_restarts: int
    overtaken: float = 0.0
    stuck: float = 0.0
    unsettled: float = 0.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a webhook may take, in seconds: its look-up, and its wait for a slot."""

    deadline: float
    queue_limit: float

    @property
    def whole(self) -> float:
        """After which a webhook that was begun must have ended."""
        return 2 * self.deadline + self.queue_limit


def diagnose(facts: Facts, allowance: Allowance) -> str | None:
    """Why the worker must leave, or None while all is well."""
    if facts.agent_restarts:
        return "the agent was restarted: Faust may have skipped an event"
    if facts.broker_away:
        return BROKER_AWAY if facts.broker_away > BROKER_PATIENCE else None
    if facts.unsettled > UNSETTLED:
        return "the group is not joined, or the table not recovered, and neither gets anywhere"
    return _stall(facts, allowance)


def _stall(facts: Facts, allowance: Allowance) -> str | None:
    if facts.oldest_due_age > 2 * allowance.deadline:
        return "a webhook is unfinished past twice its deadline"
    if facts.unfinished and facts.since_completed > STALL:
        return "webhooks wait and none has been finished"
    if facts.uncommitted and facts.since_commit > STALL:
        return "offsets are finished and none has been committed"
    # A flood may wait for the reader for long; what later ones have overtaken has been read, or got lost.
    if facts.overtaken > allowance.whole or facts.stuck > UNHEARD * allowance.whole:
        return "a webhook got lost inside the worker: others are finished, it is not"
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

    def __init__(self, facts: Callable[[], Awaitable[Facts]], allowance: Allowance, *, every: float = 5.0) -> None:
        self._facts = facts
        self._allowance = allowance
        self._every = every

    async def run(self) -> None:
        """Watch for ever; raises StopError with the reason."""
        while True:
            await asyncio.sleep(self._every)
            facts = await self._facts()
            reason = diagnose(facts, self._allowance)
            if reason is not None:
                log.error("stalled", reason=reason, facts=str(facts))
                raise StopError(reason)
