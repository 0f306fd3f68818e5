"""Whose record it is: what every line of the log about an event says."""

from __future__ import annotations

from aiokafka import ConsumerRecord

from stream.domain.events import decode_event
from stream.domain.headers import CE_ID


def about(record: ConsumerRecord) -> dict[str, str]:
    """``lead`` and ``event_id`` of a record of ``contacts.enriched``, as far as they can be read."""
    try:
        event = decode_event(record.value or b"")
    except ValueError:
        ids = [value for name, value in record.headers if name == CE_ID and value]
        return {"lead": "unknown", "event_id": ids[0].decode("utf-8", "replace") if ids else "unknown"}
    return {"lead": event.lead.id, "event_id": event.event_id}
