"""The C2S webhook: what its body holds, and what C2S is answered. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import orjson

from producers import odd_json
from producers.intake import Receipt
from producers.items import Part
from producers.refusal import RefusalError

PATH = "/api/v1/webhooks/c2s"
TOKEN_HEADER = "X-Webhook-Token"  # noqa: S105 - a header's name
TOKEN_PARAMETER = "token"  # noqa: S105 - the same; C2S can't set headers on what is subscribed over its API
MOST_EVENTS = 10_000  # in one body

# Cuts an array into its items without decoding them: each keeps the bytes that it came in.
_items = msgspec.json.Decoder(list[msgspec.Raw])


def parts(body: bytes) -> Iterator[Part]:
    """The events of a body, one or an array of them. Raises RefusalError for a body that is no JSON at all.

    Each is parsed when it is asked for: a body of many is never there in parts all at once.
    """
    body = body.strip()
    try:
        if not body.startswith(b"["):
            return iter((_part(body, strict=True),))
        items = _split(body)
    except (ValueError, RecursionError):
        raise RefusalError(400, "not JSON") from None
    if len(items) > MOST_EVENTS:
        raise RefusalError(413, f"at most {MOST_EVENTS} events at once")
    return (_part(bytes(item)) for item in items)


def answer(receipt: Receipt) -> tuple[int, dict[str, Any]]:
    """Status and body. C2S tries again on whatever is not 2xx, so one bad event does not refuse the others."""
    body: dict[str, Any] = {
        "status": "rejected" if receipt.is_hopeless else "received",
        "received": receipt.received,
        "processed": receipt.processed,
        "duplicates": receipt.duplicates,
        "event_ids": receipt.event_ids,
    }
    if receipt.rejected:
        body["rejected"] = receipt.rejected  # orjson knows dataclasses
    return (422 if receipt.is_hopeless else 200), body


def _split(body: bytes) -> Sequence[bytes | msgspec.Raw]:
    try:
        return _items.decode(body)
    except msgspec.DecodeError:
        return odd_json.items(body)


def _part(raw: bytes, *, strict: bool = False) -> Part:
    """One event. ``strict``: raise ValueError or RecursionError where it is no JSON, for a body of its own."""
    try:
        return Part(raw, orjson.loads(raw))
    except orjson.JSONDecodeError:
        if strict:
            odd_json.load(raw)
        return Part(raw, fault=odd_json.FAULT)
