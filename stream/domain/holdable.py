"""Which JSON can be read and not held: what PostgreSQL or the next reader would refuse, or change silently.

The checks work on the bytes, at the speed of C; real webhooks pass the first of each and go no further.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

DEEPEST = 100  # levels that are left of a value which is cut
HARMLESS = 200  # brackets of a value that can't be nested too deeply for any reader
SMALLEST, LARGEST = -(2**63), 2**64 - 1
_BITS_OF_A_FLOAT = 1023
_DIGITS_OF_64_BIT = 19  # integers of fewer digits always fit
_ONLY_DIGITS = bytes(ord("0") if chr(code).isdecimal() and code < 128 else ord(" ") for code in range(256))  # noqa: PLR2004
_LONG_RUN = b"0" * _DIGITS_OF_64_BIT
# JSON has no raw NUL; an escaped one follows an even number of backslashes.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_INTEGER = re.compile(rb"(?<![\d.eE+-])(-?\d{19,})(?![\d.eE])")


def unholdable(value: bytes, parsed: Any) -> str:
    """Why ``value``, read by orjson as ``parsed``, can't be held; "" when it can. Lone surrogates don't even parse."""
    if value.count(b"{") + value.count(b"[") > HARMLESS and _is_too_deep(parsed):
        return "nested too deeply"
    if b"\\u0000" in value and _NUL.search(value):
        return "a NUL character, which no database holds"
    if _LONG_RUN in value.translate(_ONLY_DIGITS) and _has_large_integer(value):
        return "an integer beyond 64 bit"
    return ""


def made_holdable(parsed: Any) -> Any:
    """``parsed`` itself where it can be held, as nearly always; else a copy without what can't.

    For what was paid for, and would be paid for again if it could not be stored.
    """
    try:
        return _held(parsed) if _NUL.search(orjson.dumps(parsed)) else parsed
    except TypeError:
        return _held(parsed)


def _held(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "ignore").decode()
    if isinstance(value, dict | list) and depth >= DEEPEST:
        return None
    if isinstance(value, dict):
        return {_held(str(key)): _held(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_held(item, depth + 1) for item in value]
    if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
        return float(value) if value.bit_length() <= _BITS_OF_A_FLOAT else None
    return value


def _is_too_deep(parsed: Any) -> bool:
    """What we could not write again, a consumer could not either."""
    try:
        orjson.dumps(parsed)
    except TypeError:
        return True
    return False


def _has_large_integer(value: bytes) -> bool:
    """Whether a number, not the text of a string, is an integer that orjson turned into a float."""
    return any(_is_large(found) for found in _INTEGER.findall(_STRING.sub(b"", value)))


def _is_large(digits: bytes) -> bool:
    return len(digits) > _DIGITS_OF_64_BIT + 1 or not SMALLEST <= int(digits) <= LARGEST
