"""Reads instants as sources write them, and writes them as ids and events carry them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import orjson

from stream.domain.errors import PoisonError

_SPACED_OFFSETS = frozenset({" +", " -"})
_SPACED_OFFSET_CHARS = len("2026-01-31 09:00:00 -0300")
_OFFSET = re.compile(r"\s*([+-]\d{2}):?(\d{2})$", re.ASCII)


def utc_isoformat(instant: datetime) -> str:
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
    """As ``utc_isoformat``, for an optional instant. None if it can't be read: that is no reason to refuse a lead."""
    try:
        return utc_isoformat(parse_instant(value))
    except PoisonError:
        return None


def in_utc(instant: datetime) -> datetime:
    """``instant`` in UTC; one without a zone is taken for UTC. Raises OverflowError beyond the calendar."""
    if instant.tzinfo is UTC:
        return instant
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _instant(text: str) -> datetime:
    if text[-6:-4] in _SPACED_OFFSETS and len(text) == _SPACED_OFFSET_CHARS:
        text = f"{text[:-6]}{text[-5:]}"  # "2026-01-31 09:00:00 -0300": spares the cost of a ValueError
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        # Other blanks may stand before an offset; RFC 3339 also allows small letters.
        return datetime.fromisoformat(_OFFSET.sub(r"\1:\2", text.strip()).upper())
