"""What happens to webhooks while all slots are in use or the look-up queue is full."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from stream import topics
from stream.domain.events import Outcome, Tier
from stream.local.people import population
from stream.worker import agent as agent_module
from tests.support.agent_rig import PARTITION, Worker
from tests.support.fakes import NOW, c2s_webhook
from tests.support.gated_rig import (
    OTHER,
    SOMEONE,
    Rig,
    headers_of,
    parked,
    tried,
    webhook,
)
from tests.support.waiting import LIMIT


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_webhook_that_waits_too_long_for_a_slot_is_parked(rig: Rig) -> None:
    """No provider was asked for it."""
    worker = Worker(rig, slots=1, queue_limit=0.01)
    rig.gate.open.clear()
    await worker.read(webhook("a"), webhook("b", OTHER))
    async with asyncio.timeout(LIMIT):
        while not parked(worker):  # noqa: ASYNC110 - the lookup sets no event
            await asyncio.sleep(0.001)
    assert headers_of(parked(worker)[0])["reason"] == "queue"
    rig.gate.open.set()
    await worker.enricher.single_flight.drain(LIMIT)
    assert [event.lead.id for event in worker.events()] == ["b", "a"]


async def test_with_a_full_queue_new_contacts_are_parked_and_reading_continues(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hits are answered, and a contact's next webhook joins its look-up in order."""
    monkeypatch.setattr(agent_module, "POSTGRES_ONLY_TIMEOUT_S", 0.01)
    worker = Worker(rig, queue=2)
    known, *strangers = population(4, seed=32)
    for one in (known, *strangers):
        rig.know(one)
    await worker.receive(webhook("known", known))
    rig.gate.open.clear()
    values = [webhook(f"lead-{n}", one) for n, one in enumerate((*strangers, strangers[0], known))]
    async with asyncio.timeout(LIMIT):
        await worker.read(*values)
        assert [event.lead.id for event in worker.events()] == ["known", "lead-4"]
        while not parked(worker):  # noqa: ASYNC110 - a lookup that ends sets no event
            await asyncio.sleep(0.001)
    assert [(event.lead.id, event.outcome) for event in worker.events()] == [
        ("known", Outcome.ENRICHED),
        ("lead-4", Outcome.ENRICHED),
        ("lead-2", Outcome.PENDING),
    ]
    assert [(record.value, headers_of(record)["reason"]) for record in parked(worker)] == [(values[2], "queue")]
    rig.gate.open.set()
    await worker.enricher.single_flight.drain(LIMIT)
    order = [event.lead.id for event in worker.events()[3:]]
    assert sorted(order) == ["lead-0", "lead-1", "lead-3"]
    assert order.index("lead-0") < order.index("lead-3")


async def test_a_full_queue_never_ends_in_a_dead_letter(rig: Rig) -> None:
    """However old the webhook is: this time no provider was asked."""
    worker = Worker(rig, queue=1)
    rig.gate.open.clear()
    await worker.read(webhook("first"))
    await worker.read(webhook("second", OTHER), headers=tried(NOW - timedelta(hours=24)))
    async with asyncio.timeout(LIMIT):
        while not parked(worker):  # noqa: ASYNC110 - a lookup that ends sets no event
            await asyncio.sleep(0.001)
    assert worker.producer.of(topics.DEAD.name) == []
    (record,) = parked(worker)
    assert headers_of(record)["attempt"] == "26"
    rig.gate.open.set()
    await worker.enricher.single_flight.drain(LIMIT)


async def test_known_contacts_are_answered_while_queue_and_slots_are_full(rig: Rig) -> None:
    """A contact that PostgreSQL knows needs no slot. Only new contacts wait or are parked."""
    worker = Worker(rig, slots=1, queue=4)
    known, other, *strangers = population(8, seed=33)
    for one in (known, other, *strangers):
        rig.know(one)
    for one in (known, other):  # another worker has looked them up
        await Worker(rig).receive(webhook("before", one))
    rig.hold("diretrix")
    await worker.read(webhook("a", strangers[0]), webhook("b", known), webhook("b-2", known))
    await worker.read(*(webhook(f"stranger-{n}", one) for n, one in enumerate(strangers[1:], 1)))
    await worker.read(webhook("c", other), webhook("c-2", other))
    async with asyncio.timeout(LIMIT):
        while len(worker.events()) < 6:  # noqa: ASYNC110 - a lookup that ends sets no event
            await asyncio.sleep(0.001)
    outcomes = {event.lead.id: (event.outcome, event.tier) for event in worker.events()}
    assert {lead: outcome for lead, outcome in outcomes.items() if not lead.startswith("stranger")} == {
        "b": (Outcome.ENRICHED, Tier.POSTGRES),
        "b-2": (Outcome.ENRICHED, Tier.CACHE),
        "c": (Outcome.ENRICHED, Tier.POSTGRES),
        "c-2": (Outcome.ENRICHED, Tier.CACHE),
    }
    assert {outcome for lead, (outcome, _) in outcomes.items() if lead.startswith("stranger")} == {Outcome.PENDING}
    rig.let_go()
    await worker.enricher.single_flight.drain(LIMIT)
    assert {event.lead.id for event in worker.events() if event.outcome == Outcome.ENRICHED} >= {"a", "stranger-1"}
    assert rig.calls("diretrix") == 2 + 3


async def test_large_webhooks_beyond_the_queues_bytes_are_parked(rig: Rig) -> None:
    """The limit of bytes applies also to webhooks that would join a look-up. Ended webhooks make room."""
    worker, size = Worker(rig, slots=1, queue_bytes=200_000), 50_000
    rig.gate.open.clear()
    people = population(20, seed=9)
    for number, one in enumerate(people):
        value = c2s_webhook(f"lead-{number}", name=one.name, phone=one.phone, email="x" * size)
        same = c2s_webhook(f"same-{number}", name=SOMEONE.name, phone=SOMEONE.phone, email="x" * size)
        await worker.read(value, same)
        assert worker.enricher.single_flight.bytes_held < 200_000 + 2 * size
    assert len(parked(worker)) >= 35
    assert {headers_of(record)["reason"] for record in parked(worker)} == {"queue"}
    rig.gate.open.set()
    await worker.enricher.single_flight.drain(LIMIT)
    worker.producer.acknowledge()
    assert worker.trackers.committable() == {PARTITION: 40}
    assert worker.enricher.single_flight.bytes_held == 0
