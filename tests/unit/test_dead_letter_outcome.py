"""When the worker publishes a dead letter, and when it must not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from stream import topics
from stream.domain.dead_letter_limit import DlqLimit
from stream.domain.errors import DatabaseUnavailableError, DlqLimitError
from stream.worker import agent as agent_module
from tests.support.agent_rig import PARTITION, Worker
from tests.support.fakes import NOW
from tests.support.gated_rig import (
    OTHER,
    SOMEONE,
    Rig,
    elsewhere,
    headers_of,
    parked,
    tried,
    webhook,
)


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def worker(rig: Rig) -> Worker:
    return Worker(rig)


async def test_headers_without_a_value_are_kept(rig: Rig, worker: Worker) -> None:
    """Headers of any name may be null: parked webhooks and dead letters carry them."""
    nulls: Any = [(name, None) for name in ("reroute", "attempt", "first-failed", "not-before", "reason", "x")]
    await worker.receive(b"not JSON", headers=[("reroute", b"1"), *nulls])
    (letter,) = worker.producer.of(topics.DEAD.name)
    assert dict(letter.headers)["dl-attempts"] == b"1"
    assert dict(letter.headers)["x"] is None
    rig.fail_once("diretrix")
    await worker.receive(webhook(), headers=[("reroute", b"1"), *nulls])
    assert dict(parked(worker)[0].headers)["attempt"] == b"1"


async def test_a_record_too_large_to_be_moved_is_a_dead_letter(rig: Rig, worker: Worker) -> None:
    """It is neither rerouted nor parked, because no topic would accept it."""
    large = [("x", b"x" * topics.MAX_MOVED_BYTES)]
    await worker.receive(webhook("foreign", elsewhere()), headers=large)
    rig.fail_once("diretrix")
    await worker.receive(webhook("parked"), headers=[("reroute", b"1"), *large])
    letters = [dict(one.headers) for one in worker.producer.of(topics.DEAD.name)]
    assert [letter["dl-reason"].split(b";")[0] for letter in letters] == [
        b"too large to be moved to its contact's partition",
        b"too large to be parked",
    ]
    assert worker.producer.of(topics.WEBHOOKS.name) == parked(worker) == []


async def test_an_unexpected_error_is_a_dead_letter(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent does not restart, and would not meet the record again after a restart."""

    def stumble(*_: object) -> None:
        raise LookupError("11987654321")

    monkeypatch.setattr(agent_module, "contact_of", stumble)
    await worker.receive(webhook())
    (letter,) = worker.producer.of(topics.DEAD.name)
    assert dict(letter.headers)["dl-reason"] == b"unforeseen: LookupError"
    assert worker.enricher.restarts == 0


async def test_after_retry_max_age_an_unknown_contact_is_a_dead_letter(rig: Rig, worker: Worker) -> None:
    """The dead letter has the original bytes, the number of tries and the time of the first."""
    rig.fail_once("diretrix")
    since = NOW - timedelta(hours=30)
    assert await worker.receive(webhook(), headers=tried(since), key=b"k") == []
    (letter,) = worker.producer.of(topics.DEAD.name)
    said = headers_of(letter)
    assert (letter.key, letter.value) == (b"k", webhook())
    assert (said["dl-stage"], said["dl-error"]) == ("enrich", "GivenUpError")
    assert said["dl-reason"] == "given up: diretrix: status 500"
    assert (said["dl-attempts"], said["dl-first-failed"]) == ("27", since.isoformat())
    worker.producer.acknowledge()
    assert worker.trackers.unfinished == 0


async def test_the_dead_letter_that_exceeds_the_limit_is_not_published(rig: Rig) -> None:
    """It and every later one stay uncompleted, and the guard raises."""
    worker = Worker(rig, rating=DlqLimit(in_a_row=3, share=1.0, minimum=1_000))
    rig.know(SOMEONE)
    await worker.receive(b"1", b"2", webhook(), b"3", b"4", b"5", b"6", webhook("b"))
    assert [record.value for record in worker.producer.of(topics.DEAD.name)] == [b"1", b"2", b"3", b"4"]
    worker.producer.acknowledge()
    assert worker.trackers.committable() == {PARTITION: 5}
    assert {event.lead.id for event in worker.events()} == {"lead-1", "b"}
    with pytest.raises(DlqLimitError, match="3 dead letters in a row"):
        await worker.dlq_guard.watch()


async def test_given_up_webhooks_do_not_count_towards_the_dead_letter_limit(rig: Rig) -> None:
    """After a long outage all parked webhooks may become dead letters."""
    worker = Worker(rig, rating=DlqLimit(in_a_row=2, share=0.1, minimum=2))
    headers = tried(NOW - timedelta(hours=30))
    rig.gate.failing = DatabaseUnavailableError("database: ConnectionError")
    await worker.receive(*(webhook(f"lead-{n}", (SOMEONE, OTHER)[n % 2]) for n in range(6)), headers=headers)
    assert len(worker.producer.of(topics.DEAD.name)) == 6


async def test_reading_waits_while_the_producer_is_full(rig: Rig) -> None:
    """Back-pressure applies to dead letters as well."""
    worker = Worker(rig)
    has_capacity = asyncio.Event()
    worker.producer.is_full, worker.producer.wait_for_capacity = True, has_capacity.wait
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.read(*(b"rubbish" for _ in range(10))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(worker.producer.of(topics.DEAD.name)) == 1
        has_capacity.set()
    assert len(worker.producer.of(topics.DEAD.name)) == 10
