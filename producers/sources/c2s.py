"""The C2S webhook: one event or an array of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from producers import lenient_json
from producers.http_error import HttpError
from producers.intake import Receipt
from producers.limits import MIB
from producers.presentation import HeaderOrUrl
from producers.records import RawWebhook
from producers.sources.endpoint import PREFIX, Answer, Endpoint, Operation, SplitBody
from producers.sources.raw_webhook import raw_webhook_of
from stream.domain.sources.lead import Source

MAX_EVENTS = 10_000  # in one body

# Splits an array into its items without decoding them, so that each keeps its original bytes.
_array_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def raw_webhooks(body: bytes) -> Iterator[RawWebhook]:
    """The events of a body: one, or an array of them. Raises HttpError when the body is not JSON.

    Each event is parsed when the iterator reaches it, so the parsed events of a large body are never all in memory.
    """
    body = body.strip()
    try:
        if not body.startswith(b"["):
            return iter((raw_webhook_of(body, strict=True),))
        items = _split(body)
    except (ValueError, RecursionError):
        raise HttpError(400, "not JSON") from None
    if len(items) > MAX_EVENTS:
        raise HttpError(413, f"at most {MAX_EVENTS} events at once")
    return (raw_webhook_of(bytes(item)) for item in items)


def split(body: bytes) -> SplitBody:
    """No secret, which is in the head, and the events of a body. Raises HttpError."""
    return None, raw_webhooks(body)


def answer(receipt: Receipt) -> Answer:
    """Status, body and headers. C2S retries unless it gets a 2xx, so one bad event must not refuse the others."""
    body: dict[str, Any] = {
        "status": "rejected" if receipt.all_rejected else "received",
        "received": receipt.received,
        "processed": receipt.processed,
        "duplicates": receipt.duplicates,
        "event_ids": receipt.event_ids,
    }
    if receipt.rejected:
        body["rejected"] = receipt.rejected  # orjson knows dataclasses
    return (422 if receipt.all_rejected else 200), body, {}


def _split(body: bytes) -> Sequence[bytes | msgspec.Raw]:
    try:
        return _array_decoder.decode(body)
    except msgspec.DecodeError:
        return lenient_json.split_array(body)


_RECEIPT = {"application/json": {"schema": {"$ref": "#/components/schemas/Receipt"}}}
ENDPOINT = Endpoint(
    source=Source.C2S,
    path=f"{PREFIX}c2s",
    setting="c2s_webhook_token",
    # C2S can't set headers for webhooks that are subscribed through its API.
    presentation=HeaderOrUrl(header="X-Webhook-Token", parameter="token"),
    max_body_bytes=MIB,
    split=split,
    answer=answer,
    operation=Operation(
        summary=f"One C2S event, or an array of at most {MAX_EVENTS:,}",
        component="C2sEvent",
        ok={
            "description": "Published. What could not be read is listed under `rejected` and kept in webhooks.dead.",
            "content": _RECEIPT,
        },
        unprocessable={
            "description": "Nothing could be read; all of it is kept in webhooks.dead.",
            "content": _RECEIPT,
        },
        max_array_items=MAX_EVENTS,
    ),
    is_required=True,
)
