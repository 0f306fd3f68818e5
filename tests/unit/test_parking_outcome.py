"""When a webhook is parked: its records, its retry level, its event, and its partition."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from stream.domain.errors import DatabaseUnavailableError
from stream.domain.events import Outcome
from stream.domain.leads import Source, encode_webhook, source_in
from stream.domain.parking import MAX_LATE, Parking
from stream.local.people import population
from tests.support.agent_rig import HOME, PARTITION, Worker
from tests.support.fakes import NOW
from tests.support.gated_rig import (
    LONG,
    MEDIUM,
    OTHER,
    RETRY,
    SOMEONE,
    Rig,
    headers_of,
    parked,
    webhook,
)
from tests.support.waiting import LIMIT


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def worker(rig: Rig) -> Worker:
    return Worker(rig)


async def test_a_failed_look_up_parks_the_webhook_and_emits_a_pending_event(rig: Rig, worker: Worker) -> None:
    """The retry record has the original bytes and headers and the reason. The event has the paid calls."""
    rig.know(SOMEONE)
    rig.fail_once("diretrix")
    value = webhook()
    (event,) = await worker.receive(value, headers=[("ce_id", b"x"), ("reroute", b"1")], key=b"as it came")
    assert (event.outcome, event.parked, event.calls.diretrix) == (Outcome.PENDING, True, 1)  # it is unsure
    (record,) = parked(worker)
    assert (record.key, record.value) == (event.contact.key.encode(), value)
    assert headers_of(record) == {
        "ce_id": "x",
        "reroute": "1",
        "attempt": "1",
        "first-failed": NOW.isoformat(),
        "not-before": (NOW + timedelta(minutes=1)).isoformat(),
        "reason": "diretrix: status 500",
    }


async def test_a_parked_webhook_is_completed_when_both_records_are_acknowledged(rig: Rig, worker: Worker) -> None:
    """One acknowledgement of two is not enough, whichever it is."""
    for first in (0, 1):
        rig.fail_once("diretrix")
        await worker.receive(webhook(f"lead-{first}"))
        acknowledgements = worker.producer._unacknowledged  # noqa: SLF001 - acknowledged one by one
        assert len(acknowledgements) == 2
        acknowledgements.pop(first)()
        assert worker.trackers.unfinished == 1
        acknowledgements.pop()()
        assert worker.trackers.unfinished == 0


async def test_each_failure_raises_the_retry_level(rig: Rig, worker: Worker) -> None:
    """A webhook that fails again goes to the next retry topic and keeps the time of its first failure."""
    headers: list[tuple[str, bytes]] = [("reroute", b"1")]
    for attempt, topic in enumerate((RETRY, MEDIUM, LONG, LONG), start=1):
        rig.fail_once("diretrix")
        await worker.receive(webhook(), headers=headers)
        headers = parked(worker, topic)[-1].headers
        assert (dict(headers)["attempt"], dict(headers)["first-failed"]) == (
            str(attempt).encode(),
            NOW.isoformat().encode(),
        )
        rig.clock.at += timedelta(hours=1)


async def test_unreadable_retry_headers_count_as_none(rig: Rig, worker: Worker) -> None:
    """Headers with the names of ours and unreadable values count as not given."""
    rig.fail_once("diretrix")
    hostile = [("attempt", b"9" * 5_000), ("first-failed", b"\xff"), ("not-before", b"-1"), ("reason", b"\x00")]
    await worker.receive(webhook(), headers=[("reroute", b"1"), *hostile])
    assert headers_of(parked(worker)[0])["attempt"] == "1"


@pytest.mark.parametrize("due", [None, NOW - MAX_LATE - timedelta(seconds=1), NOW + timedelta(minutes=2)])
async def test_retry_headers_that_are_not_ours_are_not_counted(rig: Rig, worker: Worker, due: datetime | None) -> None:
    """Another system's headers, or a copy of ours: the webhook counts as tried once."""
    headers = Parking(26, NOW - timedelta(days=9), due or NOW, 0).headers("theirs")
    rig.fail_once("diretrix")
    sent = [(name, value) for name, value in headers if due is not None or name != "not-before"]
    (event,) = await worker.receive(webhook(), headers=[("reroute", b"1"), *sent])
    assert event.outcome == Outcome.PENDING
    said = headers_of(parked(worker)[0])
    assert (said["attempt"], said["first-failed"]) == ("1", NOW.isoformat())


