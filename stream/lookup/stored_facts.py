"""What PostgreSQL knows: its rows become facts about a contact, as far as their age allows.

Rule 1: a stored answer counts for ``max_age`` when it named somebody, for ``unknown_for`` when it named nobody.
Rule 2: that an alias is a person's own ages as well, because numbers are recycled; a person keeps the CPF for life.
Rule 3: a stored record of another CPF than its row's is no record.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from stream import metrics
from stream.domain.contact_facts import ContactFacts, known_person
from stream.domain.freshness import must_refresh
from stream.domain.identity import Contact, Cpf
from stream.domain.person import (
    Candidate,
    StoredAnswer,
    StoredPerson,
    is_other_person,
    person_from_candidate,
    person_from_work,
)
from stream.domain.provider import Provider
from stream.lookup.ports import PersonReader, PricingPolicy


class StoredFactsReader:
    """Adds what PostgreSQL knows to the facts about a contact. Raises DatabaseUnavailableError."""

    def __init__(self, people: PersonReader, pricing: PricingPolicy, now: Callable[[], datetime]) -> None:
        self._people = people
        self._pricing = pricing
        self._now = now

    async def add_contact(self, contact: Contact, facts: ContactFacts) -> None:
        """Add what is stored under the contact's phone and e-mail. An answer that ``facts`` has already stays."""
        stored = await self._people.find(contact)
        for answer in stored.answers:
            if self._is_good(answer):
                facts.answers.setdefault(answer.alias, answer.candidates)
        for alias in (contact.phone, contact.email):
            if alias is not None:
                facts.listed.setdefault(alias.alias, ())  # it was looked up, whatever there is
        asked = {answer.alias: answer for answer in stored.answers}
        for row in stored.known:
            is_asked = not row.listed and self._still_counts(row, asked.get(row.alias))
            self._add(row, facts, listed=not is_asked)

    async def add_person(self, cpf: Cpf, candidate: Candidate, facts: ContactFacts) -> bool:
        """Add what is stored under a CPF. False where the Work API can say more.

        It can't where it completed the person lately, or was asked in vain: then the candidate is all there is.
        """
        row = await self._people.find_by_cpf(cpf)
        if row is not None:
            self._add(row, facts)
            person = facts.persons.get(cpf.digits)
            if person is not None and not person.stale:
                return True
        if not await self._people.is_unanswered(cpf, self._now()):
            return False
        add_candidate_only(cpf, candidate, facts, self._now())
        return True

    def _is_good(self, answer: StoredAnswer) -> bool:
        good_for = self._pricing.max_age if answer.candidates else self._pricing.unknown_for
        return self._now() - answer.asked_at < good_for

    def _still_counts(self, row: StoredPerson, asked: StoredAnswer | None) -> bool:
        """Whether a source's word that an alias is this person's still counts.

        It ages by when Diretrix was asked for the alias, else by when the row was made (an update says nothing: some
        are our own). Whom a later answer leaves out is not the owner any more.
        """
        said_at = row.created_at
        if asked is not None and any(one.cpf == row.cpf for one in asked.candidates):
            said_at = asked.asked_at
        elif asked is not None and asked.candidates and (said_at is None or said_at <= asked.asked_at):
            return False
        return said_at is not None and self._now() - said_at < self._pricing.max_age

    def _add(self, row: StoredPerson, facts: ContactFacts, *, listed: bool = False) -> None:
        if row.alias:
            by_alias = facts.listed if listed else facts.answers
            there = by_alias.get(row.alias, ())
            if all(one.cpf != row.cpf for one in there):
                by_alias[row.alias] = (*there, Candidate(name=row.name, cpf=row.cpf))
        if row.raw is None or row.enriched_at is None:
            return
        if is_other_person(row.raw, row.cpf):
            metrics.PARTNER_MISMATCH.labels(Provider.WORK, "stored").inc()
        elif row.cpf not in facts.persons or facts.persons[row.cpf].stale:
            person = person_from_work(row.raw, row.cpf, row.enriched_at)
            stale = must_refresh(row.enriched_at, self._now(), self._pricing.max_age)
            facts.persons[row.cpf] = known_person(person, stale=stale)


def add_candidate_only(cpf: Cpf, candidate: Candidate, facts: ContactFacts, now: datetime) -> None:
    """No more than the candidate is to be had of a CPF; without a name, not even that."""
    if candidate.name:
        facts.persons[cpf.digits] = known_person(person_from_candidate(candidate, now))
    else:
        facts.dead_ends.add(cpf.digits)
