"""Turns the Work API's answer for a CPF into facts, and into the write that stores it.

An answer about another CPF is neither used nor stored. The candidate is used instead, and the Work API is not asked for
the CPF again for a day.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from stream import metrics
from stream.domain.contact_facts import ContactFacts, known_person
from stream.domain.identity import Cpf, Email, Phone
from stream.domain.matching import Grade, compare
from stream.domain.person import Candidate, Person, is_other_person, person_from_work
from stream.domain.provider import Provider
from stream.lookup.ports import LookupRequest, PersonStore, PricingPolicy
from stream.lookup.stored_facts import add_candidate_only

MISMATCH_FOR = timedelta(days=1)  # a CPF whose answer was about another CPF is not asked for again meanwhile


class WorkAnswers:
    """Adds the Work API's answers to the facts about a contact."""

    def __init__(self, store: PersonStore, pricing: PricingPolicy) -> None:
        self._store = store
        self._pricing = pricing

    def add(  # noqa: PLR0913 - an answer, what was asked, and when
        self,
        raw: dict[str, Any] | None,
        cpf: Cpf,
        candidate: Candidate,
        request: LookupRequest,
        facts: ContactFacts,
        now: datetime,
    ) -> Callable[[], Awaitable[None]]:
        """Add what ``raw`` says about ``cpf`` to ``facts``; None means not known. Return the write that stores it."""
        if raw is None:
            add_candidate_only(cpf, candidate, facts, now)
            return partial(self._store.save_unanswered, cpf, "unknown", now + self._pricing.work_unknown_for)
        if is_other_person(raw, cpf.digits):
            metrics.PARTNER_MISMATCH.labels(Provider.WORK, "answer").inc()
            add_candidate_only(cpf, candidate, facts, now)
            return partial(self._store.save_unanswered, cpf, "mismatch", now + MISMATCH_FOR)
        person = person_from_work(raw, cpf.digits, now)
        facts.persons[cpf.digits] = known_person(person)
        proven = proven_aliases(request, person, facts)
        return partial(self._store.save_person, proven, person, raw, request.lead_id, now)


def proven_aliases(request: LookupRequest, person: Person, facts: ContactFacts) -> tuple[Phone | Email, ...]:
    """Return the lead's phone and e-mail, as far as the lead's name proves that they are the person's.

    Only these are stored with the person, because other services read them.
    """
    if compare(request.name, person.name).grade < Grade.COMPATIBLE:
        return ()
    contact = request.contact
    typed = (None if contact.area_code_assumed else contact.phone, contact.email)
    proven = []
    for alias in typed:
        owners = {one.cpf for one in facts.answers.get(alias.alias, ())} if alias is not None else set()
        if alias is not None and (not owners or person.cpf in owners):
            proven.append(alias)
    return tuple(proven)
