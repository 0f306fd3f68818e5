"""Who is this lead? The policy of the ladder: from what is known, what to do next.

The same pure function serves the table, PostgreSQL and the partners: each rung of the ladder adds to the
knowledge, and the policy says whether that answers the lead, and if not, what must be asked.

Never the wrong person: the lead's name is held against every candidate. What a partner answered for an
alias answers whoever comes with it; what was only *listed* beside a person (families and former owners
are among it) answers a lead only when the name fits.
"""

from __future__ import annotations

import msgspec

from stream.domain.events import Match
from stream.domain.freshness import Entry
from stream.domain.identity import Contact, Email, Phone
from stream.domain.names import Fit, fit
from stream.domain.person import Candidate


class KnownPerson(msgspec.Struct, frozen=True):
    """A person as events carry it. ``stale``: past its time, good only when nothing fresher is to be had."""

    cpf: str
    name: str
    person: bytes
    facts: str
    complete: bool
    fetched_at: float
    stale: bool = False


class Knowledge(msgspec.Struct):
    """What is known of one contact so far; each rung adds to it.

    ``answers``: what was answered for an alias, best first; an empty tuple means that nobody knows it.
    ``listed``: people beside whom an alias was seen.  ``persons``: by CPF.  ``dead_ends``: CPFs of a form
    that nobody knows.
    """

    answers: dict[str, tuple[Candidate, ...]] = {}
    listed: dict[str, tuple[Candidate, ...]] = {}
    persons: dict[str, KnownPerson] = {}
    dead_ends: set[str] = set()


class Ask(msgspec.Struct, frozen=True):
    """Nobody has been asked for this alias yet."""

    alias: Phone | Email


class Complete(msgspec.Struct, frozen=True):
    """The CPF is known and the person is not."""

    candidate: Candidate
    match: Match | None


class Found(msgspec.Struct, frozen=True):
    """A person answers the lead."""

    person: KnownPerson
    match: Match | None


class NobodyKnows(msgspec.Struct, frozen=True):
    """Every alias was asked and nobody knows it."""


_MATCHES = {Fit.FITS: Match.NAME, Fit.DIFFERS: Match.NAME_DIFFERS, Fit.NO_NAME: Match.NO_NAME}

Step = Ask | Complete | Found | NobodyKnows


def next_step(contact: Contact, name: str, known: Knowledge, *, allow_stale: bool = False) -> Step:
    """Decide what answers the lead called ``name``, or what has to be asked for next.

    ``allow_stale``: a person past its time answers too (when asking has failed).
    """
    chosen = _by_form(contact, name, known) or _by_aliases(contact, name, known)
    if not isinstance(chosen, Complete):
        return chosen
    person = known.persons.get(chosen.candidate.cpf)
    if person is None or (person.stale and not allow_stale):
        return chosen
    return Found(person, chosen.match)


def settled(contact: Contact, name: str, entry: Entry) -> Match | None:
    """How the lead called ``name`` fits the one person with whom its surest alias was answered.

    None where there is more to weigh. The short way to what ``next_step`` says of such an entry: most webhooks
    are about people who are known, and no knowledge has to be gathered for them (a test holds the two together).
    """
    if contact.cpf is not None or not entry.asked or entry.person is None or len(entry.candidates) != 1:
        return None
    candidate = entry.candidates[0]
    fits = fit(name, candidate.name)
    return None if fits is Fit.DIFFERS or candidate.cpf != entry.cpf else _MATCHES[fits]


def _by_form(contact: Contact, name: str, known: Knowledge) -> Complete | None:
    """A CPF that the person typed names the person, unless nobody knows it."""
    cpf = contact.cpf
    if cpf is None or cpf.digits in known.dead_ends:
        return None
    person = known.persons.get(cpf.digits)
    their_name = person.name if person is not None else ""
    return Complete(Candidate(name=their_name, cpf=cpf.digits), _match(fit(name, their_name)) if their_name else None)


def _by_aliases(contact: Contact, name: str, known: Knowledge) -> Step:
    fallback: Candidate | None = None
    unasked: Phone | Email | None = None
    for alias in (contact.phone, contact.email):
        if alias is None:
            continue
        answered = known.answers.get(alias.alias)
        best, fits = best_fit(name, answered or ())
        if best is None or fits is Fit.DIFFERS:
            listed, listed_fits = best_fit(name, known.listed.get(alias.alias, ()))
            if listed is not None and listed_fits is Fit.FITS:
                best, fits = listed, listed_fits
        if best is not None and fits is not Fit.DIFFERS:
            # Two answers, two people, and the name has settled it: the consumer is told.
            conflicting = fallback is not None and fallback.cpf != best.cpf
            return Complete(best, Match.CONFLICTING if conflicting else _match(fits))
        fallback = fallback or best
        if answered is None:
            unasked = unasked or _askable(alias)
    if unasked is not None:
        return Ask(unasked)
    return Complete(fallback, Match.NAME_DIFFERS) if fallback is not None else NobodyKnows()


def best_fit(name: str, candidates: tuple[Candidate, ...]) -> tuple[Candidate | None, Fit]:
    """The first candidate whose name fits, else the first one, with how it fits."""
    if not candidates:
        return None, Fit.NO_NAME
    if len(candidates) == 1:
        return candidates[0], fit(name, candidates[0].name)
    verdicts = [fit(name, candidate.name) for candidate in candidates]
    if Fit.FITS in verdicts:
        return candidates[verdicts.index(Fit.FITS)], Fit.FITS
    return candidates[0], verdicts[0]


def _match(fits: Fit) -> Match:
    return _MATCHES[fits]


def _askable(alias: Phone | Email) -> Phone | Email | None:
    """Diretrix knows no foreign numbers: asking would be paid for nothing."""
    return alias if isinstance(alias, Email) or alias.is_brazilian else None
