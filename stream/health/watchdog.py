"""The watchdog: stops a worker that makes no progress, so that its supervisor starts it again.

``diagnose`` is the policy: it turns facts into a reason to stop, or None. ``Watchdog`` gathers the facts. These are no
stalls: an idle night, records that are not due, and a broker that is away for less than five minutes.

``Pulse`` measures for how long the event loop stood still. Kafka does not fence a plain producer, so a worker that
stood still longer than its session (a suspended machine) must stop before it sends anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from stream.domain.errors import StopError
from stream.logs import get_logger

log = get_logger(__name__)

MAX_BROKER_OUTAGE_S = 300.0
BROKER_AWAY = "the broker is away"
MAX_STALL_S = 60.0
MAX_JOIN_STALL_S = 300.0
STUCK_FACTOR = 3  # a webhook that none has overtaken may still wait to be read: it gets so many allowances
BEAT_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class Facts:
    """What the watchdog judges. Ages are in seconds, 0 if there is nothing to measure.

    Every age starts again at the end of a rebalance and of an outage of the broker.

    ``oldest_due_age``: of the oldest running look-up. ``overtaken``: for how long a partition's first unfinished offset
    has been the same while later ones are completed. ``stuck``: the same, whether or not later ones are completed.
    ``join_stalled``: for how long joining the group and recovering the table have made no progress.
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
    join_stalled: float = 0.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many seconds a webhook may take: ``deadline`` for its look-up, ``queue_limit`` for its wait for a slot."""

    deadline: float
    queue_limit: float

    @property
    def total(self) -> float:
        """Seconds after which a webhook that was read must be completed."""
        return 2 * self.deadline + self.queue_limit


def diagnose(facts: Facts, allowance: Allowance) -> str | None:
    """Return why the worker must stop, None if it makes progress."""
    if facts.agent_restarts:
        return "the agent was restarted: Faust may have skipped an event"
    if facts.broker_away:
        return BROKER_AWAY if facts.broker_away > MAX_BROKER_OUTAGE_S else None
    if facts.join_stalled > MAX_JOIN_STALL_S:
        return "no progress in joining the group or recovering the table"
    return _stall(facts, allowance)


def _stall(facts: Facts, allowance: Allowance) -> str | None:
    if facts.oldest_due_age > 2 * allowance.deadline:
        return "a look-up has run for more than twice its deadline"
    if facts.unfinished and facts.since_completed > MAX_STALL_S:
        return f"webhooks wait and none was completed for {MAX_STALL_S:.0f} s"
    if facts.uncommitted and facts.since_commit > MAX_STALL_S:
        return f"offsets are completed and none was committed for {MAX_STALL_S:.0f} s"
    # In a flood a fetched webhook may wait long for the agent. One that later ones have overtaken was read, or lost.
    if facts.overtaken > allowance.total or facts.stuck > STUCK_FACTOR * allowance.total:
        return "a webhook got lost inside the worker: others are completed, it is not"
    return None


class Pulse:
    """Notices that the event loop stood still for too long."""

    def __init__(self, session: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``session``: seconds without a beat after which the group has given our partitions to others."""
        self._session = session
        self._clock = clock
        self._last = clock()

    async def beat(self) -> None:
        """Beat for ever. Raise StopError if the loop stood still for longer than the session."""
        while True:
            self.check()
            self._last = self._clock()
            await asyncio.sleep(BEAT_INTERVAL_S)

    def check(self) -> None:
        """Raise StopError if the last beat is older than the session: nothing may be sent any more."""
        gap = self._clock() - self._last
        if gap > self._session:
            raise StopError(
                f"the process stood still for {gap:.1f} s, longer than its session of {self._session:.0f} s"
            )


class Watchdog:
    """Diagnoses the facts every few seconds."""

    def __init__(self, facts: Callable[[], Awaitable[Facts]], allowance: Allowance, *, every: float = 5.0) -> None:
        self._facts = facts
        self._allowance = allowance
        self._every = every

    async def run(self) -> None:
        """Watch for ever. Raise StopError with the reason to stop."""
        while True:
            await asyncio.sleep(self._every)
            facts = await self._facts()
            reason = diagnose(facts, self._allowance)
            if reason is not None:
                log.error("stalled", reason=reason, facts=str(facts))
                raise StopError(reason)
