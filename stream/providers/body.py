"""Reads a partner's answer within limits of size, depth and number of values. A partner is not trusted.

Rule 1: reading stops above ``MAX_BODY_BYTES``. The limit applies to the decompressed bytes, chunk by chunk.
Rule 2: every fault of a body is a ``PartnerUnavailableError`` with ``billed`` "unsure": the call was made.
Rule 3: no error quotes the body, which may contain a CPF.
"""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import orjson

from stream.domain.errors import Billed, PartnerUnavailableError

MAX_BODY_BYTES = 1024 * 1024  # decompressed
MAX_VALUES = 20_000  # commas and brackets; more values would block the event loop for too long
MAX_DEPTH = 64  # levels; the code that reads an answer is recursive
CODINGS = frozenset({"", "identity", "gzip", "deflate"})  # aiohttp decompresses these in bounded steps
UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
BOM = b"\xef\xbb\xbf"
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)


async def json_of(partner: str, response: aiohttp.ClientResponse) -> Any:
    """Return the body as JSON, whatever its content type. Raise PartnerUnavailableError if it is not, or too large."""
    if ",".join(response.headers.getall("Content-Encoding", [])).strip().lower() not in CODINGS:
        raise _unusable(partner, "an unknown content encoding")
    charset = _CHARSET.search(response.headers.get("Content-Type", ""))
    if charset is not None and charset[1].lower() not in UTF_8:
        raise _unusable(partner, "a charset other than UTF-8")
    return _parsed(partner, (await _limited(partner, response)).removeprefix(BOM))


async def _limited(partner: str, response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _unusable(partner, "a body above 1 MiB")
    return bytes(body)


def _parsed(partner: str, body: bytes) -> Any:
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise _unusable(partner, "a body of too many values")
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _unusable(partner, "a body that is not JSON") from None
    if _is_deeper(parsed, MAX_DEPTH):
        raise _unusable(partner, "a body nested too deeply")
    return parsed


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested more than ``levels`` deep. Without recursion, whose depth is limited."""
    level = [value]
    for _ in range(levels + 1):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return True


def _unusable(partner: str, what: str) -> PartnerUnavailableError:
    return PartnerUnavailableError(f"{partner}: {what}", billed=Billed.UNSURE)
