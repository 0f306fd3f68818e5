"""The CRM sync on a real PostgreSQL and a real HTTP server: each lead's facts once, whatever fails."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import aiohttp
import asyncpg
import orjson
import pytest
import stamina
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaConnectionError

from stream import topics
from stream.crm.client import C2S
from stream.crm.sync import CrmSync
from stream.crm.writes import CrmWrites
from stream.domain.errors import DatabaseUnavailableError, PartnerUnavailableError, TransientError
from stream.domain.events import NAMESPACE
from stream.domain.person import Candidate, Income, Person, person_from_candidate, person_from_work
from stream.local.simulators import Fault, Simulators, serving
from stream.settings import Settings, load
from tests.support.waiting import LIMIT

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
OF_AGE = timedelta(seconds=1)  # twice the time-out of a call
CPF = "52998224725"
PARTIAL = person_from_candidate(Candidate("MARIA LIMA", CPF), NOW)
MARIA = person_from_work({"DadosBasicos": {"nome": "MARIA LIMA"}, "DadosEconomicos": {"renda": "8500,50"}}, CPF, NOW)


@dataclass
class DeadLetterQueue:
    """Stands in for the producer: keeps what is sent, or is away."""

    sent: list[tuple[str, bytes, dict[str, bytes]]] = field(default_factory=list)
    away: bool = False

    async def send_and_wait(
        self, topic: str, value: bytes, key: bytes | None, headers: list[tuple[str, bytes]], partition: int
    ) -> None:
        """Keep one record."""
        del key, partition
        if self.away:
            raise KafkaConnectionError
        self.sent.append((topic, value, dict(headers)))


class FailingDeliveries(CrmWrites):
    """The real ones, but the database is away when a call has been settled, as often as told, or for long."""

    failures = 0
    away: asyncio.Event | None = None  # set when it is back
    dead = False  # whoever would write it down is no more

    async def mark(self, c2s_id: str, facts: str, status: str, reason: str = "") -> None:
        """Fail, or settle."""
        self._fail()
        await super().mark(c2s_id, facts, status, reason)

    async def release(self, c2s_id: str, facts: str) -> None:
        """Fail, or release."""
        await self._wait()
        self._fail()
        await super().release(c2s_id, facts)

    async def release_lead(self, source: str, lead_id: str) -> None:
        """Release."""
        await self._wait()
        await super().release_lead(source, lead_id)

    async def mark_created(self, source: str, lead_id: str, c2s_id: str, facts: str | None, event_id: str) -> None:
        """Fail, or write it down."""
        self._fail()
        await super().mark_created(source, lead_id, c2s_id, facts, event_id)

    async def mark_lead(self, source: str, lead_id: str, status: str, c2s_id: str | None = None) -> None:
        """Fail, or settle."""
        self._fail()
        await super().mark_lead(source, lead_id, status, c2s_id)

    async def _wait(self) -> None:
        if self.away is not None:
            await self.away.wait()

    def _fail(self) -> None:
        if self.failures or self.dead:
            self.failures -= not self.dead
            raise DatabaseUnavailableError("database: away")


@dataclass
class Crm:
    """Everything around the CRM sync."""

    c2s: Simulators
    deliveries: FailingDeliveries
    letters: DeadLetterQueue
    base: str
    session: aiohttp.ClientSession

    def sync(self, **settings: str) -> CrmSync:
        """A CRM sync with settings of its own, as after a restart."""
        loaded = load({"C2S_BASE_URL": self.base, "C2S_TIMEOUT": "500ms", **settings})
        return CrmSync(C2S(self.session, loaded), self.deliveries, self.letters, loaded)  # type: ignore[arg-type]

    async def unconfirmed(self) -> list[tuple[str, str, str]]:
        """What is listed as unconfirmed."""
        return [(one.kind, one.lead, one.status) for one in await self.deliveries.unconfirmed()]


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Tries follow each other at once."""
    with stamina.set_testing(testing=True, attempts=5):
        yield


