"""Parses one webhook of a body."""

from __future__ import annotations

import orjson

from producers import lenient_json
from producers.records import RawWebhook


def raw_webhook_of(raw: bytes, *, strict: bool = False) -> RawWebhook:
    """One webhook; with a fault when it can't be parsed.

    ``strict``: raise ValueError or RecursionError when it is not JSON. For webhooks that are a whole body.
    """
    try:
        return RawWebhook(raw, orjson.loads(raw))
    except orjson.JSONDecodeError:
        if strict:
            lenient_json.load(raw)
        return RawWebhook(raw, fault=lenient_json.NOT_REPRESENTABLE)
