"""SIGTERM to the real worker, at every moment of its life: nothing is lost, and it ends by itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence

import pytest

from stream import topics
from stream.kafka.clients import open_admin
from stream.local.people import Someone, population
from stream.local.processes import Child, answers
from stream.local.stack import Stack
from stream.ops.groups import members
from tests.support.enriched import lag
from tests.support.system import (
    begin_again,
    call,
    counts,
    events_until,
    faults,
    ids,
    lead,
    metric,
    post,
    said,
    teach,
    wait_until,
)

SLOTS, QUEUE = 4, 8
GRACE = 2.0  # seconds
MOMENTS = ("TrackingConsumer]", "TrackingConsumerThread]", "recovered")  # lines of its log, in their order
FOR_EVER = 600.0  # seconds a partner hangs
ENDS_WITHIN = 70.0  # seconds after SIGTERM; far above the grace, far below what a partner takes


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Partners, producers and a worker with few slots, a short grace and retries that are due soon."""
    extra = {
        "LOOKUP_SLOTS": str(SLOTS),
        "LOOKUP_QUEUE": str(QUEUE),
        "SHUTDOWN_GRACE": f"{GRACE}s",
        "RETRY_DELAYS": "1s",
        "DIRETRIX_TIMEOUT": "120s",
        "LOOKUP_DEADLINE": "120s",
    }
    with Stack(print, scale=0.05, extra=extra) as started:
        started.start_servers()
        started.start_simulators()
        started.start_ours("producers", "worker")
        yield started


def hang(stack: Stack, people: Sequence[Someone], prefix: str) -> None:
    """Webhooks of people whom a partner that hangs is asked for, more than the worker may begin."""
    faults(stack, diretrix={"hang": FOR_EVER})
    post(stack, [lead(f"{prefix}-{number}", one) for number, one in enumerate(people)])
    wait_until(lambda: metric(stack, "leads_lookups_waiting") >= QUEUE, "a full queue")


def ends(worker: Child) -> int:
    """Its exit code once it has ended by itself."""
    wait_until(lambda: not worker.is_running, "the worker's end", ENDS_WITHIN)
    return worker.wait()


def test_what_is_under_way_longer_than_the_grace_is_parked_and_comes_back(stack: Stack) -> None:
    """Nothing new begins, what was begun is parked and committed, the rest is read again; exit code 0."""
    people = population(24, 31)
    teach(stack, people)
    worker = stack.children["worker"]
    hang(stack, people[:QUEUE], "slow")
    worker.signal(signal.SIGTERM)
    said(worker, "stopping")
    post(stack, [lead(f"slow-{number}", people[number]) for number in range(QUEUE, len(people))])
    assert ends(worker) == 0, worker.tail()

    asked = counts(stack)["counts"]["diretrix"]
    pending = events_until(stack, lambda events: len(events) >= QUEUE)
    assert {event.outcome for event in pending} == {"pending"}
    # What came later is not begun and not committed, and it has no event yet.
    left = asyncio.run(lag(stack.settings(), topics.WORKER_GROUP, topics.WEBHOOKS.name))
    assert left == len(people) - len(pending) == len(people) - QUEUE
    assert asked == SLOTS

    faults(stack)
    begin_again(worker)
    wanted = {f"slow-{number}" for number in range(len(people))}
    assert ids(events_until(stack, lambda events: ids(events) >= wanted)) == wanted
    calls = {key: times for key, times in counts(stack)["asked"].items() if key.startswith("diretrix/")}
    assert sum(calls.values()) - len(people) <= SLOTS


def test_a_worker_that_will_not_come_back_is_no_member_when_it_has_ended(stack: Stack) -> None:
    """--leave-on-stop: the others need not wait for its session; without it a restart finds its partitions."""
    worker = stack.children["worker"]
    assert worker.stop() == 0
    assert asyncio.run(who(stack)) != []
    worker = stack.children["worker"] = Child(
        "leaves", ["stream", "worker", "--leave-on-stop"], stack.environment(), stack.folder
    )
    worker.start()
    worker.wait_for(f"{stack.worker_url}/readyz")
    assert worker.stop() == 0
    assert asyncio.run(who(stack)) == []


async def who(stack: Stack) -> list[str]:
    """The workers' group."""
    async with open_admin(stack.settings()) as admin:
        return await members(admin, topics.WORKER_GROUP)


def test_a_second_sigterm_ends_the_grace(stack: Stack) -> None:
    """Who is in a hurry waits for no partner, and loses nothing either."""
    people = population(QUEUE, 32)
    teach(stack, people)
    worker = stack.children["worker"]
    worker.stop()
    patient = {**stack.environment(), "SHUTDOWN_GRACE": "10m"}
    worker = stack.children["worker"] = Child("patient", ["stream", "worker"], patient, stack.folder)
    worker.start()
    worker.wait_for(f"{stack.worker_url}/readyz")
    hang(stack, people, "hurry")
    worker.signal(signal.SIGTERM)
    said(worker, "stopping")
    assert worker.is_running
    worker.signal(signal.SIGTERM)
    assert ends(worker) == 0, worker.tail()
    events = events_until(stack, lambda events: len(events) >= len(people))
    assert {(event.lead.id, event.outcome) for event in events} == {(f"hurry-{n}", "pending") for n in range(QUEUE)}
    assert asyncio.run(lag(stack.settings(), topics.WORKER_GROUP, topics.WEBHOOKS.name)) == 0


def test_a_worker_that_is_told_to_stop_while_it_starts_ends_with_0(stack: Stack) -> None:
    """Whatever it has reached: imports done, pages served, group joined, table recovering."""
    people = population(50, 33)
    teach(stack, people)
    post(stack, [lead(f"first-{number}", one) for number, one in enumerate(people)])
    events_until(stack, lambda events: len(ids(events)) == len(people))
    worker = stack.children["worker"]
    assert worker.stop() == 0
    for moment in MOMENTS:
        begin_again(worker)
        said(worker, moment)
        worker.signal(signal.SIGTERM)
        assert ends(worker) == 0, moment
    # All that came is committed, also what came once more since there was no place for it.
    assert asyncio.run(lag(stack.settings(), topics.WORKER_GROUP, topics.WEBHOOKS.name)) == 0


def test_a_worker_and_a_broker_that_is_away(stack: Stack) -> None:
    """At start it waits, healthy and not ready; at its end it says what it could not deliver, and nothing is lost."""
    broker = stack.kafka
    if broker is None:
        pytest.skip("the broker is not ours to kill")
    people = population(QUEUE, 34)
    teach(stack, people)
    worker = stack.children["worker"]
    hang(stack, people, "away")
    broker.kill()
    worker.signal(signal.SIGTERM)
    assert ends(worker) == 1
    said(worker, "shutdown incomplete")

    begin_again(worker)
    wait_until(lambda: answers(f"{stack.worker_url}/healthz"), "the pages")
    said(worker, "the broker is away")
    health = call(f"{stack.worker_url}/healthz")
    assert health["status"] == "degraded"
    assert health["checks"]["broker"].startswith("away for")
    assert not answers(f"{stack.worker_url}/readyz")
    worker.signal(signal.SIGTERM)
    assert ends(worker) == 0, worker.tail()

    begin_again(worker)
    said(worker, "the broker is away")
    faults(stack)
    broker.start()
    worker.wait_for(f"{stack.worker_url}/readyz")
    wanted = {f"away-{number}" for number in range(QUEUE)}
    assert ids(events_until(stack, lambda events: ids(events) >= wanted)) == wanted
