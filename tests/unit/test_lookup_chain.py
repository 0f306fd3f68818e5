"""The look-up chain on fakes of its ports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from stream import topics
from stream.domain.choice import PersonFound
from stream.domain.contact_facts import ContactFacts
from stream.domain.events import Outcome, Tier
from stream.domain.identity import Cpf, Email, Phone
from stream.domain.person import Candidate, Person
from tests.support.agent_rig import PARTITION, Worker
from tests.support.fake_rig import FakeRig
from tests.support.fakes import NOW, FakeDatabase, c2s_webhook
from tests.support.identity_scenarios import IDENTITY_SCENARIOS
from tests.support.lookup_rig import SOMEONE, Rig, contact, request, resolve
from tests.support.lookup_scenarios import CALL_SCENARIOS
from tests.support.waiting import LIMIT


@pytest.mark.parametrize("check", [*CALL_SCENARIOS, *IDENTITY_SCENARIOS], ids=lambda check: check.__name__)
async def test_lookup_chain_on_fakes(check: Callable[[Rig], Awaitable[None]]) -> None:
    """Each scenario holds on the fakes."""
    async with asyncio.timeout(LIMIT):
        await check(FakeRig())


class SlowStore:
    """A database that stores when the test says so. ``asked`` is set when something is to be stored."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database
        self.asked = asyncio.Event()
        self.finish = asyncio.Event()

    async def save_answer(self, alias: Phone | Email, candidates: tuple[Candidate, ...], asked_at: datetime) -> None:
        """Store an answer when told to."""
        self.asked.set()
        await self.finish.wait()
        await self._database.save_answer(alias, candidates, asked_at)

    async def save_unanswered(self, cpf: Cpf, reason: str, until: datetime) -> None:
        """Remember at once that a CPF brought nothing."""
        await self._database.save_unanswered(cpf, reason, until)

    async def save_person(
        self, aliases: tuple[Phone | Email, ...], person: Person, raw: dict[str, Any], lead_id: str, at: datetime
    ) -> None:
        """Store a person when told to."""
        self.asked.set()
        await self.finish.wait()
        await self._database.save_person(aliases, person, raw, lead_id, at)


@pytest.mark.parametrize("known_before", [True, False], ids=["the Work API's answer", "Diretrix's answer"])
async def test_a_deadline_does_not_lose_a_paid_answer(*, known_before: bool) -> None:
    """An answer whose storing is cancelled is stored, settled and returned to the caller."""
    rig = FakeRig()
    rig.know(SOMEONE)
    who = contact(SOMEONE, by="phone")
    if known_before:
        await rig.store.save_answer(
            Phone.parse(SOMEONE.phone), (Candidate(SOMEONE.name.upper(), SOMEONE.cpf),), rig.clock()
        )
    slow = SlowStore(rig.store)
    chain = rig.worker(store=slow)
    async with asyncio.timeout(LIMIT):
        result = await resolve(chain, request(who), deadline=0.3)
    assert slow.asked.is_set()
    assert isinstance(result.failure, TimeoutError)
    assert result.answer is None
    assert result.facts.persons if known_before else result.facts.answers
    assert result.calls.total() == 1
    slow.finish.set()
    async with asyncio.timeout(LIMIT):
        while "reserved" in await rig.statuses("diretrix") + await rig.statuses("work"):  # noqa: ASYNC110 - the fake has no event
            await asyncio.sleep(0)
    if known_before:
        assert rig.store.parties[SOMEONE.cpf][1] is not None
    else:
        assert rig.store.answers


async def test_a_cancelled_reservation_is_settled_as_free() -> None:
    """If the deadline comes while the row is written, no call is made."""
    rig = FakeRig()
    rig.know(SOMEONE)
    chain = rig.worker()
    ledger = rig.ledgers[-1]
    ledger.held.clear()
    result = await resolve(chain, request(contact(SOMEONE)), deadline=0.02)
    assert isinstance(result.failure, TimeoutError)
    ledger.held.set()
    await chain.wait_settled()
    assert await rig.statuses("diretrix") == ["free"]
    assert rig.calls("diretrix") == 0


async def test_a_look_up_does_not_change_the_facts_it_starts_from() -> None:
    """The result has the old and the new facts, also if only PostgreSQL was asked."""
    rig = FakeRig()
    rig.know(SOMEONE)
    who, facts = contact(SOMEONE, by="phone"), ContactFacts(dead_ends={"11144477735"})
    chain = rig.worker()
    learned = [(await chain.resolve(request(who), facts, LIMIT)).facts]
    recalled = await chain.resolve_from_postgres(request(who), facts)
    assert recalled is not None
    assert isinstance(recalled.answer, PersonFound)
    assert recalled.tier is Tier.POSTGRES
    for one in (*learned, recalled.facts):
        assert who.aliases[0] in one.answers
        assert SOMEONE.cpf in one.persons
        assert one.dead_ends == {"11144477735"}
    assert facts == ContactFacts(dead_ends={"11144477735"})


async def test_what_was_learned_and_paid_before_the_deadline_reaches_the_table_and_the_event() -> None:
    """The Work API is too slow: the parked webhook tells of both calls, and the table knows whose phone it is."""
    rig = FakeRig()
    rig.know(SOMEONE)
    rig.hold("work")
    worker = Worker(rig)
    worker.enricher._limits = replace(worker.enricher._limits, deadline=0.3)  # noqa: SLF001
    (event,) = await worker.receive(c2s_webhook(name=SOMEONE.name, phone=SOMEONE.phone))
    assert (event.outcome, event.parked, event.calls.diretrix, event.calls.work) == (Outcome.PENDING, True, 1, 1)
    (record,) = worker.producer.of(topics.RETRIES[0].name)
    assert ("reason", b"deadline") in record.headers
    phone = contact(SOMEONE, by="phone")
    facts = worker.cache.facts(PARTITION[1], phone, NOW.timestamp())
    assert [one.cpf for one in facts.answers[phone.aliases[0]]] == [SOMEONE.cpf]
    assert rig.calls("diretrix") == 1