@pytest.fixture
async def crm(pool: asyncpg.Pool) -> AsyncIterator[Crm]:
    """A CRM that answers at once, an empty database."""
    simulators = Simulators(scale=0.0)
    async with serving(simulators) as base, aiohttp.ClientSession() as session:
        yield Crm(simulators, FailingDeliveries(pool), DeadLetterQueue(), base, session)


def record(value: bytes) -> ConsumerRecord:
    return ConsumerRecord(
        topics.ENRICHED.name, 3, 17, 1_769_860_800_000, 0, b"+5511987654321", value, None, 0, len(value), ()
    )


def event(
    person: Person | None = None, outcome: str = "", *, lead: str = "L1", source: str = "c2s", **more: Any
) -> Any:
    identity = str(uuid5(NAMESPACE, f"{source}/{lead}/{more.get('hook_action')}/{more.get('updated_at')}"))
    body = {
        "event_id": identity,
        "revision": "r",
        "lead": {"source": source, "id": lead, "name": "Maria", "product": "Casa", **more},
        "contact": {"key": "+5511987654321", "phone": "+5511987654321", "email": None, "cpf": None},
        "outcome": outcome or ("enriched" if person is not None else "not_found"),
        "person": orjson.Fragment(person.encode()) if person is not None else None,
        "received_at": NOW,
        "emitted_at": NOW,
    }
    return record(orjson.dumps(body))


def google(person: Person | None = None, outcome: str = "") -> Any:
    return event(person, outcome, lead="G1", source="google_ads")


async def test_a_lead_is_told_once_however_often_its_event_comes(crm: Crm) -> None:
    """Repeats, a replay after a restart and C2S's own webhook about our message write nothing more."""
    for sync in (crm.sync(), crm.sync()):
        await sync.handle(event(MARIA))
        await sync.handle(event(MARIA, updated_at="2026-02-01T00:00:00Z", hook_action="on_update_lead"))
    assert [one["lead"] for one in crm.c2s.messages] == ["L1"]
    assert "Renda: R$ 8.500,50 por mês" in crm.c2s.messages[0]["body"]
    assert await crm.unconfirmed() == []


async def test_two_workers_at_once_tell_a_lead_once(crm: Crm) -> None:
    """The same event in two processes, as during a rebalance, is one message and one lead."""
    crm.c2s.faults["c2s"] = Fault(latency=0.05)
    await asyncio.gather(*(until_ended(crm.sync(), event(MARIA)) for _ in range(5)))
    await asyncio.gather(*(until_ended(crm.sync(), google(MARIA)) for _ in range(5)))
    assert len(crm.c2s.messages) == 1
    assert len(crm.c2s.leads) == 1


async def test_new_facts_are_told(crm: Crm) -> None:
    """What the Work API adds to what Diretrix said is a second message."""
    sync = crm.sync()
    await sync.handle(event(PARTIAL))
    await sync.handle(event(MARIA))
    await sync.handle(event(PARTIAL))
    assert [one["lead"] for one in crm.c2s.messages] == ["L1", "L1"]


@pytest.mark.parametrize("outcome", ["not_found", "pending", "no_contact", "test"])
async def test_a_lead_is_told_of_nothing_when_nothing_is_known(crm: Crm, outcome: str) -> None:
    """No call is made for an event without a person."""
    await crm.sync().handle(event(outcome=outcome))
    assert crm.c2s.counts == {}


async def test_that_nothing_was_found_is_told_once_when_asked_for(crm: Crm) -> None:
    """CRM_NOTE_NOT_FOUND=true is one message of that."""
    for _ in range(2):
        await crm.sync(CRM_NOTE_NOT_FOUND="true").handle(event())
    assert ["nenhum dado" in one["body"] for one in crm.c2s.messages] == [True]


async def test_a_closed_lead_is_left_alone(crm: Crm) -> None:
    """on_close_lead makes no call."""
    await crm.sync().handle(event(MARIA, hook_action="on_close_lead"))
    assert crm.c2s.counts == {}


