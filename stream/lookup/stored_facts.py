"""Turns PostgreSQL's rows into facts about a contact, as far as their age allows.

Rule 1: a stored answer is valid for ``max_age`` if it named somebody, for ``unknown_for`` if it named nobody.
Rule 2: the ownership of an alias expires as well, because numbers are recycled. The CPF of a person never expires.
Rule 3: a stored record about another CPF than its row's is ignored.
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
        """Add what is stored under the contact's phone and e-mail. Answers that ``facts`` already has stay."""
        stored = await self._people.find(contact)
        for answer in stored.answers:
            if self._is_valid(answer):
                facts.answers.setdefault(answer.alias, answer.candidates)
        for alias in (contact.phone, contact.email):
            if alias is not None:
                facts.listed.setdefault(alias.alias, ())  # marks the alias as looked up, also without a row
        asked = {answer.alias: answer for answer in stored.answers}
        for row in stored.known:
            is_asked = not row.listed and self._still_owns(row, asked.get(row.alias))
            self._add(row, facts, listed=not is_asked)

    async def add_person(self, cpf: Cpf, candidate: Candidate, facts: ContactFacts) -> bool:
        """Add what is stored under a CPF. Return False if the Work API must be asked.

        It must not if the stored person is not stale. Nor if it had no answer lately: then the candidate is all there
        is.
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

    def _is_valid(self, answer: StoredAnswer) -> bool:
        lifetime = self._pricing.max_age if answer.candidates else self._pricing.unknown_for
        return self._now() - answer.asked_at < lifetime

    def _still_owns(self, row: StoredPerson, asked: StoredAnswer | None) -> bool:
        """Whether the row still proves that the alias is this person's.

        Its age counts from Diretrix's answer for the alias, else from the creation of the row (some updates of a row
        are our own). A later answer without this person ends the ownership.
        """
        stated_at = row.created_at
        if asked is not None and any(one.cpf == row.cpf for one in asked.candidates):
            stated_at = asked.asked_at
        elif asked is not None and asked.candidates and (stated_at is None or stated_at <= asked.asked_at):
            return False
        return stated_at is not None and self._now() - stated_at < self._pricing.max_age

    def _add(self, row: StoredPerson, facts: ContactFacts, *, listed: bool = False) -> None:
        if row.alias:
            by_alias = facts.listed if listed else facts.answers
            present = by_alias.get(row.alias, ())
            if all(one.cpf != row.cpf for one in present):
                by_alias[row.alias] = (*present, Candidate(name=row.name, cpf=row.cpf))
        if row.raw is None or row.enriched_at is None:
            return
        if is_other_person(row.raw, row.cpf):
            metrics.PARTNER_MISMATCH.labels(Provider.WORK, "stored").inc()
        elif row.cpf not in facts.persons or facts.persons[row.cpf].stale:
            person = person_from_work(row.raw, row.cpf, row.enriched_at)
            stale = must_refresh(row.enriched_at, self._now(), self._pricing.max_age)
            facts.persons[row.cpf] = known_person(person, stale=stale)


def add_candidate_only(cpf: Cpf, candidate: Candidate, facts: ContactFacts, now: datetime) -> None:
    """Add the candidate as the person of a CPF of which nothing more is known. Without a name the CPF is a dead end."""
    if candidate.name:
        facts.persons[cpf.digits] = known_person(person_from_candidate(candidate, now))
    else:
        facts.dead_ends.add(cpf.digits)
