"""The C2S webhook: one event or an array of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from producers import lenient_json
from producers.http_error import HttpError
from producers.intake import Receipt
from producers.items import Part
from producers.limits import MIB
from producers.presentation import HeaderOrUrl
from producers.sources.endpoint import PREFIX, Answer, Body, Endpoint, Operation
from producers.sources.parts import part_of
from stream.domain.sources.lead import Source

MOST_EVENTS = 10_000  # in one body

# Cuts an array into its items without decoding them: each keeps the bytes that it came in.
_items = msgspec.json.Decoder(list[msgspec.Raw])


def parts(body: bytes) -> Iterator[Part]:
    """The events of a body, one or an array of them. Raises HttpError for a body that is no JSON at all.

    Each is parsed when it is asked for: a body of many is never there in parts all at once.
    """
    body = body.strip()
    try:
        if not body.startswith(b"["):
            return iter((part_of(body, strict=True),))
        items = _split(body)
    except (ValueError, RecursionError):
        raise HttpError(400, "not JSON") from None
    if len(items) > MOST_EVENTS:
        raise HttpError(413, f"at most {MOST_EVENTS} events at once")
    return (part_of(bytes(item)) for item in items)


def split(body: bytes) -> Body:
    """The events of a body; C2S presents its token in the head. Raises HttpError."""
    return None, parts(body)


def answer(receipt: Receipt) -> Answer:
    """Status, body and headers. C2S tries again on whatever is not 2xx, so one bad event does not refuse the others."""
    body: dict[str, Any] = {
        "status": "rejected" if receipt.is_hopeless else "received",
        "received": receipt.received,
        "processed": receipt.processed,
        "duplicates": receipt.duplicates,
        "event_ids": receipt.event_ids,
    }
    if receipt.rejected:
        body["rejected"] = receipt.rejected  # orjson knows dataclasses
    return (422 if receipt.is_hopeless else 200), body, {}


def _split(body: bytes) -> Sequence[bytes | msgspec.Raw]:
    try:
        return _items.decode(body)
    except msgspec.DecodeError:
        return lenient_json.items(body)


_RECEIPT = {"application/json": {"schema": {"$ref": "#/components/schemas/Receipt"}}}
ENDPOINT = Endpoint(
    source=Source.C2S,
    path=f"{PREFIX}c2s",
    setting="c2s_webhook_token",
    # C2S can't set headers on what is subscribed over its API.
    presentation=HeaderOrUrl(header="X-Webhook-Token", parameter="token"),
    largest_body=MIB,
    split=split,
    answer=answer,
    operation=Operation(
        summary=f"One C2S event, or an array of at most {MOST_EVENTS:,}",
        component="C2sEvent",
        ok={
            "description": "Published. What could not be read is listed under `rejected` and kept in webhooks.dead.",
            "content": _RECEIPT,
        },
        unprocessable={
            "description": "Nothing could be read; all of it is kept in webhooks.dead.",
            "content": _RECEIPT,
        },
        array_of=MOST_EVENTS,
    ),
    is_required=True,
)
