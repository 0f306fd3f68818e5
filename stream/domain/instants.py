"""Instants as sources write them, and as ids and events carry them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import orjson

from stream.domain.errors import PoisonError

_OFFSETS_APART = frozenset({" +", " -"})
_LENGTH_APART = len("2026-01-31 09:00:00 -0300")
_OFFSET = re.compile(r"\s*([+-]\d{2}):?(\d{2})$", re.ASCII)


def written(instant: datetime) -> str:
    """``instant.isoformat()`` of an instant in UTC, in a third of its time."""
    return orjson.dumps(instant)[1:-1].decode()


def parse_instant(value: object, path: str = "") -> datetime:
    """Read an instant in any of the three spellings that C2S uses, as UTC; raises PoisonError."""
    if not isinstance(value, str) or not value:
        raise PoisonError("an instant such as 2026-01-31T12:00:00Z is required", path=path)
    try:
        return in_utc(_instant(value))
    except (ValueError, OverflowError):
        raise PoisonError("not an instant: write it as 2026-01-31T12:00:00Z", path=path) from None


def optional_instant(value: object) -> str | None:
    """An instant that nothing depends on, as ``written``; None where it can't be read: no lead is lost for it."""
    try:
        return written(parse_instant(value))
    except PoisonError:
        return None


def in_utc(instant: datetime) -> datetime:
    """``instant`` in UTC; a naive one is in UTC already. Raises OverflowError beyond the calendar."""
    if instant.tzinfo is UTC:
        return instant
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _instant(text: str) -> datetime:
    if text[-6:-4] in _OFFSETS_APART and len(text) == _LENGTH_APART:
        text = f"{text[:-6]}{text[-5:]}"  # "2026-01-31 09:00:00 -0300", without the detour of an error
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        # Other blanks before an offset; RFC 3339 also allows small letters.
        return datetime.fromisoformat(_OFFSET.sub(r"\1:\2", text.strip()).upper())
