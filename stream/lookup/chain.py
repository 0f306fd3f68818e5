"""The ladder: table, PostgreSQL, Diretrix, Work API, in order of what they cost.

``Ladder.climb`` asks the policy (``domain.choice``) what comes next and does it, until the lead is
answered. Its rungs are ports: the same ladder runs on fakes and on the real ones. What was paid for is
stored before anything else is asked, so that no failure can make us pay for it again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from stream import metrics
from stream.domain.choice import Answered, Ask, Complete, next_step
from stream.domain.contact_facts import ContactFacts, known_person
from stream.domain.errors import Billed, DatabaseUnavailableError, RefusedError, TransientError
from stream.domain.events import Tier
from stream.domain.freshness import must_refresh
from stream.domain.identity import Contact, Cpf, Email, Phone
from stream.domain.matching import Grade, compare
from stream.domain.person import (
    Candidate,
    Person,
    StoredAnswer,
    StoredFacts,
    StoredPerson,
    is_of_another,
    person_from_candidate,
    person_from_work,
)
from stream.domain.provider import CallStatus, Provider, ProviderSpec
from stream.store.pending_writes import PendingWrites

STATUSES = {Billed.NO: CallStatus.FREE, Billed.UNSURE: CallStatus.UNSURE}  # of a call that failed
MISMATCH_FOR = timedelta(days=1)  # how long a CPF is not asked for again for which another's record came back


class People(Protocol):
    """Tier 2: who is known in PostgreSQL."""

    async def find(self, contact: Contact) -> StoredFacts: ...  # noqa: D102
    async def find_by_cpf(self, cpf: Cpf) -> StoredPerson | None: ...  # noqa: D102
    async def is_unanswered(self, cpf: Cpf, now: datetime) -> bool: ...  # noqa: D102 - the Work API was asked in vain


Reserve = Callable[[], Awaitable[None]]


class Directory(Protocol):
    """Tier 3: Diretrix, billed per call. ``check`` raises while it is not to be asked: that is no call to book.

    ``reserve`` writes the intent of the call; it must be awaited right before each request, which must not go out when
    it raises.
    """

    def check(self) -> None: ...  # noqa: D102
    async def by_phone(self, phone: Phone, reserve: Reserve) -> tuple[Candidate, ...]: ...  # noqa: D102
    async def by_email(self, email: Email, reserve: Reserve) -> tuple[Candidate, ...]: ...  # noqa: D102


class Completer(Protocol):
    """The Work API: a CPF becomes a person, or None where it is not known. ``check`` and ``reserve`` as above."""

    def check(self) -> None: ...  # noqa: D102
    async def by_cpf(self, cpf: Cpf, reserve: Reserve) -> dict[str, Any] | None: ...  # noqa: D102


class Books(Protocol):
    """The ledger of calls, and the lease that keeps two workers off one CPF.

    ``check`` raises where a source was refused a moment ago: it needs no turn at the partner to be refused again.
    """

    def check(self, provider: Provider, source: str) -> None: ...  # noqa: D102
    async def reserve(  # noqa: D102, PLR0913
        self, provider: Provider, kind: str, alias: str, event_id: str, source: str, price: Decimal, budget: int | None
    ) -> UUID: ...
    async def settle(self, call: UUID, status: CallStatus) -> None: ...  # noqa: D102
    async def take_lease(self, cpf: str, seconds: float) -> bool: ...  # noqa: D102
    async def drop_lease(self, cpf: str) -> None: ...  # noqa: D102


class Shelf(Protocol):
    """Where answers and people are stored."""

    async def save_answer(  # noqa: D102
        self, alias: Phone | Email, candidates: tuple[Candidate, ...], asked_at: datetime
    ) -> None: ...
    async def save_person(  # noqa: D102
        self, aliases: tuple[Phone | Email, ...], person: Person, raw: dict[str, Any], lead_id: str, at: datetime
    ) -> None: ...
    async def save_unanswered(self, cpf: Cpf, reason: str, until: datetime) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Terms:
    """What a call costs and how long what it brought is good."""

    providers: Mapping[Provider, ProviderSpec]
    max_age: timedelta
    unknown_for: timedelta
    work_unknown_for: timedelta
    lease: float  # seconds a lease outlives its holder


@dataclass(slots=True)
class Question:
    """One lead that needs an answer, and what its calls came to."""

    contact: Contact
    name: str
    lead_id: str
    source: str
    event_id: str
    calls: Counter[Provider] = field(default_factory=Counter)
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
        self._pending = PendingWrites()  # what the database did not take

    async def climb(self, question: Question, known: ContactFacts) -> Answered:
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
                case _:
                    return step

    async def recall(self, question: Question, known: ContactFacts) -> Answered | None:
        """Answer from what PostgreSQL knows; None where a partner would have to be asked. Raises TransientError."""
        await self._recall(question, known)
        step = next_step(question.contact, question.name, known)
        while isinstance(step, Complete) and await self._recall_person(Cpf(step.candidate.cpf), step.candidate, known):
            step = next_step(question.contact, question.name, known)
        return step if isinstance(step, Answered) else None

    async def settled(self) -> None:
        """Wait until what was paid for is stored and every call that ended is in the books."""
        while self._closing or self._pending:
            await self._pending.all_stored()
            if self._closing:
                await asyncio.wait(set(self._closing))

    async def _recall(self, question: Question, known: ContactFacts) -> None:
        """Tier 2: add what PostgreSQL knows of the contact."""
        question.tier = Tier.POSTGRES
        stored = await self._people.find(question.contact)
        now = self._now()
        for answer in stored.answers:
            good_for = self._terms.max_age if answer.candidates else self._terms.unknown_for
            if now - answer.asked_at < good_for:
                known.answers.setdefault(answer.alias, answer.candidates)
        for alias in (question.contact.phone, question.contact.email):
            if alias is not None:
                known.listed.setdefault(alias.alias, ())  # it was looked up, whatever there is
        asked = {answer.alias: answer for answer in stored.answers}
        for row in stored.known:
            is_asked = not row.listed and self._still_counts(row, asked.get(row.alias))
            self._learn(row, known, listed=not is_asked)

    def _still_counts(self, row: StoredPerson, asked: StoredAnswer | None) -> bool:
        """Whether a source's word that an alias is this person's still counts: numbers are recycled.

        It ages by when Diretrix was asked for the alias, else by when the row was made (an update says nothing: some
        are our own). Whom a later answer leaves out is not the owner any more.
        """
        said_at = row.created_at
        if asked is not None and any(one.cpf == row.cpf for one in asked.candidates):
            said_at = asked.asked_at
        elif asked is not None and asked.candidates and (said_at is None or said_at <= asked.asked_at):
            return False
        return said_at is not None and self._now() - said_at < self._terms.max_age

    def _learn(self, row: StoredPerson, known: ContactFacts, *, listed: bool = False) -> None:
        candidate = Candidate(name=row.name, cpf=row.cpf)
        if row.alias:
            shelf = known.listed if listed else known.answers
            there = shelf.get(row.alias, ())
            if all(one.cpf != row.cpf for one in there):
                shelf[row.alias] = (*there, candidate)
        if row.raw is None or row.enriched_at is None:
            return
        if is_of_another(row.raw, row.cpf):
            metrics.PARTNER_MISMATCH.labels(Provider.WORK, "stored").inc()
        elif row.cpf not in known.persons or known.persons[row.cpf].stale:
            person = person_from_work(row.raw, row.cpf, row.enriched_at)
            stale = must_refresh(row.enriched_at, self._now(), self._terms.max_age)
            known.persons[row.cpf] = known_person(person, stale=stale)

    async def _ask(self, question: Question, alias: Phone | Email, known: ContactFacts) -> None:
        """Tier 3: pay for one alias, once, and store the answer before anything else."""
        question.tier = Tier.DIRETRIX
        kind = "phone" if isinstance(alias, Phone) else "email"
        self._diretrix.check()
        async with self._booked(Provider.DIRETRIX, kind, alias.alias, question) as booked:
            if isinstance(alias, Phone):
                candidates = await self._diretrix.by_phone(alias, booked.reserve)
            else:
                candidates = await self._diretrix.by_email(alias, booked.reserve)
            booked.status = CallStatus.PAID if candidates else CallStatus.FREE
            known.answers[alias.alias] = candidates
            booked.store = partial(self._shelf.save_answer, alias, candidates, self._now())

    async def _complete(self, question: Question, candidate: Candidate, known: ContactFacts) -> None:
        """A CPF becomes a person: from PostgreSQL, else from the Work API, one call a CPF in the fleet."""
        cpf = Cpf(candidate.cpf)
        if not await self._recall_person(cpf, candidate, known):
            if question.contact.cpf == cpf and question.tier is Tier.POSTGRES:
                question.tier = Tier.FORM
            self._work.check()
            async with self._lease(cpf):
                # Another worker may have completed it while we waited for the lease.
                if not await self._recall_person(cpf, candidate, known):
                    await self._ask_work(question, cpf, candidate, known)

    async def _recall_person(self, cpf: Cpf, candidate: Candidate, known: ContactFacts) -> bool:
        """Whether PostgreSQL says all that can be had of a CPF now; the Work API may have been asked in vain."""
        row = await self._people.find_by_cpf(cpf)
        if row is not None:
            self._learn(row, known)
            person = known.persons.get(cpf.digits)
            if person is not None and not person.stale:
                return True
        if not await self._people.is_unanswered(cpf, self._now()):
            return False
        self._leave_incomplete(cpf, candidate, known)
        return True

    def _leave_incomplete(self, cpf: Cpf, candidate: Candidate, known: ContactFacts) -> None:
        """No more than the candidate is to be had; without a name, not even that."""
        if candidate.name:
            known.persons[cpf.digits] = known_person(person_from_candidate(candidate, self._now()))
        else:
            known.dead_ends.add(cpf.digits)

    async def _ask_work(self, question: Question, cpf: Cpf, candidate: Candidate, known: ContactFacts) -> None:
        async with self._booked(Provider.WORK, "cpf", cpf.alias, question) as booked:
            raw = await self._work.by_cpf(cpf, booked.reserve)
            booked.status = CallStatus.PAID if raw is not None else CallStatus.FREE
            now = self._now()
            if raw is None:
                self._leave_incomplete(cpf, candidate, known)
                until = now + self._terms.work_unknown_for
                booked.store = partial(self._shelf.save_unanswered, cpf, "unknown", until)
            elif is_of_another(raw, cpf.digits):
                metrics.PARTNER_MISMATCH.labels(Provider.WORK, "answer").inc()
                self._leave_incomplete(cpf, candidate, known)
                booked.store = partial(self._shelf.save_unanswered, cpf, "mismatch", now + MISMATCH_FOR)
            else:
                person = person_from_work(raw, cpf.digits, now)
                known.persons[cpf.digits] = known_person(person)
                proven = proven_aliases(question, person, known)
                booked.store = partial(self._shelf.save_person, proven, person, raw, question.lead_id, now)

    @asynccontextmanager
    async def _booked(self, provider: Provider, kind: str, alias: str, question: Question) -> AsyncIterator[_Booked]:
        """One call. Its intent is written by ``reserve`` of what this gives, which the partner awaits before it asks.

        However it ends, what it brought is stored and its end is written. A call that was not reserved was not made:
        nothing is written of it.
        """
        self._must_have_stored(alias)
        self._books.check(provider, question.source)
        booked = _Booked(partial(self._reserve, provider, kind, alias, question))
        try:
            yield booked
        except (TransientError, RefusedError) as error:
            booked.status = STATUSES.get(getattr(error, "billed", Billed.UNSURE), CallStatus.UNSURE)
            raise
        finally:
            if booked.call is not None:
                question.calls[provider] += booked.status != CallStatus.FREE
                await self._to_its_end(self._close(booked.call, booked, alias), alias)

    def _must_have_stored(self, alias: str) -> None:
        """Raise while the database owes us what was paid for: the same answer, or very much of it."""
        if alias in self._pending or self._pending.is_enough:
            raise DatabaseUnavailableError("database: what was paid for waits to be stored")

    async def _reserve(self, provider: Provider, kind: str, alias: str, question: Question) -> UUID:
        """Write the intent of a call."""
        self._must_have_stored(alias)  # others were answered while this one waited for its turn
        spec = self._terms.providers[provider]
        reserving = self._books.reserve(
            provider, kind, alias, question.event_id, question.source, spec.price, spec.daily_budget
        )
        return await self._or_given_back(asyncio.ensure_future(reserving), alias)

    async def _or_given_back(self, reserving: asyncio.Future[UUID], alias: str) -> UUID:
        """A reservation; when the look-up is cancelled while it is written, it is given back: no call was made."""
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:
            self._begin(self._give_back(reserving), alias)
            raise

    async def _give_back(self, reserving: asyncio.Future[UUID]) -> None:
        call = await reserving
        await self._pending.write("", partial(self._books.settle, call, CallStatus.FREE))

    async def _close(self, call: UUID, booked: _Booked, alias: str) -> None:
        """Store and settle; what the database does not take now is kept until it does."""
        try:
            if booked.store is not None:
                await self._pending.write(alias, booked.store)
        finally:
            await self._pending.write(alias, partial(self._books.settle, call, booked.status))

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
            # Else the look-up was cancelled and is over its time already, or the database is away.
            wait = not storing and cpf.alias not in self._pending
            dropping = self._begin(self._drop_lease(cpf, storing), "")
            if wait:
                await asyncio.shield(dropping)

    async def _drop_lease(self, cpf: Cpf, storing: list[asyncio.Task[None]]) -> None:
        """Give the CPF back when what was learned of it is stored: who takes it next must find that."""
        if storing:
            await asyncio.wait(storing)
        await self._pending.stored(cpf.alias)
        await self._books.drop_lease(cpf.digits)


def proven_aliases(question: Question, person: Person, known: ContactFacts) -> tuple[Phone | Email, ...]:
    """Phone and e-mail that a lead's name proves to be the person's: other services read what is stored."""
    if compare(question.name, person.name).grade < Grade.COMPATIBLE:
        return ()
    contact = question.contact
    typed = (None if contact.area_code_assumed else contact.phone, contact.email)
    proven = []
    for alias in typed:
        owners = {one.cpf for one in known.answers.get(alias.alias, ())} if alias is not None else set()
        if alias is not None and (not owners or person.cpf in owners):
            proven.append(alias)
    return tuple(proven)


@dataclass(slots=True)
class _Booked:
    """A call and its row in the ledger; ``call`` is None until it is reserved."""

    write_intent: Callable[[], Awaitable[UUID]]
    call: UUID | None = None
    status: CallStatus = CallStatus.UNSURE
    store: Callable[[], Awaitable[None]] | None = None

    async def reserve(self) -> None:
        """Write the intent, once: what was certainly not carried out is tried again under the same row."""
        if self.call is None:
            self.call = await self.write_intent()
