"""The C2S webhook: what its body holds, and what C2S is answered. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from producers.intake import Receipt
from producers.items import Part
from producers.refusal import RefusalError

PATH = "/api/v1/webhooks/c2s"
TOKEN_HEADER = "X-Webhook-Token"  # noqa: S105 - a header's name
TOKEN_PARAMETER = "token"  # noqa: S105 - the same; C2S can't set headers on what is subscribed over its API
MOST_EVENTS = 10_000  # in one body
NOT_JSON = "not JSON"

# Cuts an array into its items without decoding them: each keeps the bytes that it came in.
_items = msgspec.json.Decoder(list[msgspec.Raw])


def parts(body: bytes) -> list[Part]:
    """The events of a body, one or an array of them. Raises RefusalError for a body that is no JSON at all."""
    body = body.strip()
    if not body.startswith(b"["):
        try:
            return [Part(body, orjson.loads(body))]
        except orjson.JSONDecodeError:
            raise RefusalError(400, NOT_JSON) from None
    try:
        items = _items.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise RefusalError(400, NOT_JSON) from None
    if len(items) > MOST_EVENTS:
        raise RefusalError(413, f"at most {MOST_EVENTS} events at once")
    return [_part(bytes(item)) for item in items]


def answer(receipt: Receipt) -> tuple[int, dict[str, Any]]:
    """Status and body. C2S tries again on whatever is not 2xx, so one bad event does not refuse the others."""
    body: dict[str, Any] = {
        "status": "rejected" if receipt.is_hopeless else "received",
        "received": receipt.received,
        "processed": receipt.processed,
        "duplicates": receipt.duplicates,
    }
    if receipt.rejected:
        body["rejected"] = receipt.rejected  # orjson knows dataclasses
    return (422 if receipt.is_hopeless else 200), body


def _part(raw: bytes) -> Part:
    try:
        return Part(raw, orjson.loads(raw))
    except orjson.JSONDecodeError:
        return Part(raw, fault=NOT_JSON)