async def test_a_google_lead_is_created_with_what_is_known(crm: Crm) -> None:
    """It has the configured fields and the person, and its own webhook of C2S adds no message."""
    sync = crm.sync(C2S_SELLER_ID="77")
    await sync.handle(google(MARIA))
    lead = crm.c2s.leads[0]
    told = {name: lead[name] for name in ("name", "phone", "source", "type_negotiation", "product", "seller_id")}
    assert told == {
        "name": "Maria",
        "phone": "+5511987654321",
        "source": "Google Ads",
        "type_negotiation": "Compra",
        "product": "Casa",
        "seller_id": "77",
    }
    assert "CPF: 529.982.247-25" in lead["description"]
    await sync.handle(event(MARIA, lead=lead["id"], hook_action="on_create_lead"))
    assert crm.c2s.messages == []


@pytest.mark.parametrize("outcome", ["pending", "not_found", "no_contact"])
async def test_what_becomes_known_later_is_one_message_to_the_created_lead(crm: Crm, outcome: str) -> None:
    """A Google lead is created at once; its person follows once, by whichever webhook it comes first."""
    sync = crm.sync()
    await sync.handle(google(outcome=outcome))
    mark_created = crm.c2s.leads[0]["id"]
    await sync.handle(event(MARIA, lead=mark_created, hook_action="on_create_lead"))
    await sync.handle(google(MARIA))
    await sync.handle(google(outcome=outcome))
    assert len(crm.c2s.leads) == 1
    assert [one["lead"] for one in crm.c2s.messages] == [mark_created]


async def test_a_test_lead_is_not_created(crm: Crm) -> None:
    """is_test leads of Google never reach the CRM."""
    await crm.sync().handle(google(MARIA, "test"))
    assert crm.c2s.counts == {}


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(status=503), Fault(reset=True), Fault(hang=5)])
@pytest.mark.parametrize("make", [event, google])
async def test_what_may_have_been_carried_out_is_unconfirmed(
    crm: Crm, fault: Fault, make: Callable[[Person], Any]
) -> None:
    """A 5xx, a reset and a time-out end the record, are listed, and are not sent again by themselves."""
    crm.c2s.faults["c2s"] = fault
    await crm.sync().handle(make(MARIA))
    crm.c2s.faults.clear()
    await crm.sync().handle(make(MARIA))
    kind, lead = ("message", "L1") if make is event else ("lead", "G1")
    assert await crm.unconfirmed() == [(kind, lead, "unconfirmed")]
    assert crm.c2s.messages == crm.c2s.leads == []
    assert crm.letters.sent == []


@pytest.mark.parametrize("make", [event, google])
async def test_what_is_unconfirmed_is_sent_again_when_asked_for(crm: Crm, make: Callable[[Person], Any]) -> None:
    """CRM_RESEND_UNCONFIRMED=true and its event, replayed, write it once and confirm it."""
    crm.c2s.faults["c2s"] = Fault(status=500)
    await crm.sync().handle(make(MARIA))
    crm.c2s.faults.clear()
    for _ in range(2):
        await crm.sync(CRM_RESEND_UNCONFIRMED="true").handle(make(MARIA))
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1
    assert await crm.unconfirmed() == []


@pytest.mark.parametrize("before", [None, 422, 500])
@pytest.mark.parametrize("make", [event, google])
async def test_a_call_under_way_is_not_made_a_second_time(
    crm: Crm, make: Callable[[Person], Any], before: int | None
) -> None:
    """Asked to send again, five at once write once: new, refused before, or unconfirmed before."""
    if before is not None:
        crm.c2s.faults["c2s"] = Fault(status=before)
        await crm.sync().handle(make(MARIA))
    crm.c2s.faults["c2s"] = Fault(latency=0.1)
    syncs = [crm.sync(CRM_RESEND_UNCONFIRMED="true") for _ in range(5)]
    await asyncio.gather(*(until_ended(sync, make(MARIA)) for sync in syncs))
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1
    assert await crm.unconfirmed() == []


