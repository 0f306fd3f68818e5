"""Do two names belong to one person? Accents, case, order and missing middle names do not matter.

People type "Joao", "JOÃO SILVA", "Silva, João P."; sources have "JOAO PEREIRA DA SILVA". A first name alone
is not held against anybody: it fits when it is among the known names, and differs when it is not.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache

REMEMBERED = 50_000  # names whose normal form is remembered
LONGEST = 200  # characters; what is longer was not typed as a name

_PARTICLES = frozenset({"DA", "DE", "DI", "DO", "DU", "DAS", "DOS", "E"})
# What stands in a name's place without being one.
_NO_NAMES = frozenset({"", "LEAD", "CLIENTE", "SEM NOME", "NOME", "TESTE", "NAO INFORMADO", "CONTATO", "WHATSAPP"})


class Fit(StrEnum):
    """How a lead's name compares with a known one."""

    FITS = "fits"
    DIFFERS = "differs"
    NO_NAME = "no_name"


@lru_cache(maxsize=REMEMBERED)
def normalise(name: str) -> str:
    """Capitals without accents, punctuation and particles: ``JOAO SILVA`` for "João da Silva"."""
    decomposed = unicodedata.normalize("NFKD", name[:LONGEST])
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    words = re.sub(r"[^A-Z ]+", " ", plain.upper()).split()
    return " ".join(word for word in words if word not in _PARTICLES)


@lru_cache(maxsize=REMEMBERED)
def fit(lead_name: str, known_name: str) -> Fit:
    """Compare a lead's name with a known one; either may be normalised or as typed."""
    lead, known = normalise(lead_name), normalise(known_name)
    if lead in _NO_NAMES or known in _NO_NAMES:
        return Fit.NO_NAME
    if lead == known:
        return Fit.FITS
    return _compare(lead.split(), known.split())


def _compare(lead: list[str], known: list[str]) -> Fit:
    """Every word of the shorter name must be among the longer one's, in full or as its initial."""
    shorter, longer = sorted((lead, known), key=len)
    left = list(longer)
    for word in sorted(shorter, key=len, reverse=True):
        partner = next((other for other in left if _same_word(word, other)), None)
        if partner is None:
            return Fit.DIFFERS
        left.remove(partner)
    # Initials alone prove nothing.
    return Fit.FITS if any(len(word) > 1 for word in shorter) else Fit.DIFFERS


def _same_word(word: str, other: str) -> bool:
    if word == other:
        return True
    brief, full = sorted((word, other), key=len)
    # An initial, or a name cut off where a form's field ended.
    return (len(brief) == 1 and full.startswith(brief)) or (len(brief) >= 5 and full.startswith(brief))  # noqa: PLR2004
