"""A partner that is down for a while, on real Kafka: its backlog waits without churning, and comes back at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

import orjson
import pytest

from stream import topics
from stream.local.people import population
from stream.local.stack import Stack
from stream.providers.guard import BREAKER_OPEN_S, BREAKER_THRESHOLD
from tests.support.enriched import everything
from tests.support.system import LIMIT, counts, events_until, faults, ids, lead, metric, post, said, teach, wait_until

DELAYS = (2.0, 30.0, 60.0)  # seconds; whoever waits for the second one is late
WEBHOOKS = 50
SLACK = 20.0  # seconds; a busy machine
TRIALS = 2  # calls that find out that the partner is still down


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Partners, producers and a worker."""
    extra = {"RETRY_DELAYS": ",".join(f"{delay:.0f}s" for delay in DELAYS), "LOOKUP_DEADLINE": "5s"}
    with Stack(print, scale=0.02, extra=extra) as started:
        started.start_servers()
        started.start_simulators()
        started.start_ours("producers", "worker")
        yield started


def parked(stack: Stack) -> Counter[str]:
    """How many records of the retry topics each lead has."""

    async def read() -> Counter[str]:
        records = [one for topic in topics.RETRIES for one in await everything(stack.settings(), topic.name)]
        return Counter(orjson.loads(record.value)["payload"]["id"] for record in records)

    return asyncio.run(read())


def test_what_waits_for_a_partner_is_back_within_the_first_delay_and_is_not_moved_meanwhile(stack: Stack) -> None:
    """Fifty webhooks wait through trials that fail: few records each, and all are answered once the partner is back."""
    people = population(WEBHOOKS, 77)
    teach(stack, people)
    faults(stack, diretrix={"status": 503})
    for number, someone in enumerate(people):
        post(stack, [lead(f"lead-{number}", someone)])
    events_until(stack, lambda events: len({event.lead.id for event in events}) == WEBHOOKS)
    said(stack.children["worker"], "breaker opened partner=diretrix cause=status 503")
    asked = BREAKER_THRESHOLD + TRIALS
    wait_until(
        lambda: counts(stack)["counts"]["diretrix"] >= asked, "trials that fail", LIMIT + TRIALS * BREAKER_OPEN_S
    )
    assert metric(stack, "leads_breaker_open", partner="diretrix") == 1
    faults(stack)
    began = time.monotonic()
    events = events_until(stack, lambda events: len(ids(events)) == WEBHOOKS, LIMIT + BREAKER_OPEN_S)
    assert time.monotonic() - began < BREAKER_OPEN_S + DELAYS[0] + SLACK
    assert {event.outcome for event in events} == {"pending", "enriched"}
    assert len([event for event in events if event.outcome == "enriched"]) == WEBHOOKS
    moved = parked(stack)
    assert len(moved) == WEBHOOKS
    assert sum(moved.values()) <= WEBHOOKS + asked, moved
    assert max(moved.values()) <= 2 + TRIALS, moved
    said(stack.children["worker"], "breaker closed partner=diretrix")
