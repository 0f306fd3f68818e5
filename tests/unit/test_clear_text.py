"""The finder of what is in clear finds it: a blind one would let everything pass."""

from __future__ import annotations

import base64
import random

import pytest

from stream.local.people import population, typed
from stream.logs import mask
from tests.support.clear_text import leaks

(SOMEONE,) = population(1, 3)
CPF = SOMEONE.cpf
SECRET = "demo:demo/password"


@pytest.mark.parametrize("seed", range(20))
def test_every_spelling_of_a_phone_is_found(seed: int) -> None:
    """However somebody types it."""
    assert leaks(f"x {typed(SOMEONE.phone, random.Random(seed))} y", [SOMEONE], [])


@pytest.mark.parametrize(
    "text",
    [
        CPF,
        f"{CPF[:3]}.{CPF[3:6]}.{CPF[6:9]}-{CPF[9:]}",
        SOMEONE.email,
        SOMEONE.email.upper(),
        SOMEONE.email.replace("@", "%40"),
        f"%2B55{SOMEONE.phone}",
        SECRET,
        "demo%3Ademo%2Fpassword",
        base64.b64encode(SECRET.encode()).decode(),
        f"{SOMEONE.phone[2:7]}-{SOMEONE.phone[7:]}",
    ],
)
def test_every_spelling_of_the_others_is_found(text: str) -> None:
    """CPF, e-mail and secret, as they are, formatted and encoded."""
    assert leaks(f"before {text} after", [SOMEONE], [SECRET])


def test_what_is_masked_is_not_found() -> None:
    """The log's own masking satisfies it, and times and ids are nobody."""
    text = f"{mask(f'{SOMEONE.email} {SOMEONE.phone} {CPF}')} 2026-01-31T12:00:00 c34c2cc6-06e3-5b23-950b-525987654321"
    assert leaks(text, [SOMEONE], [SECRET]) == []
