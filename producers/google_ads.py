"""The Google Ads lead form webhook: what its body holds, and what Google is answered. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from producers import odd_json
from producers.intake import Receipt
from producers.items import Part
from producers.refusal import RefusalError

PATH = "/api/v1/webhooks/google-ads"
KEY_FIELD = "google_key"
EVENT_ID_HEADER = "X-Event-Id"
NO_OBJECT = "an object is required"

# The outermost fields only: the others keep the bytes that they came in.
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Form:
    """A lead form, and the key that came with it (None: none did)."""

    key: object
    part: Part


def form(body: bytes) -> Form:
    """Take a body apart. Raises RefusalError when it is no JSON object.

    The key has done its work once it is compared, and goes no further: a topic that is kept for weeks and
    read by many is no place for a secret.
    """
    try:
        fields = _fields.decode(body)
        key = orjson.loads(bytes(fields.pop(KEY_FIELD, b"null")))
        raw = msgspec.json.encode(fields)
        return Form(key, Part(raw, orjson.loads(raw)))
    except msgspec.ValidationError:
        raise RefusalError(400, NO_OBJECT) from None
    except (msgspec.DecodeError, orjson.JSONDecodeError, UnicodeError, RecursionError):
        return _odd_form(body)


def _odd_form(body: bytes) -> Form:
    try:
        fields = odd_json.load(body)
    except (ValueError, RecursionError):
        raise RefusalError(400, "not JSON") from None
    if not isinstance(fields, dict):
        raise RefusalError(400, NO_OBJECT)
    key = fields.pop(KEY_FIELD, None)
    return Form(key, Part(odd_json.dump(fields), fault=odd_json.FAULT))


def answer(receipt: Receipt) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers. Google wants an empty object, reads ``message`` of a 4xx, and tries again on 5xx."""
    if receipt.is_hopeless:
        fault = receipt.rejected[0]
        return 422, {"message": f"{fault.path}: {fault.reason}" if fault.path else fault.reason}, {}
    return 200, {}, {EVENT_ID_HEADER: receipt.event_ids[0]}
