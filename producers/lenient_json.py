"""JSON by its grammar that our readers still refuse: lone surrogates, bytes that are not UTF-8, 1e999.

Senders cut texts in the middle of an emoji. Such a webhook can't go on, but it is somebody's lead: it becomes
a dead letter of its own, and the others of its body are not refused with it. Slow: for what failed elsewhere.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

FAULT = "a text or a number in it can't be held (a lone surrogate, bytes that are not UTF-8, beyond a double)"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _named(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, _ in fields:
        if _UNDECODED.search(name):
            raise ValueError("a field name is not UTF-8")
    return dict(fields)


_UNDECODED = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of bytes that are not UTF-8
_decoder = json.JSONDecoder(parse_constant=_no_constant)
_strict = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_named)


def load(body: bytes) -> Any:
    """The value of a body. Raises ValueError or RecursionError, also for a field name that is not UTF-8."""
    return _strict.decode(_text(body))


def items(body: bytes) -> list[bytes]:
    """The bytes of each item of an array. Raises ValueError or RecursionError."""
    text = _text(body).strip()
    _decoder.decode(text)  # then every item can be read where it begins
    found, at = [], 1
    while (at := _skip(text, at, " \t\n\r,")) < len(text) - 1:
        _, end = _decoder.raw_decode(text, at)
        found.append(text[at:end].encode("utf-8", "surrogateescape"))
        at = end
    return found


def dump(value: object) -> bytes:
    """The bytes of a value, every odd text escaped."""
    return json.dumps(value).encode()


def _text(body: bytes) -> str:
    return body.decode("utf-8", "surrogateescape")


def _skip(text: str, at: int, blanks: str) -> int:
    while at < len(text) and text[at] in blanks:
        at += 1
    return at
