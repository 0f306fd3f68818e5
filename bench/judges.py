"""The rules that choose a lead's person, driven as the worker drives its own: first stored facts, then paid answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.corpus import Alias, Entry, Lead
from bench.families import Person
from bench.peers import first_fit, token_set
from bench.told_apart import Seen
from stream.domain import choice
from stream.domain.contact_facts import ContactFacts, KnownPerson
from stream.domain.identity import Contact, Cpf, Email, Phone
from stream.domain.person import Candidate

OURS, FIRST_FIT, TOKEN_SET = "this project", "the first that fits", "token-set ratio"
MOST_STEPS = 12  # two aliases, and every candidate once


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule said of a lead.

    ``cpf``: whose it is, "" for nobody. ``match``: with which warning ("name" or None: without one). ``candidates``:
    how many were named as possible. ``asked``: calls that it took. ``seen``: whom the
    rule knew of, by CPF. ``ended``: False where the rule wants the same again and again, which a worker would do until
    its deadline.
    """

    cpf: str
    match: str | None
    candidates: int
    asked: int
    seen: dict[str, Seen]
    ended: bool = True


@dataclass(frozen=True, slots=True)
class Judge:
    """A rule. ``silent``: the matches without a warning."""

    name: str
    next_step: Callable[[Any, str, Any], Any]
    silent: frozenset[str | None]


JUDGES = (
    Judge(OURS, choice.next_step, frozenset({"name", None})),
    # Its messages in the CRM say nothing of a lead without a name.
    Judge(FIRST_FIT, first_fit.next_step, frozenset({"name", "no_name", None})),
    Judge(TOKEN_SET, token_set.next_step, frozenset({"name"})),
)


def decide(judge: Judge, lead: Lead) -> Verdict:
    """Let a rule answer one lead."""
    contact, known = contact_of(lead), facts_of(lead)
    asked = 0
    for _ in range(MOST_STEPS):
        step = judge.next_step(contact, lead.typed.text, known)
        if hasattr(step, "alias"):
            asked += 1
            alias = lead.phone if isinstance(step.alias, Phone) else lead.email
            assert alias is not None
            known.answers[step.alias.alias] = candidates(alias.asked)
        elif hasattr(step, "candidate"):
            _complete(step.candidate, lead, known)
        else:
            person, match = getattr(step, "person", None), getattr(step, "match", None)
            cpf = person.cpf if person is not None else ""
            named = len(getattr(step, "candidates", ()))
            return Verdict(cpf, None if match is None else str(match), named, asked, _seen(lead, known))
    return Verdict("", None, 0, asked, _seen(lead, known), ended=False)


def _seen(lead: Lead, known: ContactFacts) -> dict[str, Seen]:
    """The people whom the rule knew, with all their names."""
    aliases: Counter[str] = Counter()
    names: dict[str, list[Person]] = {cpf: [lead.people[cpf]] for cpf in known.persons if cpf not in lead.unknown}
    for alias in lead.aliases:
        entries = (*(alias.asked if _key(alias) in known.answers else ()), *alias.listed)
        aliases.update({one.cpf for one in entries})
        for one in entries:
            names.setdefault(one.cpf, []).extend([one.named] if one.named is not None else [])
    return {cpf: Seen(lead.people[cpf], tuple(some), aliases[cpf]) for cpf, some in names.items()}


def contact_of(lead: Lead) -> Contact:
    """The lead as the worker would read it."""
    phone = Phone(lead.phone.value) if lead.phone is not None else None
    email = Email(lead.email.value) if lead.email is not None else None
    key = phone.e164 if phone is not None else email.address if email is not None else lead.cpf
    return Contact(phone, email, Cpf(lead.cpf) if lead.cpf else None, key)


def facts_of(lead: Lead) -> ContactFacts:
    """What PostgreSQL knows before any call: stored answers, and the people beside whom an alias was listed."""
    known = ContactFacts(answers={}, listed={}, persons={}, dead_ends=set())
    for alias in lead.aliases:
        key = _key(alias)
        if alias.stored:
            known.answers[key] = candidates(alias.asked)
        if alias.listed:
            known.listed[key] = candidates(alias.listed)
            for entry in alias.listed:
                known.persons[entry.cpf] = _person(entry.cpf, lead.people[entry.cpf].name)
    return known


def candidates(entries: tuple[Entry, ...]) -> tuple[Candidate, ...]:
    """The candidates that Diretrix names."""
    return tuple(Candidate(name=one.name, cpf=one.cpf) for one in entries)


def _complete(candidate: Any, lead: Lead, known: ContactFacts) -> None:
    """The Work API's answer for the CPF, or the candidate if it does not know the CPF."""
    if candidate.cpf not in lead.unknown:
        known.persons[candidate.cpf] = _person(candidate.cpf, lead.people[candidate.cpf].name)
    elif candidate.name:
        known.persons[candidate.cpf] = _person(candidate.cpf, candidate.name)
    else:
        known.dead_ends.add(candidate.cpf)


def _person(cpf: str, name: str) -> KnownPerson:
    return KnownPerson(cpf=cpf, name=name.upper(), person=b"{}", facts="", complete=True, fetched_at=0.0)


def _key(alias: Alias) -> str:
    return ("e:" if "@" in alias.value else "p:") + alias.value
