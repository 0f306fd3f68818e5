"""The rule that the project had at first, frozen: the first candidate whose name fits, else the first candidate.

A copy of its name comparison and of its choice, so that later rules can be measured against it. It takes contacts,
candidates and knowledge by their attributes and imports nothing of the project.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

FITS, DIFFERS, NO_NAME = "fits", "differs", "no_name"
_MATCHES = {FITS: "name", DIFFERS: "name_differs", NO_NAME: "no_name"}
_PARTICLES = frozenset({"DA", "DE", "DI", "DO", "DU", "DAS", "DOS", "E"})
_TITLES = frozenset({"SR", "SRA", "SRTA", "DR", "DRA", "DONA", "PROF", "PROFA"})
_NO_NAMES = frozenset(
    {
        *("LEAD", "CLIENTE", "CONTATO", "NOME", "SEM", "NAO", "TEM", "INFORMADO", "INFORMAR", "TESTE", "TEST"),
        *("WHATSAPP", "WHATS", "FACEBOOK", "INSTAGRAM", "GOOGLE", "SITE", "USUARIO", "DESCONHECIDO", "ANONIMO"),
    }
)
_OTHER_LETTERS = str.maketrans(
    {"Ø": "O", "Æ": "AE", "Œ": "OE", "Ł": "L", "Đ": "D"} | dict.fromkeys("'`\u2019\u00b4", "")
)
_SOUNDS = str.maketrans({"H": "", "Y": "I", "W": "V", "Z": "S", "K": "C"})


@dataclass(frozen=True, slots=True)
class Ask:
    """An alias must be asked for."""

    alias: Any


@dataclass(frozen=True, slots=True)
class Complete:
    """A candidate's person must be fetched."""

    candidate: Any
    match: str | None


@dataclass(frozen=True, slots=True)
class PersonFound:
    """A person answers."""

    person: Any
    match: str | None


@dataclass(frozen=True, slots=True)
class NobodyKnows:
    """Nobody answers."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    cpf: str


def next_step(contact: Any, name: str, known: Any) -> Ask | Complete | PersonFound | NobodyKnows:
    """Decide the next step for the lead called ``name``."""
    chosen = _by_form(contact, name, known) or _by_aliases(contact, name, known)
    person = known.persons.get(chosen.candidate.cpf) if isinstance(chosen, Complete) else None
    return chosen if person is None or person.stale else PersonFound(person, chosen.match)


def _by_form(contact: Any, name: str, known: Any) -> Complete | None:
    if contact.cpf is None or contact.cpf.digits in known.dead_ends:
        return None
    person = known.persons.get(contact.cpf.digits)
    theirs = person.name if person is not None else ""
    return Complete(_Candidate(theirs, contact.cpf.digits), _MATCHES[fit(name, theirs)] if theirs else None)


def _by_aliases(contact: Any, name: str, known: Any) -> Ask | Complete | NobodyKnows:
    fallback = unasked = None
    for alias in filter(None, (contact.phone, contact.email)):
        answered = known.answers.get(alias.alias)
        best, fits = _best_fit(name, answered or ())
        if best is None or fits == DIFFERS:
            listed, listed_fits = _best_fit(name, known.listed.get(alias.alias, ()))
            if listed_fits == FITS:
                best, fits = listed, listed_fits
        if best is not None and fits != DIFFERS:
            conflicting = fallback is not None and fallback.cpf != best.cpf
            return Complete(best, "conflicting" if conflicting else _MATCHES[fits])
        fallback = fallback or best
        if answered is None:
            unasked = unasked or alias
    if unasked is not None:
        return Ask(unasked)
    return Complete(fallback, "name_differs") if fallback is not None else NobodyKnows()


def _best_fit(name: str, candidates: tuple[Any, ...]) -> tuple[Any, str]:
    if not candidates:
        return None, NO_NAME
    verdicts = [fit(name, one.name) for one in candidates]
    at = verdicts.index(FITS) if FITS in verdicts else 0
    return candidates[at], verdicts[at]


@lru_cache(maxsize=50_000)
def fit(lead_name: str, known_name: str) -> str:
    """Compare two names."""
    lead, known = words(lead_name), words(known_name)
    if not lead or not known:
        return NO_NAME
    return FITS if lead == known or _are_one_person(lead, known) else DIFFERS


@lru_cache(maxsize=50_000)
def words(name: str) -> tuple[str, ...]:
    """The words that identify a person."""
    found = [] if "@" in name else [word for word in _normalised(name) if word not in _TITLES]
    tells = any(len(word) > 1 and word not in _NO_NAMES for word in found)
    return tuple(["JUNIOR" if word == "JR" else word for word in found]) if tells else ()


def _normalised(name: str) -> list[str]:
    letters = unicodedata.normalize("NFKD", name[:200].upper().translate(_OTHER_LETTERS)).upper()
    capitals = "".join(one for one in letters if not unicodedata.combining(one))
    return [word for word in re.sub(r"[^A-Z ]+", " ", capitals).split() if word not in _PARTICLES]


def _are_one_person(lead: tuple[str, ...], known: tuple[str, ...]) -> bool:
    shorter, longer = (lead, known) if len(lead) <= len(known) else (known, lead)
    cut_off = {name[-1] for name in (lead, known) if len(name) > 1}
    first = {lead[0], known[0]}
    left = list(longer)
    for word in sorted(shorter, key=len, reverse=True):
        partner = _partner(word, left, cut_off, first)
        if partner is None:
            return False
        left.remove(partner)
    return any(len(word) > 1 for word in shorter)


def _partner(word: str, others: list[str], cut_off: set[str], first: set[str]) -> str | None:
    if word in others:
        return word
    alike = (other for other in others if _sound(word) == _sound(other))
    briefer = (other for other in others if _is_short_for(word, other, cut_off - first, first))
    return next(alike, None) or next(briefer, None)


def _is_short_for(word: str, other: str, cut_off: set[str], first: set[str]) -> bool:
    brief, full = sorted((word, other), key=len)
    if len(brief) == 1:
        return full.startswith(brief)
    return brief in cut_off and len(brief) >= 3 and full not in first and full.startswith(brief)


def _sound(word: str) -> str:
    return re.sub(r"(.)\1+", r"\1", word.replace("PH", "F").translate(_SOUNDS))
