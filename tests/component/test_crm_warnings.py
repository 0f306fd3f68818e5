"""Warnings in the messages to the CRM, and their end, on a real PostgreSQL and a real HTTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid5

import aiohttp
import asyncpg
import orjson
import pytest
from aiokafka import ConsumerRecord

from stream import topics
from stream.crm.client import C2S
from stream.crm.sync import CrmSync
from stream.crm.writes import CrmWrites
from stream.domain.crm import NOTHING_FOUND
from stream.domain.events import NAMESPACE, decode_event
from stream.domain.person import Person, person_from_work
from stream.local.simulators import Simulators, serving
from stream.settings import load

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
ANA = person_from_work(
    {"DadosBasicos": {"nome": "ANA SOUZA"}, "DadosEconomicos": {"renda": "8500,50"}}, "52998224725", NOW
)
RELEASED = Path(__file__).parents[1] / "golden/released/events-2026-11.jsonl"


class Crm(NamedTuple):
    """A CRM sync, the CRM that it writes to, and its tables."""

    sync: CrmSync
    c2s: Simulators
    writes: CrmWrites

    def bodies(self) -> list[str]:
        """The messages so far."""
        return [one["body"] for one in self.c2s.messages]


class NoDeadLetters:
    """Stands in for the Kafka producer: a dead letter fails the test."""

    async def send_and_wait(self, *_: object, **__: object) -> None:
        """Fail."""
        pytest.fail("a dead letter was written")


@pytest.fixture
async def crm(pool: asyncpg.Pool) -> AsyncIterator[Crm]:
    simulators, writes = Simulators(scale=0.0), CrmWrites(pool)
    async with serving(simulators) as base, aiohttp.ClientSession() as session:
        settings = load({"C2S_BASE_URL": base, "CRM_NOTE_NOT_FOUND": "true"})
        yield Crm(CrmSync(C2S(session, settings), writes, NoDeadLetters(), settings), simulators, writes)  # type: ignore[arg-type]


def record(value: bytes) -> ConsumerRecord:
    return ConsumerRecord(topics.ENRICHED.name, 0, 0, 1_769_860_800_000, 0, b"k", value, None, 0, len(value), ())


def event(match: str | None, name: str, person: Person | None = ANA, **more: Any) -> ConsumerRecord:
    body = {
        "event_id": str(uuid5(NAMESPACE, f"{match}/{name}")),
        "revision": "r",
        "lead": {"source": "c2s", "id": "L1", "name": name},
        "contact": {"key": "+5511987654321", "phone": "+5511987654321", "email": None, "cpf": None},
        "outcome": "enriched",
        "match": match,
        "person": None if person is None else orjson.Fragment(person.encode()),
        "received_at": NOW,
        "emitted_at": NOW,
        **more,
    }
    return record(orjson.dumps(body))


@pytest.mark.parametrize(
    ("match", "name", "words"),
    [
        ("first_name", "Ana", 'apenas o primeiro nome ("Ana")'),
        ("first_name", "Ana Lima", "o sobrenome informado é outro"),
        ("name_differs", "Bruno Rocha", '("Bruno Rocha") difere do nome encontrado ("ANA SOUZA")'),
        ("name_differs", "Ana Souza Filha", "podem ser parentes"),
        ("no_name", "", "o lead não informou o nome"),
        ("first_name", "Ana Beatriz Souza", "segundo nome que não consta"),
        ("name_differs", "Ana Souza", "as fontes informam nomes diferentes"),
    ],
)
async def test_a_corrected_name_takes_the_warning_back(crm: Crm, match: str, name: str, words: str) -> None:
    """A warning is written once; after the name is corrected the same facts are written once without it."""
    for one in (event(match, name), event(match, name), event("name", "Ana Souza"), event("name", "Ana Souza")):
        await crm.sync.handle(one)
    warned, bare = crm.bodies()
    assert words in warned.splitlines()[1]
    assert warned.splitlines()[1].startswith("ATENÇÃO")
    assert "ATENÇÃO" not in bare


async def test_facts_written_without_a_warning_get_none_later(crm: Crm) -> None:
    """A later webhook with a shorter name causes no message about the same person."""
    for one in (event("name", "Ana Souza"), event("first_name", "Ana"), event("no_name", "")):
        await crm.sync.handle(one)
    assert len(crm.bodies()) == 1


async def test_the_message_of_an_ambiguous_lead_has_names_and_no_facts(crm: Crm) -> None:
    """The message has the possible names and how to decide, no CPF and no income; the person follows once known."""
    two = {"outcome": "ambiguous", "candidates": ["CARLOS SOUZA", "CARLOS SOUZA FILHO"]}
    for one in (event(None, "", None, **two), event(None, "", None, **two), event("name", "Ana Souza")):
        await crm.sync.handle(one)
    ambiguous, person = crm.bodies()
    assert ambiguous.splitlines() == [
        "Enriquecimento: mais de uma pessoa corresponde a este contato; nenhum dado foi anexado.",
        "Podem ser: Carlos Souza; Carlos Souza Filho.",
        "Para definir: complete o nome no lead (com Filho, Júnior ou Neto, se houver); a consulta será refeita.",
    ]
    assert person.startswith("DADOS DO CLIENTE")


async def test_a_replay_of_the_last_release_writes_nothing(crm: Crm) -> None:
    """The facts that the last release wrote count as written whatever their match, as warnings had no own key then."""
    events = [record(line) for line in RELEASED.read_bytes().splitlines()]
    for one in events:
        read = decode_event(one.value)
        facts = read.person.facts if read.person is not None else NOTHING_FOUND
        if read.lead.source == "google_ads" and await crm.writes.claim_lead(read.lead.source, read.lead.id):
            await crm.writes.mark_created(read.lead.source, read.lead.id, f"crm-{read.lead.id}", facts, read.event_id)
        target = f"crm-{read.lead.id}" if read.lead.source == "google_ads" else read.lead.id
        if await crm.writes.claim(target, facts, read.event_id):
            await crm.writes.mark(target, facts, "confirmed")
    for one in events:
        await crm.sync.handle(one)
    assert len(events) > 40
    assert (crm.c2s.messages, crm.c2s.leads) == ([], [])
