"""When a webhook is answered, answered with stale facts, rerouted, or left to the next owner of its partition."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from stream import topics
from stream.domain.errors import DatabaseUnavailableError, PartnerUnavailableError
from stream.domain.events import Outcome
from stream.domain.identity import contact_of
from stream.domain.leads import decode_webhook
from stream.local.people import population
from tests.support.agent_rig import PARTITION, Worker
from tests.support.fakes import NOW, partition_for
from tests.support.gated_rig import (
    OTHER,
    SOMEONE,
    Rig,
    parked,
    tried,
    webhook,
)
from tests.support.waiting import LIMIT


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def worker(rig: Rig) -> Worker:
    return Worker(rig)


async def test_a_revoked_partition_starts_no_further_look_ups(rig: Rig) -> None:
    """A running look-up ends. One that has not started pays nothing and stays uncompleted."""
    worker = Worker(rig, slots=1)
    for one in (SOMEONE, OTHER):
        rig.know(one)
    rig.gate.open.clear()
    await worker.read(webhook("first", SOMEONE), webhook("second", OTHER))
    await asyncio.sleep(0)  # the first takes the only slot
    worker.enricher.in_flight.abandon_waiting()
    rig.gate.open.set()
    await worker.enricher.single_flight.drain(LIMIT)
    assert [event.lead.id for event in worker.events()] == ["first"]
    assert rig.calls("diretrix") == 1
    worker.producer.acknowledge()
    assert worker.trackers.committable() == {PARTITION: 1}
    assert worker.enricher.in_flight.oldest_age() == 0.0


async def test_after_retry_max_age_a_candidate_is_answered_as_not_complete(rig: Rig, worker: Worker) -> None:
    """Diretrix knew the person and the Work API failed: name and CPF are answered."""
    rig.know(SOMEONE)
    rig.fail_once("work")
    (event,) = await worker.receive(webhook(), headers=tried(NOW - timedelta(hours=24)))
    assert event.outcome == Outcome.ENRICHED
    assert event.person is not None
    assert (event.person.cpf, event.person.complete) == (SOMEONE.cpf, False)
    assert not parked(worker)


async def test_a_known_contact_is_answered_stale_during_an_outage(rig: Rig, worker: Worker) -> None:
    """The entry has expired, and the database or a partner is down."""
    rig.know(SOMEONE)
    await worker.receive(webhook("a"))
    rig.clock.at += timedelta(days=1, minutes=1)
    rig.gate.failing = DatabaseUnavailableError("database: ConnectionError")
    _, stale = await worker.receive(webhook("b"))
    assert (stale.outcome, stale.stale, stale.person and stale.person.cpf) == (Outcome.ENRICHED, True, SOMEONE.cpf)
    rig.gate.failing = PartnerUnavailableError("work: the breaker is open", billed="no")
    assert (await worker.receive(webhook("c")))[-1].stale
    assert not parked(worker)


async def test_hits_are_answered_while_misses_are_parked(rig: Rig, worker: Worker) -> None:
    """An outage does not affect what the table knows."""
    rig.know(SOMEONE)
    await worker.receive(webhook("a"))
    rig.gate.failing = DatabaseUnavailableError("database: ConnectionError")
    events = await worker.receive(webhook("b"), webhook("c", OTHER), webhook("d"))
    assert {event.lead.id: event.outcome for event in events} == {
        "a": Outcome.ENRICHED,
        "b": Outcome.ENRICHED,
        "c": Outcome.PENDING,
        "d": Outcome.ENRICHED,
    }


async def test_a_record_on_the_wrong_partition_is_rerouted_once(worker: Worker) -> None:
    """It is published to `webhooks` under its contact's key and completed when acknowledged; then it is answered."""
    away = next(
        one
        for one in population(20, seed=5)
        if partition_for(contact_of(decode_webhook(webhook(someone=one)).lead, frozenset()).key) != 0
    )
    await worker.receive(webhook(someone=away), headers=[("ce_id", b"x")], key=b"whatever")
    (moved,) = worker.producer.of(topics.WEBHOOKS.name)
    assert (moved.value, dict(moved.headers)) == (webhook(someone=away), {"ce_id": b"x", "reroute": b"1"})
    assert worker.events() == []
    assert worker.trackers.unfinished == 1
    worker.producer.acknowledge()
    assert worker.trackers.unfinished == 0
    await worker.receive(webhook(someone=away), headers=moved.headers, key=moved.key)
    assert len(worker.producer.of(topics.WEBHOOKS.name)) == 1
    assert [event.contact.key.encode() for event in worker.events()] == [moved.key]
