"""The ends of a webhook: where its records go, and when it is finished."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from stream import topics
from stream.domain.dead_letter_limit import DlqLimit
from stream.domain.errors import DatabaseUnavailableError, DlqLimitError, PartnerUnavailableError
from stream.domain.events import Outcome, Tier
from stream.domain.identity import contact_of
from stream.domain.leads import Source, decode_webhook, encode_webhook, source_in
from stream.domain.parking import LATE, Parking
from stream.kafka.partition_queue import QueuedRecord
from stream.local.people import Someone, population
from stream.lookup.chain import LookupChain
from stream.worker import agent as enrich
from tests.support.agent_rig import HOME, PARTITION, Worker
from tests.support.fake_rig import FakeRig
from tests.support.fakes import NOW, c2s_webhook, partition_for

LIMIT = 60.0  # seconds
SOMEONE, OTHER = population(2, seed=31)
RETRY, MEDIUM, LONG = (topic.name for topic in topics.RETRIES)


class Gate:
    """A database that answers when it is let: whoever asks is under way until then."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.open = asyncio.Event()
        self.failing: Exception | None = None

    async def find(self, contact: Any) -> Any:
        """Wait, then answer, or fail."""
        await self.open.wait()
        if self.failing is not None:
            raise self.failing
        return await self._database.find(contact)

    async def find_by_cpf(self, cpf: Any) -> Any:
        """Answer."""
        return await self._database.find_by_cpf(cpf)

    async def is_unanswered(self, cpf: Any, now: Any) -> bool:
        """Answer."""
        return bool(await self._database.is_unanswered(cpf, now))


class Rig(FakeRig):
    """A world of fakes whose database can be held up."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(self.people)
        self.gate.open.set()

    def worker(self) -> LookupChain:
        """A chain whose tier 2 is behind the gate."""
        chain = super().worker()
        chain._stored._people = self.gate  # noqa: SLF001 - the port that this world exchanges
        return chain


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def worker(rig: Rig) -> Worker:
    return Worker(rig)


def webhook(lead: str = "lead-1", someone: Someone = SOMEONE) -> bytes:
    return c2s_webhook(lead, name=someone.name, phone=someone.phone, email=someone.email)


def tried(since: datetime, attempt: int = 26) -> list[tuple[str, bytes]]:
    """The headers of a webhook that has just come back."""
    return [("reroute", b"1"), *Parking(attempt, since, NOW, 0).headers("test")]


def headers_of(record: QueuedRecord) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


def parked(worker: Worker, topic: str = RETRY) -> list[QueuedRecord]:
    records: list[QueuedRecord] = worker.producer.of(topic)
    return records


async def test_a_webhook_that_can_not_be_answered_is_parked_and_said_to_be(rig: Rig, worker: Worker) -> None:
    """The retry topic has its bytes and headers and says why, a pending event goes out with what was paid."""
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


async def test_a_parked_webhook_is_finished_once_both_records_are_delivered(rig: Rig, worker: Worker) -> None:
    """One acknowledgement of two is not enough, whichever it is."""
    for first in (0, 1):
        rig.fail_once("diretrix")
        await worker.receive(webhook(f"lead-{first}"))
        deliveries = worker.producer._undelivered  # noqa: SLF001 - acknowledged one by one
        assert len(deliveries) == 2
        deliveries.pop(first)()
        assert worker.trackers.unfinished == 1
        deliveries.pop()()
        assert worker.trackers.unfinished == 0


async def test_the_next_failures_wait_longer(rig: Rig, worker: Worker) -> None:
    """A webhook that comes back and fails again goes to the next tier, and remembers when it failed first."""
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


async def test_headers_without_a_value_do_not_stop_anything(rig: Rig, worker: Worker) -> None:
    """Kafka's headers may be null, whatever their names: parked, dead or answered, each webhook has its end."""
    nulls: Any = [(name, None) for name in ("reroute", "attempt", "first-failed", "not-before", "reason", "x")]
    await worker.receive(b"not JSON", headers=[("reroute", b"1"), *nulls])
    (letter,) = worker.producer.of(topics.DEAD.name)
    assert dict(letter.headers)["dl-attempts"] == b"1"
    assert dict(letter.headers)["x"] is None
    rig.fail_once("diretrix")
    await worker.receive(webhook(), headers=[("reroute", b"1"), *nulls])
    assert dict(parked(worker)[0].headers)["attempt"] == b"1"


