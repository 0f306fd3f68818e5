"""Text as a person typed it, read from any type of JSON value that a source uses for it."""

from __future__ import annotations

from typing import Any

MAX_TEXT_CHARS = 500  # of a name, a product or a form's field
MAX_NUMBER = 2**63  # JSON readers disagree about larger numbers
BETWEEN_VALUES = " | "  # joins the values of an array; no phone spans it


def text_of(value: object) -> str:
    """Text without NUL, which PostgreSQL refuses; a number as its digits; "" for a value of any other type."""
    if isinstance(value, str):
        if "\x00" in value:
            value = value.replace("\x00", "")
        return value.strip()[:MAX_TEXT_CHARS]
    return _number(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def texts_of(value: object) -> str:
    """As ``text_of``; also reads an array, whose texts are joined."""
    if not isinstance(value, list):
        return text_of(value)
    return BETWEEN_VALUES.join(filter(None, map(text_of, value[:MAX_TEXT_CHARS])))[:MAX_TEXT_CHARS]


def phone_of(value: object) -> str:
    """A phone as text. Reads text, a number, an object such as ``{"ddd": 11, "numero": "98765-0123"}``, and arrays."""
    if isinstance(value, list):
        return BETWEEN_VALUES.join(filter(None, map(_phone, value[:MAX_TEXT_CHARS])))[:MAX_TEXT_CHARS]
    return _phone(value)


def _phone(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(filter(None, map(text_of, value.values())))[:MAX_TEXT_CHARS]
    return text_of(value)


def _number(value: float) -> str:
    if not -MAX_NUMBER < value < MAX_NUMBER:  # also true for NaN
        return ""
    return str(int(value)) if isinstance(value, int) or value.is_integer() else str(value)
