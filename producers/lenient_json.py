"""Reads JSON that is valid by its grammar but that the fast parsers refuse: lone surrogates, invalid UTF-8, 1e999.

Some senders cut a text in the middle of an emoji. Such a webhook can't be published, but it is somebody's lead: it
becomes a dead letter, and the other webhooks of its body are accepted. This is slow, so it runs only after a fast
parser has failed.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

NOT_REPRESENTABLE = (
    "holds a text or a number that can't be represented: a lone surrogate, invalid UTF-8, or a number beyond a double"
)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, _ in fields:
        if _UNDECODED.search(name):
            raise ValueError("a field name is not UTF-8")
    return dict(fields)


_UNDECODED = re.compile("[\udc80-\udcff]")  # surrogateescape decodes bytes that are not UTF-8 to these
_decoder = json.JSONDecoder(parse_constant=_reject_constant)
_strict = json.JSONDecoder(parse_constant=_reject_constant, object_pairs_hook=_object)


def load(body: bytes) -> Any:
    """The value of a body. Raises ValueError or RecursionError, also for a field name that is not UTF-8."""
    return _strict.decode(_text(body))


def split_array(body: bytes) -> list[bytes]:
    """The bytes of each item of an array. Raises ValueError or RecursionError."""
    text = _text(body).strip()
    _decoder.decode(text)  # raises if the array is invalid; so each item below can be decoded
    items, at = [], 1
    while (at := _skip(text, at, " \t\n\r,")) < len(text) - 1:
        _, end = _decoder.raw_decode(text, at)
        items.append(text[at:end].encode("utf-8", "surrogateescape"))
        at = end
    return items


def dump(value: object) -> bytes:
    """The bytes of a value, with everything but ASCII escaped."""
    return json.dumps(value).encode()


def _text(body: bytes) -> str:
    return body.decode("utf-8", "surrogateescape")


def _skip(text: str, at: int, blanks: str) -> int:
    while at < len(text) and text[at] in blanks:
        at += 1
    return at
