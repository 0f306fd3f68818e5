"""A webhook in the worker: ``SourceRecord`` as it was fetched, ``PendingWebhook`` once it was understood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec
from aiokafka import ConsumerRecord

from stream.domain.headers import CE_ID
from stream.domain.identity import Contact
from stream.domain.leads import Webhook, lead_id_in
from stream.domain.parking import FailedAttempts, failed_attempts_of
from stream.kafka.offset_tracker import Tracker

Headers = Sequence[tuple[str, bytes | None]]  # Kafka's headers may have no value


class SourceRecord(msgspec.Struct, eq=False):
    """A record of the topic ``webhooks`` as it was fetched. ``on_completed`` is called when it is completed."""

    kafka_record: ConsumerRecord
    tracker: Tracker
    on_completed: Callable[[], None] | None = None

    @property
    def partition(self) -> int:
        """The partition it was fetched from."""
        return int(self.kafka_record.partition)

    @property
    def offset(self) -> int:
        """Its offset in that partition."""
        return int(self.kafka_record.offset)

    @property
    def key(self) -> bytes | None:
        """Its key, which may differ from its contact's key."""
        key: bytes | None = self.kafka_record.key
        return key

    @property
    def value(self) -> bytes | None:
        """The encoded webhook."""
        value: bytes | None = self.kafka_record.value
        return value

    @property
    def headers(self) -> Headers:
        """Its headers, in order. A name may occur more than once."""
        headers: Headers = self.kafka_record.headers
        return headers

    @property
    def timestamp(self) -> float:
        """When it was written to the topic, in epoch seconds."""
        return float(self.kafka_record.timestamp) / 1000

    def header(self, name: str) -> str:
        """Return the first header of that name as text, "" if it is missing or has no value."""
        for key, value in self.headers:
            if key == name:
                return (value or b"").decode("utf-8", "replace")
        return ""

    @property
    def identity(self) -> dict[str, str]:
        """Log fields of a webhook that could not be decoded: lead and event id, "" where unreadable."""
        return {"lead": lead_id_in(self.value), "event_id": self.header(CE_ID)}

    @property
    def size(self) -> int:
        """Bytes of its value and its headers."""
        headers = sum(len(name.encode()) + len(value or b"") for name, value in self.headers)
        return len(self.value or b"") + headers

    def tries(self, now: datetime) -> FailedAttempts:
        """Return the tries before this one. Headers that are not ours count as no tries."""
        return failed_attempts_of(self.header, now)

    def drop_payload(self) -> None:
        """Free value and headers. The record is completed, but its single flight still holds it."""
        self.kafka_record = replace(self.kafka_record, value=None, headers=())

    def completed(self) -> None:
        """Mark the offset as completed: the broker has acknowledged all records of the webhook's outcome."""
        self.tracker.complete(self.kafka_record.offset)
        if self.on_completed is not None:
            self.on_completed()


class PendingWebhook(msgspec.Struct, eq=False):
    """A source record that was understood.

    ``has_outcome``: set by the first outcome; every later one is ignored. ``lookup_started_at``: monotonic seconds,
    None while no look-up of it runs. ``queued_bytes``: what it counts in the look-up queue.
    """

    record: SourceRecord
    webhook: Webhook
    contact: Contact
    event_id: str
    has_outcome: bool = False
    lookup_started_at: float | None = None
    queued_bytes: int = 0

    @property
    def identity(self) -> dict[str, str]:
        """Log fields: lead and event id."""
        return {"lead": self.webhook.lead.id, "event_id": self.event_id}
