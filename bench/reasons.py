"""The reason of a paid call: what the rule knew when it asked."""

from __future__ import annotations

from typing import Any, Protocol

from bench.peers import first_fit
from stream.domain import choice
from stream.domain.choice import Step
from stream.domain.contact_facts import ContactFacts
from stream.domain.events import Match
from stream.domain.identity import Contact, Email, Phone
from stream.domain.person import Candidate

FIRST_SEEN = "paid, first seen"
NOT_KNOWN = "paid, nobody knew the phone"
LISTED_WEAK = "paid, only listed and the name proves nothing"
LISTED_FITS = "paid, only listed although the name fits"
LISTED_DIFFERS = "paid, only listed beside another name"
PHONE_DIFFERS = "paid, the phone's people have other names"
PHONE_WEAK = "paid, the name proves nothing of the phone's person"
PHONE_AMBIGUOUS = "paid, the phone's people can't be told apart"
REASONS = (
    *(FIRST_SEEN, NOT_KNOWN, LISTED_FITS, LISTED_WEAK, LISTED_DIFFERS),
    *(PHONE_DIFFERS, PHONE_WEAK, PHONE_AMBIGUOUS),
)


class Policy(Protocol):
    """Decides the next step for a lead."""

    def __call__(self, contact: Contact, name: str, known: ContactFacts, **options: Any) -> Step: ...  # noqa: D102


def first_rule(contact: Contact, name: str, known: ContactFacts, **_: Any) -> Step:
    """The frozen first rule, with the project's steps."""
    step = first_fit.next_step(contact, name, known)
    match = None if getattr(step, "match", None) is None else Match(step.match)
    if isinstance(step, first_fit.Ask):
        return choice.Ask(step.alias)
    if isinstance(step, first_fit.Complete):
        return choice.Complete(Candidate(step.candidate.name, step.candidate.cpf), match)
    return choice.PersonFound(step.person, match) if isinstance(step, first_fit.PersonFound) else choice.NobodyKnows()


def why_asked(contact: Contact, name: str, known: ContactFacts, alias: Phone | Email, policy: Policy) -> str:
    """The reason why ``policy`` asks for ``alias``."""
    phone = contact.phone if isinstance(alias, Email) else None
    if phone is not None and known.answers.get(phone.alias):
        return _of_the_phone(policy(Contact(phone, None, None, contact.key), name, known))
    beside = [one for each in (alias, phone) if each is not None for one in known.listed.get(each.alias, ())]
    if beside:
        fits = {first_fit.fit(name, one.name) for one in beside}
        if first_fit.NO_NAME in fits or (first_fit.FITS in fits and len(first_fit.words(name)) == 1):
            return LISTED_WEAK
        return LISTED_FITS if first_fit.FITS in fits else LISTED_DIFFERS
    return NOT_KNOWN if phone is not None and phone.alias in known.answers else FIRST_SEEN


def _of_the_phone(alone: Step) -> str:
    """The result with the phone alone."""
    if hasattr(alone, "candidates"):
        return PHONE_AMBIGUOUS
    return PHONE_DIFFERS if getattr(alone, "match", None) is Match.NAME_DIFFERS else PHONE_WEAK
