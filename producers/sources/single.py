"""What webhooks that carry one lead in a body have in common: how the lead is read, and what the sender is told."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from producers import lenient_json
from producers.http_error import HttpError
from producers.intake import Receipt
from producers.items import Part
from producers.sources.endpoint import Answer

EVENT_ID_HEADER = "X-Event-Id"
NO_OBJECT = "an object is required"
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

# The outermost fields only: the others keep the bytes that they came in.
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def without_field(body: bytes, name: str) -> tuple[object, Part]:
    """The value of one field of a body that is an object, and the rest. Raises HttpError when it is no JSON object.

    None where the field is missing. The rest does not hold it, however its name was spelled: a topic that is kept for
    weeks and read by many is no place for a secret.
    """
    try:
        fields = _fields.decode(body)
        value = orjson.loads(bytes(fields.pop(name, b"null")))
        raw = msgspec.json.encode(fields)
        return value, Part(raw, orjson.loads(raw))
    except msgspec.ValidationError:
        raise HttpError(400, NO_OBJECT) from None
    except (msgspec.DecodeError, orjson.JSONDecodeError, UnicodeError, RecursionError):
        return _odd_object(body, name)


def answer(receipt: Receipt) -> Answer:
    """An empty object and the event's id; 422 with a message where the lead can't be taken."""
    if receipt.is_hopeless:
        fault = receipt.rejected[0]
        return 422, {"message": f"{fault.path}: {fault.reason}" if fault.path else fault.reason}, {}
    return 200, {}, {EVENT_ID_HEADER: receipt.event_ids[0]}


def _odd_object(body: bytes, name: str) -> tuple[object, Part]:
    try:
        fields = lenient_json.load(body)
    except (ValueError, RecursionError):
        raise HttpError(400, "not JSON") from None
    if not isinstance(fields, dict):
        raise HttpError(400, NO_OBJECT)
    value = fields.pop(name, None)
    return value, Part(lenient_json.dump(fields), fault=lenient_json.FAULT)
