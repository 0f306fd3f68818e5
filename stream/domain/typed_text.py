"""Text as a person typed it, out of whatever JSON value a source put it into."""

from __future__ import annotations

from typing import Any

LONGEST_TEXT = 500  # characters of a name, product or field of a form
LARGEST_NUMBER = 2**63  # JSON readers disagree about what is beyond
BETWEEN_VALUES = " | "  # of an array: no phone spans it


def text_of(value: object) -> str:
    """Text without NUL, which PostgreSQL refuses; a number as its digits; "" for what is neither."""
    if isinstance(value, str):
        if "\x00" in value:
            value = value.replace("\x00", "")
        return value.strip()[:LONGEST_TEXT]
    return _number(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def texts_of(value: object) -> str:
    """``text_of``, and the texts of an array of them."""
    if not isinstance(value, list):
        return text_of(value)
    return BETWEEN_VALUES.join(filter(None, map(text_of, value[:LONGEST_TEXT])))[:LONGEST_TEXT]


def phone_of(value: object) -> str:
    """A phone as text: text, a number, an object such as ``{"ddd": 11, "numero": "98765-0123"}``, an array of them."""
    if isinstance(value, list):
        return BETWEEN_VALUES.join(filter(None, map(_phone, value[:LONGEST_TEXT])))[:LONGEST_TEXT]
    return _phone(value)


def _phone(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(filter(None, map(text_of, value.values())))[:LONGEST_TEXT]
    return text_of(value)


def _number(value: float) -> str:
    if not -LARGEST_NUMBER < value < LARGEST_NUMBER:  # NaN is not, either
        return ""
    return str(int(value)) if isinstance(value, int) or value.is_integer() else str(value)
