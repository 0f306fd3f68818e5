"""What webhooks with one lead in a body have in common: taking a field out of the body, and the answer."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from producers import lenient_json
from producers.http_error import HttpError
from producers.intake import Receipt
from producers.records import RawWebhook
from producers.sources.endpoint import Answer

EVENT_ID_HEADER = "X-Event-Id"
NOT_AN_OBJECT = "an object is required"
OK: dict[str, Any] = {
    "description": "Published.",
    "headers": {
        EVENT_ID_HEADER: {
            "description": "Id of the event that this webhook becomes",
            "schema": {"type": "string", "format": "uuid"},
        }
    },
    "content": {"application/json": {"schema": {"type": "object", "maxProperties": 0}}},
}
UNPROCESSABLE: dict[str, Any] = {"$ref": "#/components/responses/Refused"}

# Decodes the outermost object only: the values of its fields keep their original bytes.
_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def pop_field(body: bytes, name: str) -> tuple[object, RawWebhook]:
    """The value of one field of a JSON object, None if missing, and the object without that field. Raises HttpError.

    The field is removed however its name is escaped: it holds a secret, and topics are kept for weeks and read by many.
    """
    try:
        fields = _object_decoder.decode(body)
        value = orjson.loads(bytes(fields.pop(name, b"null")))
        raw = msgspec.json.encode(fields)
        return value, RawWebhook(raw, orjson.loads(raw))
    except msgspec.ValidationError:
        raise HttpError(400, NOT_AN_OBJECT) from None
    except (msgspec.DecodeError, orjson.JSONDecodeError, UnicodeError, RecursionError):
        return _pop_field_leniently(body, name)


def answer(receipt: Receipt) -> Answer:
    """An empty object, with the event's id in a header; 422 with a message when the lead is rejected."""
    if receipt.all_rejected:
        fault = receipt.rejected[0]
        return 422, {"message": f"{fault.path}: {fault.reason}" if fault.path else fault.reason}, {}
    return 200, {}, {EVENT_ID_HEADER: receipt.event_ids[0]}


def _pop_field_leniently(body: bytes, name: str) -> tuple[object, RawWebhook]:
    try:
        fields = lenient_json.load(body)
    except (ValueError, RecursionError):
        raise HttpError(400, "not JSON") from None
    if not isinstance(fields, dict):
        raise HttpError(400, NOT_AN_OBJECT)
    value = fields.pop(name, None)
    return value, RawWebhook(lenient_json.dump(fields), fault=lenient_json.NOT_REPRESENTABLE)
