"""One webhook on its way through the worker, from its arrival to one of its ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from stream.domain.events import event_id
from stream.domain.identity import Contact
from stream.domain.leads import Webhook
from stream.domain.parking import Tries, tries_of

Headers = Sequence[tuple[str, bytes | None]]  # Kafka's headers may have no value


class Message(msgspec.Struct, eq=False):
    """A record of the topic ``webhooks`` as it arrived; ``timestamp`` in epoch seconds."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: float
    finished: Callable[[], None]

    def header(self, name: str) -> str:
        """A header's text, "" when it is not there or has no value."""
        for key, value in self.headers:
            if key == name:
                return (value or b"").decode("utf-8", "replace")
        return ""

    @property
    def size(self) -> int:
        """Bytes of its value and its headers: what goes along when it is moved."""
        headers = sum(len(name.encode()) + len(value or b"") for name, value in self.headers)
        return len(self.value or b"") + headers

    def tries(self, now: datetime) -> Tries:
        """The tries before this one, as far as they can be believed."""
        return tries_of(self.header, now)


class Delivery(msgspec.Struct, eq=False):
    """A message that was understood.

    ``ended`` is set by whichever end comes first, and only that one counts; ``started`` (monotonic seconds)
    when it is looked up. ``key``: its contact's, as records carry it.
    """

    message: Message
    webhook: Webhook
    contact: Contact
    ended: bool = False
    started: float | None = None
    event_id: str = ""
    key: bytes = b""

    def __post_init__(self) -> None:
        self.event_id = event_id(self.webhook.lead)
        self.key = self.contact.key.encode()
