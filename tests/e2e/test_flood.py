"""A flood of unknown contacts and a partner that hangs: memory stays level, and hits go on."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from stream.local.people import population
from stream.local.stack import Stack
from tests.support.system import events_until, faults, ids, lead, metric, post, teach

FLOOD, HITS = 1_500, 30
SLOTS, QUEUE, SPAN = 4, 20, 1_000
FETCH = SPAN // 4  # records; more of so small a span are not fetched at once
PARTITIONS = 2
TASKS = 200  # a look-up has a handful; a worker that is idle about forty
PATIENCE = 300.0  # seconds
FOR_EVER = 600.0  # seconds a partner hangs


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A worker with few slots and a short queue, time for both to stay full, and parked webhooks that stay away."""
    extra = {
        "TOPIC_PARTITIONS": str(PARTITIONS),
        "LOOKUP_SLOTS": str(SLOTS),
        "LOOKUP_QUEUE": str(QUEUE),
        "LOOKUP_QUEUE_LIMIT": "10m",
        "LOOKUP_DEADLINE": "120s",
        "DIRETRIX_TIMEOUT": "60s",
        "MAX_UNFINISHED_SPAN": str(SPAN),
        "RETRY_DELAYS": "1h",
        "LOG_LEVEL": "WARNING",
    }
    with Stack(print, scale=0.05, extra=extra) as started:
        started.start_servers()
        started.start_simulators()
        started.start_ours("producers", "worker")
        yield started


def test_a_flood_of_strangers_neither_fills_the_memory_nor_stops_the_hits(stack: Stack) -> None:
    """Who is known is answered while nobody else is, and all that waits is bounded."""
    *strangers, known = population(FLOOD + 1, 51)
    teach(stack, [known])
    post(stack, [lead("known", known)])
    events_until(stack, lambda events: "known" in ids(events))

    faults(stack, diretrix={"hang": FOR_EVER})
    step = FLOOD // HITS
    for number in range(HITS):
        flood = [lead(f"stranger-{n}", strangers[n]) for n in range(number * step, (number + 1) * step)]
        post(stack, [*flood, lead(f"hit-{number}", known)])
    hits = {f"hit-{number}" for number in range(HITS)}
    most = watch_until_answered(stack, HITS + 1)

    assert most["leads_lookups_waiting"] <= QUEUE
    # One fetch that waits for the reader and one that waits for the broker; as many contacts as the queue holds wait
    # for a partner, and as many others are asked about in PostgreSQL before they are parked.
    assert most["leads_unfinished"] <= 2 * FETCH + 2 * QUEUE < FLOOD
    assert most["leads_tasks"] <= TASKS
    events = events_until(stack, lambda events: ids(events) >= hits)
    assert {event.tier for event in events if event.lead.id in hits} == {"cache"}
    assert not any(lead.startswith("stranger") for lead in ids(events))
    print(f"most at once: {most}")


def watch_until_answered(stack: Stack, hits: int) -> dict[str, float]:
    """The highest values seen until so many hits are answered out of the table."""
    names = ("leads_lookups_waiting", "leads_unfinished", "leads_tasks")
    most = dict.fromkeys(names, 0.0)
    until = time.monotonic() + PATIENCE
    while metric(stack, "leads_answered_total", tier="cache") < hits - 1:
        assert time.monotonic() < until, f"hits wait behind strangers; most at once: {most}"
        for name in names:
            most[name] = max(most[name], metric(stack, name))
    return most
