"""The number of partitions grows: contacts move, nothing is lost and nothing is paid again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from stream.domain.events import Tier
from stream.local.people import Someone, population
from stream.local.processes import Child
from stream.local.stack import Stack
from tests.support.system import LIMIT, counts, events_until, ids, lead, post, teach, wait_until

FEW, MANY = 2, 5


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Partners, producers and one worker on few partitions."""
    with Stack(print, scale=0.1, extra={"TOPIC_PARTITIONS": str(FEW)}) as started:
        started.start_servers()
        started.start_simulators()
        started.start_ours("producers", "worker")
        yield started


def grow(stack: Stack) -> subprocess.CompletedProcess[str]:
    """Call the command as an operator does."""
    environment = {**os.environ, **stack.environment(), "TOPIC_PARTITIONS": str(MANY)}
    arguments = [sys.executable, "-m", "stream", "topics", "--grow"]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT)


def send(stack: Stack, people: list[Someone], prefix: str) -> set[str]:
    """POST one webhook a person; returns the lead ids."""
    post(stack, [lead(f"{prefix}-{number}", one) for number, one in enumerate(people)])
    return {f"{prefix}-{number}" for number in range(len(people))}


def test_more_partitions_lose_nothing_and_pay_nothing_again(stack: Stack) -> None:
    """Webhooks that wait on their old partition and those that come to the new one are answered from PostgreSQL."""
    people = population(30, 8)
    teach(stack, people)
    wanted = send(stack, people, "before")
    events_until(stack, lambda events: ids(events) >= wanted)
    paid = counts(stack)["counts"]

    refused = grow(stack)
    assert refused.returncode == 1
    assert "has members; stop them first" in refused.stderr

    assert stack.children["worker"].stop() == 0
    wanted |= send(stack, people, "waiting")
    # With a name of its own it stays a member until its session ends.
    wait_until(lambda: (done := grow(stack)).returncode == 0 or "has members" not in done.stderr, "the topics to grow")
    done = grow(stack)
    assert (done.returncode, done.stdout.strip()) == (0, "all there"), done.stderr

    unaware = stack.children["worker"]
    unaware.start()
    assert unaware.wait() == 1
    assert "webhooks: partitions is 5, wanted 2" in unaware.tail()

    # The producers were not stopped: they go on with the partitions that they know until they hear of the new ones.
    environment = {**stack.environment(), "TOPIC_PARTITIONS": str(MANY)}
    aware = stack.children["worker"] = Child("worker", ["stream", "worker"], environment, stack.folder)
    aware.start()
    aware.wait_for(f"{stack.worker_url}/readyz")
    wanted |= send(stack, people, "after")
    events = events_until(stack, lambda events: ids(events) >= wanted)
    assert counts(stack)["counts"] == paid
    tiers = {event.tier for event in events if not event.lead.id.startswith("before")}
    assert tiers <= {Tier.POSTGRES, Tier.CACHE}
    assert Tier.POSTGRES in tiers
