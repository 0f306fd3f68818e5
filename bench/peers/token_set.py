"""What is often written instead: the first candidate whose token-set ratio with the lead's name reaches 85.

Names are compared in capitals without accents. Like the other rules it asks for the phone first, then the e-mail; it
takes people who were only listed too, and nobody where no name reaches the threshold.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

from rapidfuzz import fuzz

from bench.peers.first_fit import Ask, Complete, NobodyKnows, PersonFound

THRESHOLD = 85  # the usual one, of 100


def next_step(contact: Any, name: str, known: Any) -> Ask | Complete | PersonFound | NobodyKnows:
    """Decide the next step for the lead called ``name``."""
    for alias in filter(None, (contact.phone, contact.email)):
        answered = known.answers.get(alias.alias)
        for one in (*(answered or ()), *known.listed.get(alias.alias, ())):
            if fuzz.token_set_ratio(_capitals(name), _capitals(one.name)) >= THRESHOLD:
                person = known.persons.get(one.cpf)
                return Complete(one, "name") if person is None else PersonFound(person, "name")
        if answered is None:
            return Ask(alias)
    return NobodyKnows()


@lru_cache(maxsize=50_000)
def _capitals(name: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one)).upper()
