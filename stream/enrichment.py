"""The ladder: table, PostgreSQL, Diretrix, Work API, in order of what they cost.

``Ladder.climb`` asks the policy (``domain.choice``) what comes next and does it, until the lead is
answered. Its rungs are ports: the same ladder runs on fakes and on the real ones. What was paid for is
stored before anything else is asked, so that no failure can make us pay for it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from stream.domain.choice import Ask, Complete, Found, Knowledge, KnownPerson, NobodyKnows, next_step
from stream.domain.errors import RefusedError, TransientError
from stream.domain.events import Tier
from stream.domain.freshness import must_refresh
from stream.domain.identity import Contact, Cpf, Email, Phone
from stream.domain.person import Candidate, Known, Person, person_from_candidate, person_from_work
from stream.domain.person import Found as Stored


class People(Protocol):
    """Tier 2: who is known in PostgreSQL."""

    async def find(self, contact: Contact) -> Stored: ...  # noqa: D102
    async def find_by_cpf(self, cpf: Cpf) -> Known | None: ...  # noqa: D102


class Directory(Protocol):
    """Tier 3: Diretrix, billed per call. ``check`` raises while it is not to be asked: that is no call to book."""

    def check(self) -> None: ...  # noqa: D102
    async def by_phone(self, phone: Phone) -> tuple[Candidate, ...]: ...  # noqa: D102
    async def by_email(self, email: Email) -> tuple[Candidate, ...]: ...  # noqa: D102


class Completer(Protocol):
    """The Work API: a CPF becomes a person, or None where it is not known. ``check`` as above."""

    def check(self) -> None: ...  # noqa: D102
    async def by_cpf(self, cpf: Cpf) -> dict[str, Any] | None: ...  # noqa: D102


class Books(Protocol):
    """The ledger of calls, and the lease that keeps two workers off one CPF."""

    async def reserve(  # noqa: D102, PLR0913
        self, provider: str, kind: str, alias: str, event_id: str, source: str, price: Decimal, budget: int | None
    ) -> UUID: ...
    async def settle(self, call: UUID, status: str) -> None: ...  # noqa: D102
    async def take_lease(self, cpf: str, seconds: float) -> bool: ...  # noqa: D102
    async def drop_lease(self, cpf: str) -> None: ...  # noqa: D102


class Shelf(Protocol):
    """Where answers and people are stored."""

    async def save_answer(  # noqa: D102
        self, alias: Phone | Email, candidates: tuple[Candidate, ...], asked_at: datetime
    ) -> None: ...
    async def save_person(  # noqa: D102
        self, contact: Contact, person: Person, raw: dict[str, Any], lead_id: str, at: datetime
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """What a call costs and how long what it brought is good."""

    diretrix_price: Decimal
    diretrix_budget: int | None
    work_price: Decimal
    work_budget: int | None
    max_age: timedelta
    unknown_for: timedelta
    lease: float  # seconds a lease outlives its holder


@dataclass(slots=True)
class Question:
    """One lead that needs an answer, and what its calls came to."""

    contact: Contact
    name: str
    lead_id: str
    source: str
    event_id: str
    diretrix_calls: int = 0
    work_calls: int = 0
    tier: Tier = Tier.CACHE


class Ladder:
    """Climbs from what is known to what must be paid for."""

    def __init__(  # noqa: PLR0913 - one argument a rung
        self,
        people: People,
        diretrix: Directory,
        work: Completer,
        books: Books,
        shelf: Shelf,
        terms: Terms,
        now: Callable[[], datetime],
    ) -> None:
        self._people = people
        self._diretrix = diretrix
        self._work = work
        self._books = books
        self._shelf = shelf
        self._terms = terms
        self._now = now
        self._closing: dict[asyncio.Task[None], str] = {}  # what is being stored and booked, with its alias

    async def climb(self, question: Question, known: Knowledge) -> Found | NobodyKnows:
        """Answer ``question``; ``known`` grows on the way and is worth keeping even when this raises.

        Raises TransientError (park the webhook) or RefusedError (a partner refuses us).
        """
        await self._recall(question, known)
        while True:
            step = next_step(question.contact, question.name, known)
            match step:
                case Ask():
                    await self._ask(question, step.alias, known)
                case Complete():
                    await self._complete(question, step.candidate, known)
                case Found() | NobodyKnows():
                    return step

    async def recall(self, question: Question, known: Knowledge) -> Found | NobodyKnows | None:
        """Answer from what PostgreSQL knows; None where a partner would have to be asked. Raises TransientError."""
        await self._recall(question, known)
        step = next_step(question.contact, question.name, known)
        while isinstance(step, Complete) and await self._recall_person(Cpf(step.candidate.cpf), known):
            step = next_step(question.contact, question.name, known)
        return step if isinstance(step, Found | NobodyKnows) else None

    async def settled(self) -> None:
        """Wait until what was paid for is stored and every call that ended is in the books."""
        while self._closing:
            await asyncio.wait(set(self._closing))

    async def _recall(self, question: Question, known: Knowledge) -> None:
        """Tier 2: add what PostgreSQL knows of the contact."""
        question.tier = Tier.POSTGRES
        stored = await self._people.find(question.contact)
        now = self._now()
        for answer in stored.answers:
            good_for = self._terms.max_age if answer.candidates else self._terms.unknown_for
            if now - answer.asked_at < good_for:
                known.answers.setdefault(answer.alias, answer.candidates)
        for person in stored.known:
            self._learn(person, known)

    def _learn(self, row: Known, known: Knowledge) -> None:
        candidate = Candidate(name=row.name, cpf=row.cpf)
        if row.alias:
            shelf = known.listed if row.listed else known.answers
            there = shelf.get(row.alias, ())
            if all(one.cpf != row.cpf for one in there):
                shelf[row.alias] = (*there, candidate)
        if row.raw is not None and row.enriched_at is not None and row.cpf not in known.persons:
            person = person_from_work(row.raw, row.cpf, row.enriched_at)
            stale = must_refresh(row.enriched_at, self._now(), self._terms.max_age)
            known.persons[row.cpf] = known_person(person, stale=stale)

    async def _ask(self, question: Question, alias: Phone | Email, known: Knowledge) -> None:
        """Tier 3: pay for one alias, once, and store the answer before anything else."""
        question.tier = Tier.DIRETRIX
        kind = "phone" if isinstance(alias, Phone) else "email"
        self._diretrix.check()
        async with self._booked("diretrix", kind, alias.alias, question) as booked:
            if isinstance(alias, Phone):
                candidates = await self._diretrix.by_phone(alias)
            else:
                candidates = await self._diretrix.by_email(alias)
            booked.status = "paid" if candidates else "free"
            known.answers[alias.alias] = candidates
            booked.store = partial(self._shelf.save_answer, alias, candidates, self._now())

    async def _complete(self, question: Question, candidate: Candidate, known: Knowledge) -> None:
        """A CPF becomes a person: from PostgreSQL, else from the Work API, one call a CPF in the fleet."""
        cpf = Cpf(candidate.cpf)
        if not await self._recall_person(cpf, known):
            if question.contact.cpf == cpf and question.tier is Tier.POSTGRES:
                question.tier = Tier.FORM
            self._work.check()
            async with self._lease(cpf):
                # Another worker may have completed it while we waited for the lease.
                if not await self._recall_person(cpf, known):
                    await self._ask_work(question, cpf, candidate, known)

    async def _recall_person(self, cpf: Cpf, known: Knowledge) -> bool:
        row = await self._people.find_by_cpf(cpf)
        if row is None:
            return False
        self._learn(row, known)
        person = known.persons.get(cpf.digits)
        return person is not None and not person.stale

    async def _ask_work(self, question: Question, cpf: Cpf, candidate: Candidate, known: Knowledge) -> None:
        async with self._booked("work", "cpf", cpf.alias, question) as booked:
            raw = await self._work.by_cpf(cpf)
            booked.status = "paid" if raw is not None else "free"
            now = self._now()
            if raw is not None:
                person = person_from_work(raw, cpf.digits, now)
                known.persons[cpf.digits] = known_person(person)
                booked.store = partial(self._shelf.save_person, question.contact, person, raw, question.lead_id, now)
            elif candidate.name:
                known.persons[cpf.digits] = known_person(person_from_candidate(candidate, now))
            else:
                known.dead_ends.add(cpf.digits)

    @asynccontextmanager
    async def _booked(self, provider: str, kind: str, alias: str, question: Question) -> AsyncIterator[_Booked]:
        """Write the intent before a call; store what it brought and write how it ended, whatever happens in between."""
        terms, is_diretrix = self._terms, provider == "diretrix"
        price = terms.diretrix_price if is_diretrix else terms.work_price
        budget = terms.diretrix_budget if is_diretrix else terms.work_budget
        reserving = self._books.reserve(provider, kind, alias, question.event_id, question.source, price, budget)
        call = await self._or_given_back(asyncio.ensure_future(reserving), alias)
        booked = _Booked()
        try:
            yield booked
        except (TransientError, RefusedError) as error:
            booked.status = {"no": "free", "yes": "paid"}.get(getattr(error, "billed", "unsure"), "unsure")
            raise
        finally:
            billed = int(booked.status != "free")
            question.diretrix_calls += billed if is_diretrix else 0
            question.work_calls += 0 if is_diretrix else billed
            await self._to_its_end(self._close(call, booked), alias)

    async def _or_given_back(self, reserving: asyncio.Future[UUID], alias: str) -> UUID:
        """A reservation; when the look-up is cancelled while it is written, it is given back: no call was made."""
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:
            self._begin(self._give_back(reserving), alias)
            raise

    async def _give_back(self, reserving: asyncio.Future[UUID]) -> None:
        await self._books.settle(await reserving, "free")

    async def _close(self, call: UUID, booked: _Booked) -> None:
        try:
            if booked.store is not None:
                await booked.store()
        finally:
            await self._books.settle(call, booked.status)

    async def _to_its_end(self, work: Coroutine[Any, Any, None], alias: str) -> None:
        """Carry ``work`` out although the look-up is cancelled by its deadline: what was paid for is stored."""
        await asyncio.shield(self._begin(work, alias))

    def _begin(self, work: Coroutine[Any, Any, None], alias: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._closing[task] = alias
        task.add_done_callback(self._closed)
        return task

    def _closed(self, task: asyncio.Task[None]) -> None:
        del self._closing[task]
        if not task.cancelled():
            task.exception()  # told to the look-up, if that still waits; nobody is left to hear it otherwise

    @asynccontextmanager
    async def _lease(self, cpf: Cpf) -> AsyncIterator[None]:
        """Hold the CPF; wait while another worker does. The deadline of the look-up ends the wait."""
        while not await self._books.take_lease(cpf.digits, self._terms.lease):  # noqa: ASYNC110 - another process has it
            await asyncio.sleep(0.2)
        try:
            yield
        finally:
            storing = [task for task, alias in self._closing.items() if alias == cpf.alias]
            dropping = self._begin(self._drop_lease(cpf, storing), "")
            if not storing:  # else the look-up was cancelled and is over its time already
                await asyncio.shield(dropping)

    async def _drop_lease(self, cpf: Cpf, storing: list[asyncio.Task[None]]) -> None:
        """Give the CPF back when what was learned of it is stored: who takes it next must find that."""
        if storing:
            await asyncio.wait(storing)
        await self._books.drop_lease(cpf.digits)


@dataclass(slots=True)
class _Booked:
    status: str = "unsure"
    store: Callable[[], Awaitable[None]] | None = None


def known_person(person: Person, *, stale: bool = False) -> KnownPerson:
    """A person as the policy and the table carry it."""
    return KnownPerson(
        cpf=person.cpf,
        name=person.name,
        person=person.encode(),
        facts=person.facts,
        complete=person.complete,
        fetched_at=person.fetched_at.timestamp(),
        stale=stale,
    )