async def test_a_webhook_that_is_parked_again_emits_no_second_pending_event(rig: Rig, worker: Worker) -> None:
    """Only newly paid calls cause another event. The webhook is completed in every case."""
    headers: Any = HOME
    for topic, events in ((RETRY, 1), (MEDIUM, 1), (LONG, 2)):
        rig.gate.failing = None if topic == LONG else DatabaseUnavailableError("database: away")
        rig.fail_once("diretrix")
        await worker.receive(webhook(), headers=headers)
        worker.producer.acknowledge()
        assert worker.trackers.unfinished == 0
        headers = parked(worker, topic)[0].headers
        assert len(worker.events()) == events
        rig.clock.at += timedelta(minutes=20)
    assert [event.calls.diretrix for event in worker.events()] == [0, 1]


async def test_park_all_parks_every_webhook_in_flight_once(rig: Rig, worker: Worker) -> None:
    """They are parked in order, and look-ups that end later emit nothing."""
    rig.know(SOMEONE)
    rig.gate.open.clear()
    await worker.read(*(webhook(f"lead-{n}", (SOMEONE, OTHER)[n % 2]) for n in range(6)))
    worker.enricher.park_all("shutdown")
    worker.enricher.park_all("shutdown")
    assert [event.lead.id for event in worker.events()] == [f"lead-{n}" for n in range(6)]
    assert {event.outcome for event in worker.events()} == {Outcome.PENDING}
    assert len(parked(worker)) == 6
    assert {headers_of(record)["reason"] for record in parked(worker)} == {"shutdown"}
    rig.gate.open.set()
    await worker.enricher.single_flight.drain(LIMIT)
    assert len(worker.events()) == 6
    worker.producer.acknowledge()
    assert worker.trackers.committable() == {PARTITION: 6}


async def test_each_source_is_parked_on_its_own_partitions(rig: Rig, worker: Worker) -> None:
    """One source's parked webhooks never block another's. A contact stays on one partition."""
    rig.gate.failing = DatabaseUnavailableError("database: ConnectionError")
    people = population(40, seed=8)
    for _ in range(2):
        for number, one in enumerate(people):
            columns = [{"column_id": "PHONE_NUMBER", "string_value": one.phone}]
            google = encode_webhook(Source.GOOGLE_ADS, NOW, {"lead_id": str(number), "user_column_data": columns}, None)
            await worker.receive(webhook(f"lead-{number}", one), google)
    places: dict[str, set[int | None]] = {}
    contacts: dict[tuple[str, bytes | None], set[int | None]] = {}
    for (topic, record), placed in zip(worker.producer.records, worker.producer.placed, strict=True):
        if topic == RETRY:
            source = source_in(record.value)
            places.setdefault(source, set()).add(placed)
            contacts.setdefault((source, record.key), set()).add(placed)
    assert set(places) == {Source.C2S, Source.GOOGLE_ADS}
    assert not places[Source.C2S] & places[Source.GOOGLE_ADS]
    assert all(len(placed) == 1 for placed in contacts.values())


async def test_a_completed_webhook_that_still_waits_holds_no_bytes(rig: Rig) -> None:
    """It still waits for its single flight, but has neither value nor headers."""
    worker = Worker(rig, slots=1)
    rig.gate.open.clear()
    await worker.read(webhook("first", SOMEONE), webhook("second", OTHER))
    waiting = list(worker.enricher.in_flight)
    worker.enricher.park_all("shutdown")
    assert [one.record.value for one in waiting] == [webhook("first", SOMEONE), webhook("second", OTHER)]
    worker.producer.acknowledge()
    assert [(one.record.value, one.record.headers) for one in waiting] == [(None, ())] * 2
    rig.gate.open.set()
    await worker.enricher.single_flight.drain(LIMIT)
    assert worker.trackers.committable() == {PARTITION: 2}
