"""Finds people and secrets in clear in what was written, however they are spelled."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

from stream.local.people import Someone

SEPARATORS = r"[\s().+\-/]"


def leaks(text: str, people: Iterable[Someone], secrets: Iterable[str]) -> list[str]:
    """Each person's or secret's spelling that stands in ``text``, with what is around it."""
    plain = unquote(text).lower()
    digits = re.sub(rf"(?<=\d){SEPARATORS}+(?=\d)", "", plain)
    found = [_around(plain, one) for one in map(str.lower, _spellings_of(secrets)) if one in plain]
    for someone in people:
        found += [_around(plain, one) for one in _texts(someone) if one in plain]
        found += [_around(digits, one) for one in _numbers(someone) if one in digits]
    return found


def _spellings_of(secrets: Iterable[str]) -> Iterator[str]:
    for secret in secrets:
        encoded = secret.encode()
        yield from {secret, quote(secret, safe=""), encoded.hex(), base64.b64encode(encoded).decode().rstrip("=")}


def _texts(someone: Someone) -> Iterator[str]:
    """E-mails, and what of a phone is told without its area."""
    yield from (email.lower() for email in someone.emails)
    for phone in someone.phones:
        rest = phone[2:]
        yield from (f"{rest[:-4]}-{rest[-4:]}", f"{rest[:-4]} {rest[-4:]}", f"{rest[0]} {rest[1:5]}-{rest[5:]}")


def _numbers(someone: Someone) -> Iterator[str]:
    """Digits in a row, once what people write between them is taken away."""
    yield someone.cpf
    yield from someone.phones


def _around(text: str, found: str) -> str:
    at = text.index(found)
    return f"{found} in ...{text[max(0, at - 150) : at + 100]}..."