@pytest.mark.parametrize("make", [event, google])
async def test_what_a_dead_process_left_is_sent_again_when_asked_for(crm: Crm, make: Callable[[Person], Any]) -> None:
    """CRM_RESEND_UNCONFIRMED=true waits until the call would have ended, then writes it once."""
    crm.c2s.faults["c2s"] = Fault(hang=5)
    call = asyncio.create_task(crm.sync(C2S_TIMEOUT="30s").handle(make(MARIA)))
    await eventually(lambda: sum(crm.c2s.counts.values()) == 1)
    await die(crm, call)
    crm.c2s.faults.clear()
    await until_ended(crm.sync(CRM_RESEND_UNCONFIRMED="true"), make(MARIA))
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1
    assert await crm.unconfirmed() == []


class SlowDeliveries(CrmWrites):
    """The real ones, but what is retaken and found settled are a while apart, in which a claim comes of age."""

    async def reclaim(self, c2s_id: str, facts: str, event_id: str, unsure_for: timedelta | None) -> bool:
        """Retake, then wait."""
        retaken = await super().reclaim(c2s_id, facts, event_id, unsure_for)
        await asyncio.sleep(OF_AGE.total_seconds())
        return retaken

    async def reclaim_lead(self, source: str, lead_id: str, unsure_for: timedelta | None) -> bool:
        """The same of a lead."""
        retaken = await super().reclaim_lead(source, lead_id, unsure_for)
        await asyncio.sleep(OF_AGE.total_seconds())
        return retaken


@pytest.mark.parametrize("make", [event, google])
async def test_what_comes_of_age_between_two_looks_is_sent_again_too(
    crm: Crm, make: Callable[[Person], Any], pool: asyncpg.Pool
) -> None:
    """A claim that was too young to be retaken does not pass for settled a moment later."""
    crm.c2s.faults["c2s"] = Fault(hang=5)
    call = asyncio.create_task(crm.sync(C2S_TIMEOUT="30s").handle(make(MARIA)))
    await eventually(lambda: sum(crm.c2s.counts.values()) == 1)
    await die(crm, call)
    crm.c2s.faults.clear()
    slow = dataclasses.replace(crm, deliveries=SlowDeliveries(pool))  # type: ignore[arg-type]
    await until_ended(
        slow.sync(CRM_RESEND_UNCONFIRMED="true", C2S_TIMEOUT=f"{OF_AGE.total_seconds() / 2}s"), make(MARIA)
    )
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1
    assert await crm.unconfirmed() == []


@pytest.mark.parametrize("make", [event, google])
async def test_a_call_that_its_maker_takes_back_is_not_relied_upon(crm: Crm, make: Callable[[Person], Any]) -> None:
    """Of two that have one event the first fails and is stopped: the second has not ended the event meanwhile."""
    crm.c2s.faults["c2s"] = Fault(status=429, latency=0.3, times=1)
    first = asyncio.create_task(crm.sync(C2S_TIMEOUT="30s").handle(make(MARIA)))
    await eventually(lambda: sum(crm.c2s.counts.values()) == 1)
    second = asyncio.create_task(until_ended(crm.sync(C2S_TIMEOUT="30s"), make(MARIA)))
    with pytest.raises(PartnerUnavailableError):
        await first
    await second
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1
    assert await crm.unconfirmed() == []


@pytest.mark.parametrize("make", [event, google])
async def test_a_call_that_its_maker_takes_back_too_late_is_listed(crm: Crm, make: Callable[[Person], Any]) -> None:
    """Whoever took its event over has gone on by then: the maker may be stopped, and nobody would make the call."""
    crm.c2s.faults["c2s"] = Fault(status=429, times=1)
    crm.deliveries.away = asyncio.Event()
    first = asyncio.create_task(crm.sync().handle(make(MARIA)))
    await eventually(lambda: sum(crm.c2s.counts.values()) == 1)
    await until_ended(crm.sync(), make(MARIA))
    crm.deliveries.away.set()
    with pytest.raises(PartnerUnavailableError):
        await first
    kind, lead = ("message", "L1") if make is event else ("lead", "G1")
    assert await crm.unconfirmed() == [(kind, lead, "unconfirmed")]


