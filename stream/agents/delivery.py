"""One webhook on its way through the worker, from its arrival to one of its ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stream.domain.events import event_id
from stream.domain.identity import Contact
from stream.domain.leads import Webhook

Headers = Sequence[tuple[str, bytes]]


@dataclass(slots=True)
class Message:
    """A record of the topic ``webhooks`` as it arrived; ``timestamp`` in epoch seconds."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: float
    finished: Callable[[], None]

    def header(self, name: str) -> str:
        """A header's text, "" when it is not there or not text."""
        for key, value in self.headers:
            if key == name:
                return value.decode("utf-8", "replace")
        return ""


@dataclass(slots=True)
class Delivery:
    """A message that was understood.

    ``ended`` is set by whichever end comes first, and only that one counts; ``started`` (monotonic seconds)
    when it is looked up.
    """

    message: Message
    webhook: Webhook
    contact: Contact
    ended: bool = False
    started: float | None = None
    event_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.event_id = event_id(self.webhook.lead)


@dataclass(frozen=True, slots=True)
class Parking:
    """When a parked webhook is tried again, and how often it was."""

    attempt: int
    first_failed: datetime
    not_before: datetime


def parking(message: Message, now: datetime, delay: timedelta, max_age: timedelta) -> Parking | None:
    """Decide when to try again; None when the webhook has been tried for ``max_age``."""
    first_failed = _instant(message.header("first-failed")) or now
    if now - first_failed >= max_age:
        return None
    attempts = message.header("attempt")
    attempt = int(attempts) + 1 if attempts.isdecimal() else 1
    return Parking(attempt, first_failed, now + delay)


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None
