"""When a worker must stop, and when it only seems to make no progress."""

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
def test_each_stall_has_its_reason(facts: Facts, reason: str) -> None:
    """The reason is one that an operator understands."""
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
def test_these_facts_are_no_stall(facts: Facts) -> None:
    """An idle night, values at their limits, and a broker that is away for minutes."""
    assert diagnose(facts, ALLOWANCE) is None


async def test_the_watchdog_raises_the_reason_when_the_facts_become_bad() -> None:
    """It diagnoses the facts again and again."""
    seen = 0

    async def facts() -> Facts:
        nonlocal seen
        seen += 1
        return WELL if seen < 3 else replace(WELL, agent_restarts=1)

    async with asyncio.timeout(LIMIT):
        with pytest.raises(StopError, match="agent was restarted"):
            await Watchdog(facts, ALLOWANCE, every=0.001).run()
    assert seen == 3


def test_a_pulse_raises_after_more_than_a_session_without_a_beat() -> None:
    """Exactly one session is still good."""
    now = 100.0
    pulse = Pulse(30.0, lambda: now)
    now = 130.0
    pulse.check()
    now = 130.1
    with pytest.raises(StopError, match=r"stood still for 30\.1 s"):
        pulse.check()


async def test_a_beat_after_a_stand_still_does_not_hide_it() -> None:
    """The first beat after a suspension raises."""
    now = 0.0
    pulse = Pulse(30.0, lambda: now)
    now = 31.0
    async with asyncio.timeout(LIMIT):
        with pytest.raises(StopError):
            await pulse.beat()
    with pytest.raises(StopError):
        pulse.check()


async def test_each_beat_restarts_the_session() -> None:
    """The pulse raises nothing while it beats."""
    now = 0.0
    pulse = Pulse(30.0, lambda: now)
    now = 29.0
    beating = asyncio.create_task(pulse.beat())
    await asyncio.sleep(0)
    now = 58.0
    pulse.check()
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
