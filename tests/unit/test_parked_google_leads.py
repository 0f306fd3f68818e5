"""A Google lead reaches the CRM at the latest when its webhook is parked, for any reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from stream import topics
from stream.domain.crm import Create, decide
from stream.domain.errors import (
    BudgetSpentError,
    DatabaseUnavailableError,
    DeadlyError,
    PartnerUnavailableError,
    RefusedError,
)
from stream.domain.events import EnrichedEvent, Outcome
from stream.domain.identity import contact_of
from stream.domain.leads import Source, decode_webhook, encode_webhook
from stream.domain.parking import BUDGET_SPENT
from stream.local.people import Someone, population
from tests.support.agent_rig import HOME, LIMIT, PARTITION, Worker
from tests.support.fakes import NOW, partition_for
from tests.support.gated_rig import Rig, headers_of, tried

PEOPLE = population(40, seed=57)
SOMEONE = PEOPLE[0]
LONGEST = topics.RETRIES[-1].name
LARGE = ("x", b"x" * topics.MAX_MOVED_BYTES)


def google(lead: str = "g-1", someone: Someone = SOMEONE) -> bytes:
    columns = [
        {"column_id": "FULL_NAME", "string_value": someone.name},
        {"column_id": "PHONE_NUMBER", "string_value": f"+55{someone.phone}"},
    ]
    payload = {"lead_id": lead, "google_key": "k", "form_id": 1, "campaign_id": 2, "user_column_data": columns}
    return encode_webhook(Source.GOOGLE_ADS, NOW, payload, None)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def created(events: list[EnrichedEvent]) -> set[str]:
    """The leads that the CRM sync would create."""
    return {event.lead.id for event in events if isinstance(decide(event, note_not_found=False), Create)}


FAILURES: dict[str, Callable[[], Exception]] = {
    "budget": lambda: BudgetSpentError(f"diretrix: {BUDGET_SPENT}"),
    "share": lambda: BudgetSpentError(f"diretrix: {BUDGET_SPENT} for this source"),
    "database": lambda: DatabaseUnavailableError("database: ConnectionError"),
    "breaker": lambda: PartnerUnavailableError("diretrix: the breaker is open", billed="no"),
    "refused": lambda: RefusedError("diretrix", "status 401"),
    "deadline": TimeoutError,
    "a bug": lambda: LookupError("nobody foresaw it"),
    "deadly": lambda: DeadlyError(3, "e"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
async def test_a_google_lead_is_created_whatever_fails(rig: Rig, failure: Callable[[], Exception]) -> None:
    """The first parking emits a pending event, from which the CRM sync creates the lead."""
    worker = Worker(rig)
    rig.gate.failing = failure()
    (event,) = await worker.receive(google())
    assert event.outcome == Outcome.PENDING
    assert created([event]) == {"g-1"}


@pytest.mark.parametrize("reason", ["shutdown", "span"])
async def test_a_google_lead_is_created_when_the_worker_parks_it(rig: Rig, reason: str) -> None:
    """A shutdown and a full span emit the pending event too."""
    worker = Worker(rig)
    rig.gate.open.clear()
    await worker.read(google())
    worker.enricher.park_all(reason)
    assert created(worker.events()) == {"g-1"}
    await worker.enricher.stop()


async def test_google_leads_are_created_when_the_queue_is_full(rig: Rig) -> None:
    """A lead that waits too long for a slot, or finds the queue full, is created."""
    worker = Worker(rig, slots=1, queue=2, queue_limit=0.01)
    rig.gate.open.clear()
    await worker.read(*(google(f"g-{number}", PEOPLE[number]) for number in range(4)))
    async with asyncio.timeout(LIMIT):
        while len(worker.events()) < 3:  # noqa: ASYNC110 - a lookup that ends sets no event
            await asyncio.sleep(0.001)
    assert created(worker.events()) == {"g-1", "g-2", "g-3"}
    rig.gate.open.set()
    await worker.enricher.single_flight.drain(LIMIT)


async def test_a_google_lead_that_can_not_be_parked_is_created(rig: Rig) -> None:
    """A lead too large to be parked or rerouted gets a dead letter and a pending event."""
    worker = Worker(rig)
    rig.gate.failing = FAILURES["database"]()
    await worker.receive(google("parked"), headers=[*HOME, LARGE])
    away = next(
        one
        for one in PEOPLE
        if partition_for(contact_of(decode_webhook(google(someone=one)).lead, frozenset()).key) != PARTITION[1]
    )
    await worker.receive(google("moved", away), headers=[LARGE])
    assert len(worker.producer.of(topics.DEAD.name)) == 2
    assert created(worker.events()) == {"parked", "moved"}


async def test_a_dead_letter_with_an_event_is_completed_once_both_are_acknowledged(rig: Rig) -> None:
    """One of two acknowledgements does not complete the webhook."""
    worker = Worker(rig)
    rig.gate.failing = DeadlyError(3, "e")
    for first in (0, 1):
        await worker.receive(google(f"g-{first}"))
        acknowledgements = worker.producer._unacknowledged  # noqa: SLF001 - acknowledged one by one
        assert len(acknowledgements) == 2
        acknowledgements.pop(first)()
        assert worker.trackers.unfinished == 1
        acknowledgements.pop()()
        assert worker.trackers.unfinished == 0


async def test_a_deadly_webhook_is_a_dead_letter_that_says_what_to_do(rig: Rig) -> None:
    """A deadly webhook is not parked; the webhooks that wait in its look-up are looked up."""
    worker = Worker(rig)
    rig.gate.failing = DeadlyError(3, "11111111-1111-1111-1111-111111111111")
    await worker.receive(google())
    (letter,) = worker.producer.of(topics.DEAD.name)
    said = headers_of(letter)
    assert (said["dl-error"], said["dl-stage"]) == ("DeadlyError", "enrich")
    assert "workers died in 3 paid calls" in said["dl-reason"]
    assert "redrive" in said["dl-reason"]
    assert "11111111-1111-1111-1111-111111111111" in said["dl-reason"]
    assert [record for topic in topics.RETRIES for record in worker.producer.of(topic.name)] == []


async def test_a_webhook_that_waits_for_a_budget_is_never_given_up(rig: Rig) -> None:
    """After days of attempts, beyond RETRY_MAX_AGE, it gets the longest delay and its age is counted anew."""
    worker = Worker(rig)
    rig.gate.failing = BudgetSpentError(f"diretrix: {BUDGET_SPENT}")
    await worker.receive(google(), headers=tried(NOW - timedelta(days=5)))
    assert worker.producer.of(topics.DEAD.name) == []
    (record,) = worker.producer.of(LONGEST)
    said = headers_of(record)
    assert said["reason"] == f"diretrix: {BUDGET_SPENT}"
    assert said["not-before"] == (NOW + timedelta(hours=1)).isoformat()
    rig.clock.at += timedelta(hours=1)
    rig.gate.failing = PartnerUnavailableError("diretrix: status 500")
    await worker.receive(google(), headers=[*HOME, *record.headers])
    assert worker.producer.of(topics.DEAD.name) == []


async def test_waiting_for_a_budget_says_nothing_new(rig: Rig) -> None:
    """It is parked again each hour without another pending event."""
    worker = Worker(rig)
    rig.gate.failing = BudgetSpentError(f"diretrix: {BUDGET_SPENT}")
    await worker.receive(google())
    for _ in range(30):
        rig.clock.at += timedelta(hours=1)
        headers = worker.producer.of(LONGEST)[-1].headers
        await worker.receive(google(), headers=[*HOME, *headers])
    assert len(worker.producer.of(LONGEST)) == 31
    assert len(worker.events()) == 1