@pytest.mark.parametrize("make", [event, google])
async def test_a_process_that_is_stopped_in_a_call_holds_nobody_up(crm: Crm, make: Callable[[Person], Any]) -> None:
    """The call may have been carried out: listed at once, it is not waited for after a restart."""
    crm.c2s.faults["c2s"] = Fault(hang=5)
    call = asyncio.create_task(crm.sync(C2S_TIMEOUT="30s").handle(make(MARIA)))
    await eventually(lambda: sum(crm.c2s.counts.values()) == 1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    kind, lead = ("message", "L1") if make is event else ("lead", "G1")
    assert await crm.unconfirmed() == [(kind, lead, "unconfirmed")]
    await crm.sync(C2S_TIMEOUT="30s").handle(make(MARIA))
    assert crm.c2s.messages == crm.c2s.leads == []


async def test_a_process_that_dies_in_a_call_leaves_it_unconfirmed(crm: Crm) -> None:
    """The claim stands before the call: after a restart the message is listed and not written again."""
    crm.c2s.faults["c2s"] = Fault(hang=5)
    call = asyncio.create_task(crm.sync(C2S_TIMEOUT="30s").handle(event(MARIA)))
    await eventually(lambda: crm.c2s.counts["c2s_message"] == 1)
    await die(crm, call)
    crm.c2s.faults.clear()
    assert await crm.unconfirmed() == [("message", "L1", "claimed")]
    await until_ended(crm.sync(), event(MARIA))
    assert await crm.unconfirmed() == [("message", "L1", "unconfirmed")]
    assert crm.c2s.messages == []


@pytest.mark.parametrize("status", [401, 403, 429])
@pytest.mark.parametrize("make", [event, google])
async def test_what_was_not_carried_out_is_tried_again(crm: Crm, status: int, make: Callable[[Person], Any]) -> None:
    """A refusal for now is raised as transient, with C2S's Retry-After, and the next try writes once."""
    crm.c2s.faults["c2s"] = Fault(status=status, retry_after=7)
    with pytest.raises(PartnerUnavailableError) as refused:
        await crm.sync().handle(make(MARIA))
    assert refused.value.retry_after == (7 if status == 429 else None)
    assert await crm.unconfirmed() == []
    crm.c2s.faults.clear()
    await crm.sync().handle(make(MARIA))
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1


async def test_a_crm_that_is_away_is_tried_again(crm: Crm) -> None:
    """A refused connection sent nothing: the claim is taken back."""
    with pytest.raises(PartnerUnavailableError):
        await crm.sync(C2S_BASE_URL="http://127.0.0.1:9").handle(event(MARIA))
    assert await crm.unconfirmed() == []


@pytest.mark.parametrize("make", [event, google])
async def test_what_the_crm_refuses_for_good_is_a_dead_letter(crm: Crm, make: Callable[[Person], Any]) -> None:
    """A 4xx ends the record with its bytes and its reason; sent again by an operator, it may succeed."""
    crm.c2s.faults["c2s"] = Fault(status=422)
    await crm.sync().handle(make(MARIA))
    topic, value, headers = crm.letters.sent[0]
    assert (topic, value) == (topics.DEAD.name, make(MARIA).value)
    assert headers["dl-stage"] == b"crm"
    assert headers["dl-reason"] == b"c2s: status 422"
    assert (headers["dl-topic"], headers["dl-partition"], headers["dl-offset"]) == (b"contacts.enriched", b"3", b"17")
    assert await crm.unconfirmed() == []
    crm.c2s.faults.clear()
    await crm.sync().handle(make(MARIA))
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda body: b"\xff not JSON" + body,
        lambda body: body[:0],
        lambda body: body.replace(b'"outcome":"enriched"', b'"outcome":7'),
        lambda body: body.replace(b'"event_id":"', b'"event_id":"no uuid '),
        lambda body: body.replace(b'"L1"', b'"L\\u00001"'),
        lambda body: body.replace(b"+00:00", b""),
    ],
)
async def test_what_is_no_event_is_a_dead_letter(crm: Crm, change: Callable[[bytes], bytes]) -> None:
    """Nothing in the topic stops the CRM sync."""
    await crm.sync().handle(record(change(event(MARIA).value)))
    assert len(crm.letters.sent) == 1
    assert crm.c2s.messages == []


