"""The log fields that identify an event: its lead and its event id."""

from __future__ import annotations

from aiokafka import ConsumerRecord

from stream.domain.events import decode_event
from stream.domain.headers import CE_ID


def about(record: ConsumerRecord) -> dict[str, str]:
    """``lead`` and ``event_id`` of a record of ``contacts.enriched``; "unknown" if they can't be read."""
    try:
        event = decode_event(record.value or b"")
    except ValueError:
        ids = [value for name, value in record.headers if name == CE_ID and value]
        return {"lead": "unknown", "event_id": ids[0].decode("utf-8", "replace") if ids else "unknown"}
    return {"lead": event.lead.id, "event_id": event.event_id}
