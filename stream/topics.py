"""All topics and consumer groups: each topic's name, key, value, partitions, retention and clean-up policy.

``stream.ops.topics`` creates the missing topics and reports differences.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

APP_ID = "leads"  # must never change: a new id means an empty table and a new consumer group
TABLE_NAME = "contacts"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. ``partitions=0`` means ``TOPIC_PARTITIONS``; ``retention=None`` keeps every record."""

    name: str
    key: str
    value: str
    partitions: int = 0
    retention: timedelta | None = None
    config: dict[str, str] = field(default_factory=dict)

    def settings(self) -> dict[str, str]:
        """The topic's settings by the broker's names."""
        retention = {} if self.retention is None else {"retention.ms": str(int(self.retention.total_seconds() * 1000))}
        return {"cleanup.policy": "delete", **retention, **self.config}


WEBHOOKS = Topic(
    "webhooks",
    key="contact key",
    value="the webhook as received, JSON",
    retention=timedelta(days=30),
    # LogAppendTime: a replay by time must not depend on the producers' clocks. The size fits a body of 1 MiB with its
    # JSON envelope and the headers it brings back from a retry topic. Other systems may use any compression.
    # The broker decompresses, so an unknown codec does not stop us and the limit holds for the decompressed record.
    config={
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": "1310720",
        "compression.type": "uncompressed",
    },
)
MAX_MOVED_BYTES = 1_250_000  # of value and headers; with the headers that a move adds, the record still fits `webhooks`
# A record of `webhooks` must fit the topics it may move to, with the headers that the move adds.
ROOM_FOR_HEADERS = {"max.message.bytes": "2097152"}
# One topic for each delay, shortest first, so the first record of a partition is due first. While a worker runs, a
# record waits here for the longest delay at most; the retention is far longer.
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
    # Compact only: with `delete` or a retention, Faust's recovery hangs. Small segments keep the recovery short.
    config={"cleanup.policy": "compact", "segment.ms": "3600000", "min.cleanable.dirty.ratio": "0.1"},
)
ALL = (WEBHOOKS, *RETRIES, DEAD, ENRICHED, CHANGELOG)

WORKER_GROUP = APP_ID
RETRY_GROUP = f"{APP_ID}.retry"
CRM_GROUP = f"{APP_ID}.crm-sync"
JOURNAL_GROUP = f"{APP_ID}.journal"
# Groups that can be replayed. Not the retry group: the webhooks it has moved are in `webhooks`.
GROUPS = {WORKER_GROUP: WEBHOOKS, CRM_GROUP: ENRICHED, JOURNAL_GROUP: ENRICHED}
