"""JSON that can be read and not held: what PostgreSQL or the next reader would refuse."""

from __future__ import annotations

import re
from typing import Any

import orjson

DEEPEST = 100  # levels that are left of a value which is cut
SMALLEST, LARGEST = -(2**63), 2**64 - 1
_BITS_OF_A_FLOAT = 1023
# JSON has no raw NUL; an escaped one follows an even number of backslashes.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


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
