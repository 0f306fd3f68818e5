"""The map: each topic's name, key, value, partitions, retention and clean-up.

A plain table of facts; ``stream.ops.topics`` creates what is missing and says what differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

APP_ID = "leads"  # never changes: a new id is a cold table and a new consumer group
TABLE_NAME = "contacts"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. ``partitions`` of 0 means the configured count; ``retention`` of None keeps all."""

    name: str
    key: str
    value: str
    partitions: int = 0
    retention: timedelta | None = None
    config: dict[str, str] = field(default_factory=dict)

    def settings(self) -> dict[str, str]:
        """Topic-level settings as the broker spells them."""
        retention = {} if self.retention is None else {"retention.ms": str(int(self.retention.total_seconds() * 1000))}
        return {"cleanup.policy": "delete", **retention, **self.config}


WEBHOOKS = Topic(
    "webhooks",
    key="contact key",
    value="the webhook as received, JSON",
    retention=timedelta(days=30),
    # Replay by time must not trust the producers' clocks. A body of 1 MiB has room for what is put around it, and for
    # the headers that it brings back from the retry topic. Anybody may write here, packed as they please: the broker
    # unpacks it, so that what we can't unpack does not stop us, and what is small only while it is packed is refused.
    config={
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": "1310720",
        "compression.type": "uncompressed",
    },
)
MAX_MOVED_BYTES = 1_250_000  # bytes of value and headers; with what it gains on the way it still fits `webhooks`
# What was accepted into `webhooks` must fit where it may go next, with the headers it gains on the way.
ROOM_FOR_HEADERS = {"max.message.bytes": "2097152"}
# One topic a delay, the shortest first: what stands first in a partition is due first. Kept far longer than the longest
# delay, which is how long a record waits here while a worker runs.
RETRIES = tuple(
    Topic(name, key="contact key", value="as webhooks", retention=timedelta(days=7), config=ROOM_FOR_HEADERS)
    for name in ("webhooks.retry", "webhooks.retry.2", "webhooks.retry.3")
)
DEAD = Topic(
    "webhooks.dead",
    key="contact key, if known",
    value="the original bytes",
    partitions=1,
    retention=timedelta(days=90),
    config=ROOM_FOR_HEADERS,
)
ENRICHED = Topic("contacts.enriched", key="contact key", value="one event, JSON", retention=timedelta(days=7))
CHANGELOG = Topic(
    f"{APP_ID}-{TABLE_NAME}-changelog",
    key="partition and alias",
    value="one entry, bytes",
    # Compact only: with `delete` or a retention Faust's recovery hangs. Small segments keep recovery short.
    config={"cleanup.policy": "compact", "segment.ms": "3600000", "min.cleanable.dirty.ratio": "0.1"},
)
ALL = (WEBHOOKS, *RETRIES, DEAD, ENRICHED, CHANGELOG)

WORKER_GROUP = APP_ID
RETRY_GROUP = f"{APP_ID}.retry"
CRM_GROUP = f"{APP_ID}.crm-sync"
JOURNAL_GROUP = f"{APP_ID}.journal"
# What can be replayed. Not the retry group: what it moved lies in `webhooks`, where it was parked from and moved to.
GROUPS = {WORKER_GROUP: WEBHOOKS, CRM_GROUP: ENRICHED, JOURNAL_GROUP: ENRICHED}
