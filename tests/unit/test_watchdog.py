"""When a worker must leave, and when it only seems to stand still."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from stream.domain.errors import StopError
from stream.health.watchdog import (
    MAX_BROKER_OUTAGE_S,
    MAX_JOIN_STALL_S,
    MAX_STALL_S,
    STUCK_FACTOR,
    Allowance,
    Facts,
    Pulse,
    Watchdog,
    diagnose,
)

LIMIT = 60.0  # seconds
DEADLINE, QUEUE_LIMIT = 30.0, 120.0
ALLOWANCE = Allowance(DEADLINE, QUEUE_LIMIT)
WHOLE = 2 * DEADLINE + QUEUE_LIMIT
WELL = Facts(
    oldest_due_age=0.0,
    unfinished=0,
    since_completed=0.0,
    uncommitted=0,
    since_commit=0.0,
    broker_away=0.0,
    agent_restarts=0,
)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(WELL, agent_restarts=1), "agent was restarted"),
        (replace(WELL, agent_restarts=1, broker_away=1.0), "agent was restarted"),
        (replace(WELL, broker_away=MAX_BROKER_OUTAGE_S + 1), "broker is away"),
        (replace(WELL, oldest_due_age=2 * DEADLINE + 1), "twice its deadline"),
        (replace(WELL, unfinished=1, since_completed=MAX_STALL_S + 1), "none was completed"),
        (replace(WELL, uncommitted=1, since_commit=MAX_STALL_S + 1), "none was committed"),
        (replace(WELL, unfinished=1, overtaken=WHOLE + 1), "got lost"),
        (replace(WELL, unfinished=1, stuck=STUCK_FACTOR * WHOLE + 1), "got lost"),
        (replace(WELL, join_stalled=MAX_JOIN_STALL_S + 1), "no progress in joining"),
    ],
)
def test_a_stall_is_told_with_its_reason(facts: Facts, reason: str) -> None:
    """Each kind of stall has a reason that an operator understands."""
    assert reason in (diagnose(facts, ALLOWANCE) or "")


@pytest.mark.parametrize(
    "facts",
    [
        WELL,
        replace(WELL, since_completed=9_999.0, since_commit=9_999.0),  # an idle night
        replace(WELL, unfinished=5, since_completed=MAX_STALL_S),
        replace(WELL, uncommitted=5, since_commit=MAX_STALL_S),
        replace(WELL, oldest_due_age=2 * DEADLINE),
        replace(WELL, broker_away=MAX_BROKER_OUTAGE_S, unfinished=5, since_completed=299.0),
        replace(WELL, unfinished=5_000, overtaken=WHOLE, stuck=STUCK_FACTOR * WHOLE),  # a full queue that moves
        replace(WELL, join_stalled=MAX_JOIN_STALL_S),  # a long recovery
        replace(WELL, broker_away=1.0, join_stalled=9_999.0),
        replace(WELL, broker_away=1.0, overtaken=9_999.0, stuck=9_999.0),
        replace(WELL, broker_away=1.0, uncommitted=5, since_commit=299.0, oldest_due_age=299.0),
    ],
)
def test_what_is_no_stall_is_left_alone(facts: Facts) -> None:
    """An idle night, a worker at its bounds and a broker that is away for minutes are no reason to leave."""
    assert diagnose(facts, ALLOWANCE) is None


async def test_the_watchdog_leaves_with_the_reason_once_the_facts_say_so() -> None:
    """It looks again and again, and raises when the facts have become bad."""
    seen = 0

    async def facts() -> Facts:
        nonlocal seen
        seen += 1
        return WELL if seen < 3 else replace(WELL, agent_restarts=1)

    async with asyncio.timeout(LIMIT):
        with pytest.raises(StopError, match="agent was restarted"):
            await Watchdog(facts, ALLOWANCE, every=0.001).run()
    assert seen == 3


def test_a_pulse_stops_what_stood_still_longer_than_its_session() -> None:
    """Exactly the session is still good; longer is not, and nothing may be sent."""
    now = 100.0
    pulse = Pulse(30.0, lambda: now)
    now = 130.0
    pulse.check()
    now = 130.1
    with pytest.raises(StopError, match=r"stood still for 30\.1 s"):
        pulse.check()


async def test_a_beat_after_a_stand_still_does_not_heal_it() -> None:
    """The first beat after a suspension ends the worker instead of hiding the gap."""
    now = 0.0
    pulse = Pulse(30.0, lambda: now)
    now = 31.0
    async with asyncio.timeout(LIMIT):
        with pytest.raises(StopError):
            await pulse.beat()
    with pytest.raises(StopError):
        pulse.check()


async def test_a_pulse_that_beats_is_fresh() -> None:
    """Each beat begins the session anew."""
    now = 0.0
    pulse = Pulse(30.0, lambda: now)
    now = 29.0
    beating = asyncio.create_task(pulse.beat())
    await asyncio.sleep(0)
    now = 58.0
    pulse.check()
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
