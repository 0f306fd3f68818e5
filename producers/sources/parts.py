"""One webhook out of the bytes of a body."""

from __future__ import annotations

import orjson

from producers import lenient_json
from producers.items import Part


def part_of(raw: bytes, *, strict: bool = False) -> Part:
    """One webhook. ``strict``: raise ValueError or RecursionError where it is no JSON, for a body of its own."""
    try:
        return Part(raw, orjson.loads(raw))
    except orjson.JSONDecodeError:
        if strict:
            lenient_json.load(raw)
        return Part(raw, fault=lenient_json.FAULT)