async def test_what_is_too_large_to_be_moved_is_dead(rig: Rig, worker: Worker) -> None:
    """What no topic would take is not sent for ever: neither to its own partition nor to the retry topic."""
    large = [("x", b"x" * topics.LARGEST_MOVED)]
    await worker.receive(webhook("foreign", elsewhere()), headers=large)
    rig.fail_once("diretrix")
    await worker.receive(webhook("parked"), headers=[("reroute", b"1"), *large])
    letters = [dict(one.headers) for one in worker.producer.of(topics.DEAD.name)]
    assert [letter["dl-reason"].split(b";")[0] for letter in letters] == [
        b"too large to be moved to its contact's partition",
        b"too large to be parked",
    ]
    assert worker.producer.of(topics.WEBHOOKS.name) == parked(worker) == []


def elsewhere() -> Someone:
    """Somebody whose webhooks belong to another partition than the worker's."""
    people = population(20, seed=5)
    return next(one for one in people if partition_for(f"+55{one.phone}") != PARTITION[1])


async def test_an_error_that_nobody_foresaw_is_a_dead_letter(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that we stumble over does not end the agent, which would stumble over it again after each restart."""

    def stumble(*_: object) -> None:
        raise LookupError("11987654321")

    monkeypatch.setattr(enrich, "contact_of", stumble)
    await worker.receive(webhook())
    (letter,) = worker.producer.of(topics.DEAD.name)
    assert dict(letter.headers)["dl-reason"] == b"unforeseen: LookupError"
    assert worker.enricher.restarts == 0


async def test_foreign_headers_of_any_kind_do_not_stop_a_webhook(rig: Rig, worker: Worker) -> None:
    """Headers of the same names that nobody of ours wrote count as not given."""
    rig.fail_once("diretrix")
    hostile = [("attempt", b"9" * 5_000), ("first-failed", b"\xff"), ("not-before", b"-1"), ("reason", b"\x00")]
    await worker.receive(webhook(), headers=[("reroute", b"1"), *hostile])
    assert headers_of(parked(worker)[0])["attempt"] == "1"


@pytest.mark.parametrize("due", [None, NOW - LATE - timedelta(seconds=1), NOW + timedelta(minutes=2)])
async def test_tries_that_somebody_else_writes_down_are_not_counted(
    rig: Rig, worker: Worker, due: datetime | None
) -> None:
    """Sent to `webhooks` with another system's headers, or a copy of ours: tried once, parked like any other."""
    headers = Parking(26, NOW - timedelta(days=9), due or NOW, 0).headers("theirs")
    rig.fail_once("diretrix")
    sent = [(name, value) for name, value in headers if due is not None or name != "not-before"]
    (event,) = await worker.receive(webhook(), headers=[("reroute", b"1"), *sent])
    assert event.outcome == Outcome.PENDING
    said = headers_of(parked(worker)[0])
    assert (said["attempt"], said["first-failed"]) == ("1", NOW.isoformat())


async def test_that_a_webhook_waits_is_said_once(rig: Rig, worker: Worker) -> None:
    """Parked again, it has no second event, unless there are paid calls to tell of; it is finished all the same."""
    headers: Any = HOME
    for topic, events in ((RETRY, 1), (MEDIUM, 1), (LONG, 2)):
        rig.gate.failing = None if topic == LONG else DatabaseUnavailableError("database: away")
        rig.fail_once("diretrix")
        await worker.receive(webhook(), headers=headers)
        worker.producer.deliver()
        assert worker.trackers.unfinished == 0
        headers = parked(worker, topic)[0].headers
        assert len(worker.events()) == events
        rig.clock.at += timedelta(minutes=20)
    assert [event.calls.diretrix for event in worker.events()] == [0, 1]


async def test_whoever_leaves_parks_what_flies(rig: Rig, worker: Worker) -> None:
    """Each webhook under way or waiting is parked once, in order, and what lands after that emits nothing more."""
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
    worker.producer.deliver()
    assert worker.trackers.committable() == {PARTITION: 6}


async def test_what_waits_when_partitions_go_is_left_to_whoever_gets_them(rig: Rig) -> None:
    """What is being looked up ends; what has not begun pays for nothing here and stays unfinished."""
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
    worker.producer.deliver()
    assert worker.trackers.committable() == {PARTITION: 1}
    assert worker.enricher.in_flight.oldest_age() == 0.0


async def test_a_webhook_tried_for_too_long_goes_out_with_what_is_known(rig: Rig, worker: Worker) -> None:
    """Diretrix knew the person and the Work API never came back: name and CPF go out, marked as not complete."""
    rig.know(SOMEONE)
    rig.fail_once("work")
    (event,) = await worker.receive(webhook(), headers=tried(NOW - timedelta(hours=24)))
    assert event.outcome == Outcome.ENRICHED
    assert event.person is not None
    assert (event.person.cpf, event.person.complete) == (SOMEONE.cpf, False)
    assert not parked(worker)


async def test_a_webhook_tried_for_too_long_of_whom_nothing_is_known_is_a_dead_letter(rig: Rig, worker: Worker) -> None:
    """It keeps its bytes, and says how often and since when it was tried."""
    rig.fail_once("diretrix")
    since = NOW - timedelta(hours=30)
    assert await worker.receive(webhook(), headers=tried(since), key=b"k") == []
    (letter,) = worker.producer.of(topics.DEAD.name)
    said = headers_of(letter)
    assert (letter.key, letter.value) == (b"k", webhook())
    assert (said["dl-stage"], said["dl-error"]) == ("enrich", "GivenUpError")
    assert said["dl-reason"] == "given up: diretrix: status 500"
    assert (said["dl-attempts"], said["dl-first-failed"]) == ("27", since.isoformat())
    worker.producer.deliver()
    assert worker.trackers.unfinished == 0


async def test_a_known_contact_whose_refresh_fails_is_served_stale(rig: Rig, worker: Worker) -> None:
    """Past its time and with the database or a partner down, what was known goes out, and says so."""
    rig.know(SOMEONE)
    await worker.receive(webhook("a"))
    rig.clock.at += timedelta(days=1, minutes=1)
    rig.gate.failing = DatabaseUnavailableError("database: ConnectionError")
    _, stale = await worker.receive(webhook("b"))
    assert (stale.outcome, stale.stale, stale.person and stale.person.cpf) == (Outcome.ENRICHED, True, SOMEONE.cpf)
    rig.gate.failing = PartnerUnavailableError("work: the breaker is open", billed="no")
    assert (await worker.receive(webhook("c")))[-1].stale
    assert not parked(worker)


async def test_hits_leave_while_misses_are_parked(rig: Rig, worker: Worker) -> None:
    """An outage does not touch what the table knows."""
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


async def test_a_message_on_a_foreign_partition_is_moved_once(worker: Worker) -> None:
    """It goes to `webhooks` again under its contact's key, finished when delivered; moved, it is answered."""
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
    worker.producer.deliver()
    assert worker.trackers.unfinished == 0
    await worker.receive(webhook(someone=away), headers=moved.headers, key=moved.key)
    assert len(worker.producer.of(topics.WEBHOOKS.name)) == 1
    assert [event.contact.key.encode() for event in worker.events()] == [moved.key]


async def test_what_waits_too_long_for_a_slot_is_parked(rig: Rig) -> None:
    """Nothing was asked for it, and it waits no longer for that the next time."""
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


async def test_who_finds_the_queue_full_is_parked_and_the_reader_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hits leave, a webhook of whom is looked up joins and keeps its place, a stranger comes back later."""
    monkeypatch.setattr(enrich, "POSTGRES_ONLY_TIMEOUT_S", 0.01)
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


async def test_who_finds_the_queue_full_is_not_given_up(rig: Rig) -> None:
    """However long it has been tried: this time nobody has been asked."""
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


async def test_who_is_known_is_answered_although_the_queue_and_all_slots_are_full(rig: Rig) -> None:
    """What PostgreSQL knows needs no slot: neither waits behind a partner nor is parked; only strangers do and are."""
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


async def test_the_letter_that_blows_the_fuse_is_held_back(rig: Rig) -> None:
    """It is not written and stays unfinished, as does every one after it; whoever watches is told to leave."""
    worker = Worker(rig, rating=DlqLimit(in_a_row=3, share=1.0, minimum=1_000))
    rig.know(SOMEONE)
    await worker.receive(b"1", b"2", webhook(), b"3", b"4", b"5", b"6", webhook("b"))
    assert [record.value for record in worker.producer.of(topics.DEAD.name)] == [b"1", b"2", b"3", b"4"]
    worker.producer.deliver()
    assert worker.trackers.committable() == {PARTITION: 5}
    assert {event.lead.id for event in worker.events()} == {"lead-1", "b"}
    with pytest.raises(DlqLimitError, match="3 dead letters in a row"):
        await worker.dlq_guard.watch()


async def test_what_was_tried_for_too_long_blows_no_fuse(rig: Rig) -> None:
    """An outage of a day is no bad release: all its webhooks end as letters."""
    worker = Worker(rig, rating=DlqLimit(in_a_row=2, share=0.1, minimum=2))
    headers = tried(NOW - timedelta(hours=30))
    rig.gate.failing = DatabaseUnavailableError("database: ConnectionError")
    await worker.receive(*(webhook(f"lead-{n}", (SOMEONE, OTHER)[n % 2]) for n in range(6)), headers=headers)
    assert len(worker.producer.of(topics.DEAD.name)) == 6


async def test_rubbish_is_not_read_faster_than_it_is_written(rig: Rig) -> None:
    """While the broker takes no more, the reader waits, whatever it has read."""
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


async def test_parked_webhooks_of_a_source_lie_on_partitions_of_its_own(rig: Rig, worker: Worker) -> None:
    """What waits for one source's part of the queue must not stand in front of another's; a contact stays on one."""
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
    assert {source: len(numbers) for source, numbers in places.items()} == {Source.C2S: 2, Source.GOOGLE_ADS: 1}
    assert not places[Source.C2S] & places[Source.GOOGLE_ADS]
    assert all(len(placed) == 1 for placed in contacts.values())


async def test_large_webhooks_beyond_the_queues_bytes_are_parked_and_none_is_lost(rig: Rig) -> None:
    """They fill it although there are places, also those that could join a contact; what has ended makes room."""
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
    worker.producer.deliver()
    assert worker.trackers.committable() == {PARTITION: 40}
    assert worker.enricher.single_flight.bytes_held == 0


async def test_who_is_parked_while_it_waits_keeps_no_bytes(rig: Rig) -> None:
    """Once the broker has what it left, a webhook that waits for its lookup holds neither value nor headers."""
    worker = Worker(rig, slots=1)
    rig.gate.open.clear()
    await worker.read(webhook("first", SOMEONE), webhook("second", OTHER))
    waiting = list(worker.enricher.in_flight)
    worker.enricher.park_all("shutdown")
    assert [one.record.value for one in waiting] == [webhook("first", SOMEONE), webhook("second", OTHER)]
    worker.producer.deliver()
    assert [(one.record.value, one.record.headers) for one in waiting] == [(None, ())] * 2
    rig.gate.open.set()
    await worker.enricher.single_flight.drain(LIMIT)
    assert worker.trackers.committable() == {PARTITION: 2}
