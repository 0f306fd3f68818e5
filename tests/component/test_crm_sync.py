"""The CRM sync on a real PostgreSQL and a real HTTP server: what it writes, and that it writes the same facts once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from stream import topics
from stream.domain.errors import DatabaseUnavailableError, TransientError
from stream.domain.person import Income, Person
from stream.local.simulators import Fault
from tests.support.crm_rig import CPF, MARIA, NOW, PARTIAL, Crm, event, google, record, until_handled

pytestmark = pytest.mark.usefixtures("no_retry_pauses")


async def test_the_same_facts_are_written_to_a_lead_once(crm: Crm) -> None:
    """A repeated event, a replay after a restart and C2S's webhook about our own message write nothing more."""
    for sync in (crm.sync(), crm.sync()):
        await sync.handle(event(MARIA))
        await sync.handle(event(MARIA, updated_at="2026-02-01T00:00:00Z", hook_action="on_update_lead"))
    assert [one["lead"] for one in crm.c2s.messages] == ["L1"]
    assert "Renda: R$ 8.500,50 por mês" in crm.c2s.messages[0]["body"]
    assert await crm.unconfirmed() == []


async def test_two_processes_with_one_event_write_once(crm: Crm) -> None:
    """If several processes handle one event, as during a rebalance, C2S gets one message and one lead."""
    crm.c2s.faults["c2s"] = Fault(latency=0.05)
    await asyncio.gather(*(until_handled(crm.sync(), event(MARIA)) for _ in range(5)))
    await asyncio.gather(*(until_handled(crm.sync(), google(MARIA)) for _ in range(5)))
    assert len(crm.c2s.messages) == 1
    assert len(crm.c2s.leads) == 1


async def test_new_facts_are_a_second_message(crm: Crm) -> None:
    """Facts that the Work API adds to those of Diretrix are written as a second message."""
    sync = crm.sync()
    await sync.handle(event(PARTIAL))
    await sync.handle(event(MARIA))
    await sync.handle(event(PARTIAL))
    assert [one["lead"] for one in crm.c2s.messages] == ["L1", "L1"]


@pytest.mark.parametrize("outcome", ["not_found", "pending", "no_contact", "test"])
async def test_an_event_without_a_person_makes_no_call(crm: Crm, outcome: str) -> None:
    """An event without a person causes no call."""
    await crm.sync().handle(event(outcome=outcome))
    assert crm.c2s.counts == {}


async def test_nothing_found_is_written_once_if_configured(crm: Crm) -> None:
    """With CRM_NOTE_NOT_FOUND=true a lead of whom nothing was found gets one message."""
    for _ in range(2):
        await crm.sync(CRM_NOTE_NOT_FOUND="true").handle(event())
    assert ["nenhum dado" in one["body"] for one in crm.c2s.messages] == [True]


async def test_a_closed_lead_gets_no_message(crm: Crm) -> None:
    """An on_close_lead webhook causes no call."""
    await crm.sync().handle(event(MARIA, hook_action="on_close_lead"))
    assert crm.c2s.counts == {}


async def test_a_google_lead_is_created_with_its_person(crm: Crm) -> None:
    """The created lead has the configured fields and the person; C2S's webhook about it causes no message."""
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
async def test_a_person_found_later_is_one_message_to_the_created_lead(crm: Crm, outcome: str) -> None:
    """A Google lead is created at once; its person follows as one message, whichever webhook brings it first."""
    sync = crm.sync()
    await sync.handle(google(outcome=outcome))
    created = crm.c2s.leads[0]["id"]
    await sync.handle(event(MARIA, lead=created, hook_action="on_create_lead"))
    await sync.handle(google(MARIA))
    await sync.handle(google(outcome=outcome))
    assert len(crm.c2s.leads) == 1
    assert [one["lead"] for one in crm.c2s.messages] == [created]


async def test_a_test_lead_is_not_created(crm: Crm) -> None:
    """A test lead of Google never reaches the CRM."""
    await crm.sync().handle(google(MARIA, "test"))
    assert crm.c2s.counts == {}


@pytest.mark.parametrize("make", [event, google])
async def test_a_lead_that_the_crm_refuses_is_a_dead_letter(crm: Crm, make: Callable[[Person], Any]) -> None:
    """After a 4xx the record becomes a dead letter with its bytes and the reason; a redrive may succeed."""
    crm.c2s.faults["c2s"] = Fault(status=422)
    await crm.sync().handle(make(MARIA))
    topic, value, headers = crm.dead_letters.sent[0]
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
async def test_a_record_that_is_no_event_is_a_dead_letter(crm: Crm, change: Callable[[bytes], bytes]) -> None:
    """No record of the topic stops the CRM sync."""
    await crm.sync().handle(record(change(event(MARIA).value)))
    assert len(crm.dead_letters.sent) == 1
    assert crm.c2s.messages == []


async def test_a_dead_letter_waits_for_the_broker(crm: Crm) -> None:
    """A record is not completed before its dead letter is acknowledged."""
    crm.dead_letters.away = True
    with pytest.raises(TransientError):
        await crm.sync().handle(record(b"{}"))


async def test_no_call_is_made_while_the_database_is_away(crm: Crm, pool: asyncpg.Pool) -> None:
    """Without a claim no call is made."""
    await pool.close()
    with pytest.raises(DatabaseUnavailableError):
        await crm.sync().handle(event(MARIA))
    assert crm.c2s.counts == {}


async def test_a_message_has_at_most_5000_characters(crm: Crm) -> None:
    """A message is cut to 5,000 characters, the maximum of C2S."""
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