async def test_a_dead_letter_waits_for_the_broker(crm: Crm) -> None:
    """A record is not ended before its dead letter is acknowledged."""
    crm.letters.away = True
    with pytest.raises(TransientError):
        await crm.sync().handle(record(b"{}"))


@pytest.mark.parametrize("make", [event, google])
async def test_a_database_away_after_the_call_loses_nothing(crm: Crm, make: Callable[[Person], Any]) -> None:
    """How a call ended is written down when the database is back: no second message, no lead without its id."""
    crm.deliveries.failures = 3
    await crm.sync().handle(make(MARIA))
    await crm.sync().handle(make(MARIA))
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1
    assert await crm.unconfirmed() == []


async def test_nothing_is_written_while_the_database_is_away(crm: Crm, pool: asyncpg.Pool) -> None:
    """Without a claim no call is made."""
    await pool.close()
    with pytest.raises(DatabaseUnavailableError):
        await crm.sync().handle(event(MARIA))
    assert crm.c2s.counts == {}


async def test_a_message_in_the_crm_is_never_longer_than_it_takes(crm: Crm) -> None:
    """However much the sources say, 5,000 characters are written."""
    text = "X" * 4_000
    person = Person(
        CPF,
        text,
        None,
        None,
        text,
        Income("1.00"),
        text,
        None,
        (),
        (),
        ("x" * 250,) * 30,
        complete=True,
        source="work",
        fetched_at=NOW,
    )
    await crm.sync().handle(event(person))
    assert len(crm.c2s.messages[0]["body"]) == 5_000


async def test_unconfirmed_lists_what_somebody_must_look_at(crm: Crm, database_settings: Settings) -> None:
    """``crm-sync --unconfirmed --json`` prints one object with what, which lead, which event and since when."""
    crm.c2s.faults["c2s"] = Fault(status=500)
    await crm.sync().handle(event(MARIA))
    code, out, _ = await command("--json", url=database_settings.database_url.get_secret_value())
    assert code == 0
    (listed,) = orjson.loads(out)["unconfirmed"]
    assert (listed["kind"], listed["lead"], listed["status"]) == ("message", "L1", "unconfirmed")
    assert UUID(listed["event_id"])
    assert datetime.fromisoformat(listed["claimed_at"])


async def test_unconfirmed_says_when_the_database_is_away() -> None:
    """A command that can't ask says so in one line and exits with 1."""
    code, _, said = await command(url="postgresql://127.0.0.1:9/x")
    assert code == 1
    assert said.splitlines()[-1].startswith("crm-sync: database: ")


async def command(*options: str, url: str) -> tuple[int | None, str, str]:
    """Run ``crm-sync --unconfirmed``; gives its exit code, its output and what it said beside."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", "crm-sync", "--unconfirmed", *options),
        env={"PATH": os.environ["PATH"], "DATABASE_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await process.communicate()
    return process.returncode, out.decode(), said.decode()


async def die(crm: Crm, call: asyncio.Task[None]) -> None:
    """End a process in the middle of its call: nothing more is written down."""
    crm.deliveries.dead = True
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    crm.deliveries.dead = False


async def until_ended(sync: CrmSync, told: Any) -> None:
    """Handle a record as the loop does: what fails for now is tried again."""
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                return await sync.handle(told)
            except TransientError:
                await asyncio.sleep(0.02)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not holds():  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.01)
