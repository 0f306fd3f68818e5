"""Do two names belong to one person? Accents, case, order and missing middle names do not matter.

People type "Joao", "JOÃO SILVA", "Silva, João P."; sources have "JOAO PEREIRA DA SILVA". A first name alone
fits when it is among the known names, and differs when it is not. Words that only sound alike fit (Luiz and
Luis); words that begin alike do not (Maria and Mariana share many a phone), but for a last name cut off.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache

REMEMBERED = 50_000  # names whose normal form is remembered
LONGEST = 200  # characters; what is longer was not typed as a name
SHORTEST_CUT = 3  # letters that are left of a name cut off where a form's field ended

_PARTICLES = frozenset({"DA", "DE", "DI", "DO", "DU", "DAS", "DOS", "E"})
_TITLES = frozenset({"SR", "SRA", "SRTA", "DR", "DRA", "DONA", "PROF", "PROFA"})
# What stands in a name's place without being one: a name of these words only is none.
_NO_NAMES = frozenset(
    {
        *("LEAD", "CLIENTE", "CONTATO", "NOME", "SEM", "NAO", "TEM", "INFORMADO", "INFORMAR", "TESTE", "TEST"),
        *("WHATSAPP", "WHATS", "FACEBOOK", "INSTAGRAM", "GOOGLE", "SITE", "USUARIO", "DESCONHECIDO", "ANONIMO"),
    }
)
_APOSTROPHES = dict.fromkeys("'`\N{RIGHT SINGLE QUOTATION MARK}\N{ACUTE ACCENT}", "")
_OTHER_LETTERS = str.maketrans({"Ø": "O", "Æ": "AE", "Œ": "OE", "Ł": "L", "Đ": "D", **_APOSTROPHES})
# Spellings of one sound: Thiago and Tiago, Sousa and Souza, Wagner and Vagner, Rafaella and Rafaela.
_SOUNDS = str.maketrans({"H": "", "Y": "I", "W": "V", "Z": "S", "K": "C"})
_NO_LETTERS = re.compile(r"[^A-Z ]+")
_DOUBLED = re.compile(r"(.)\1+")


class Fit(StrEnum):
    """How a lead's name compares with a known one."""

    FITS = "fits"
    DIFFERS = "differs"
    NO_NAME = "no_name"


@lru_cache(maxsize=REMEMBERED)
def normalise(name: str) -> str:
    """Capitals without accents, punctuation and particles: ``JOAO SILVA`` for "João da Silva"."""
    capitals = name[:LONGEST].upper().translate(_OTHER_LETTERS)
    if not capitals.isascii():
        letters = unicodedata.normalize("NFKD", capitals).upper()
        capitals = "".join([one for one in letters if not unicodedata.combining(one)])
    words = _NO_LETTERS.sub(" ", capitals).split()
    return " ".join(word for word in words if word not in _PARTICLES)[:LONGEST].rstrip()


@lru_cache(maxsize=REMEMBERED)
def fit(lead_name: str, known_name: str) -> Fit:
    """Compare a lead's name with a known one; either may be normalised or as typed."""
    known = _words(known_name)
    # Most differ by capitals at most.
    is_same = lead_name[:LONGEST].upper() == known_name[:LONGEST].upper()
    lead = known if is_same else _words(lead_name)
    if not lead or not known:
        return Fit.NO_NAME
    return Fit.FITS if lead == known or _are_one_person(lead, known) else Fit.DIFFERS


@lru_cache(maxsize=REMEMBERED)  # a known name is held against each way in which its owner types it
def _words(name: str) -> tuple[str, ...]:
    """The words that say who somebody is; none for an e-mail, initials alone, or "Cliente WhatsApp"."""
    words = [] if "@" in name else [word for word in normalise(name).split() if word not in _TITLES]
    tells = any(len(word) > 1 and word not in _NO_NAMES for word in words)
    return tuple(["JUNIOR" if word == "JR" else word for word in words]) if tells else ()


def _are_one_person(lead: tuple[str, ...], known: tuple[str, ...]) -> bool:
    """Every word of the shorter name must be among the longer one's."""
    shorter, longer = (lead, known) if len(lead) <= len(known) else (known, lead)
    # A first name is never cut off: whoever types "Souza, Maria" is not Mariana.
    cut_off = {name[-1] for name in (lead, known) if len(name) > 1}
    first = {lead[0], known[0]}
    left = list(longer)
    # Full words choose first, so that an initial does not take a word that another one needs.
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
    """Whether one is the other's initial, or the other cut off at the end of the name."""
    brief, full = sorted((word, other), key=len)
    if len(brief) == 1:
        return full.startswith(brief)
    return brief in cut_off and len(brief) >= SHORTEST_CUT and full not in first and full.startswith(brief)


def _sound(word: str) -> str:
    return _DOUBLED.sub(r"\1", word.replace("PH", "F").translate(_SOUNDS))
