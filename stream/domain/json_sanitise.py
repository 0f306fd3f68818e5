"""Removes from parsed JSON what PostgreSQL or the next reader would refuse: NUL, lone surrogates, too large numbers."""

from __future__ import annotations

import re
from typing import Any

import orjson

MAX_DEPTH = 100  # levels that are kept of a value that is copied
MIN_INT, MAX_INT = -(2**63), 2**64 - 1
_MAX_FLOAT_BITS = 1023
# JSON has no raw NUL; an escaped one follows an even number of backslashes.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def json_sanitise(parsed: Any) -> Any:
    """``parsed`` itself if it can be stored, as nearly always. Otherwise a copy without what can't be stored.

    Paid answers pass through here: one that could not be stored would be paid for again.
    """
    try:
        return _sanitised(parsed) if _NUL.search(orjson.dumps(parsed)) else parsed
    except TypeError:
        return _sanitised(parsed)


def _sanitised(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "ignore").decode()
    if isinstance(value, dict | list) and depth >= MAX_DEPTH:
        return None
    if isinstance(value, dict):
        return {_sanitised(str(key)): _sanitised(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_sanitised(item, depth + 1) for item in value]
    if isinstance(value, int) and not MIN_INT <= value <= MAX_INT:
        return float(value) if value.bit_length() <= _MAX_FLOAT_BITS else None
    return value
