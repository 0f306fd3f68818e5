"""Reads a partner's answer within limits of size, depth and number of values. A partner is not trusted.

Rule 1: no byte is read past ``LARGEST``. It bounds what the decompressor gives, chunk by chunk, so that a compressed
answer counts as large as it becomes.
Rule 2: whatever is wrong with a body is ``PartnerUnavailableError`` with ``billed`` "unsure": the call was made.
Rule 3: no error repeats the body's own words, which may hold a CPF.
"""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import orjson

from stream.domain.errors import Billed, PartnerUnavailableError

LARGEST = 1024 * 1024  # bytes, decompressed
MOST_VALUES = 20_000  # commas and brackets: what is done with each value must not stop the loop
DEEPEST = 64  # levels; whoever walks through an answer later does so by recursion
CODINGS = frozenset({"", "identity", "gzip", "deflate"})  # aiohttp decompresses these in bounded steps
UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
BOM = b"\xef\xbb\xbf"
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]*)", re.IGNORECASE)


async def json_of(partner: str, response: aiohttp.ClientResponse) -> Any:
    """The body as JSON, whatever its content type. Raises PartnerUnavailableError where it is none, or too much."""
    if ",".join(response.headers.getall("Content-Encoding", [])).strip().lower() not in CODINGS:
        raise _no_answer(partner, "an unknown content encoding")
    charset = _CHARSET.search(response.headers.get("Content-Type", ""))
    if charset is not None and charset[1].lower() not in UTF_8:
        raise _no_answer(partner, "a charset other than UTF-8")
    return _parsed(partner, (await _limited(partner, response)).removeprefix(BOM))


async def _limited(partner: str, response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST:
            raise _no_answer(partner, "a body above 1 MiB")
    return bytes(body)


def _parsed(partner: str, body: bytes) -> Any:
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MOST_VALUES:
        raise _no_answer(partner, "a body of too many values")
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _no_answer(partner, "a body that is no JSON") from None
    if _is_deeper(parsed, DEEPEST):
        raise _no_answer(partner, "a body nested too deeply")
    return parsed


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects lie in each other more than ``levels`` deep; level by level, without recursion."""
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


def _no_answer(partner: str, what: str) -> PartnerUnavailableError:
    return PartnerUnavailableError(f"{partner}: {what}", billed=Billed.UNSURE)
