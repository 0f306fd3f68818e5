"""One webhook on its way through the worker, from its arrival to one of its ends."""

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
    """A record of the topic ``webhooks`` as it arrived; ``on_completed`` is told when it is finished."""

    record: ConsumerRecord
    tracker: Tracker
    on_completed: Callable[[], None] | None = None

    @property
    def partition(self) -> int:
        """Where it lies."""
        return int(self.record.partition)

    @property
    def offset(self) -> int:
        """Where in its partition."""
        return int(self.record.offset)

    @property
    def key(self) -> bytes | None:
        """The key that it came with, whatever its contact's is."""
        key: bytes | None = self.record.key
        return key

    @property
    def value(self) -> bytes | None:
        """The webhook."""
        value: bytes | None = self.record.value
        return value

    @property
    def headers(self) -> Headers:
        """What came with it."""
        headers: Headers = self.record.headers
        return headers

    @property
    def timestamp(self) -> float:
        """When it was written, in epoch seconds."""
        return float(self.record.timestamp) / 1000

    def header(self, name: str) -> str:
        """A header's text, "" when it is not there or has no value."""
        for key, value in self.headers:
            if key == name:
                return (value or b"").decode("utf-8", "replace")
        return ""

    @property
    def identity(self) -> dict[str, str]:
        """What a line of the log says of a webhook that can't be understood, as far as it can be read."""
        return {"lead": lead_id_in(self.value), "event_id": self.header(CE_ID)}

    @property
    def size(self) -> int:
        """Bytes of its value and its headers: what goes along when it is moved."""
        headers = sum(len(name.encode()) + len(value or b"") for name, value in self.headers)
        return len(self.value or b"") + headers

    def tries(self, now: datetime) -> FailedAttempts:
        """The tries before this one, as far as they can be believed."""
        return failed_attempts_of(self.header, now)

    def let_go(self) -> None:
        """Drop value and headers: it has ended, and only waits for its lookup to come by."""
        self.record = replace(self.record, value=None, headers=())

    def completed(self) -> None:
        """It has ended, and the broker has all that it left: its offset may be committed."""
        self.tracker.complete(self.record.offset)
        if self.on_completed is not None:
            self.on_completed()


class PendingWebhook(msgspec.Struct, eq=False):
    """A message that was understood.

    ``ended`` is set by whichever end comes first, and only that one counts; ``started`` (monotonic seconds)
    when it is looked up; ``queued_bytes`` is what the queue counts for it while it is in there.
    """

    message: SourceRecord
    webhook: Webhook
    contact: Contact
    event_id: str
    ended: bool = False
    started: float | None = None
    queued_bytes: int = 0

    @property
    def identity(self) -> dict[str, str]:
        """What a line of the log says of it."""
        return {"lead": self.webhook.lead.id, "event_id": self.event_id}
