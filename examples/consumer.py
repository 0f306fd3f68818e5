"""A downstream consumer: reads enriched contacts, drops repeats, and commits an event only after it was handled.

    KAFKA_BOOTSTRAP_SERVERS=localhost:9092 python examples/consumer.py my-group

An event may come twice: after a restart, a second delivery, a replay. Events with the same (event_id, revision) say the
same. ``event_id`` alone is not enough: a ``pending`` event would hide the ``enriched`` event that follows it.

``lead.source``, ``tier``, ``outcome`` and ``match`` are open enumerations: a later version may write values that you do
not know. Decide what they mean to you. Treat an unknown ``match`` as not verified.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError

# Events that are remembered. What must never happen twice belongs in a database with a unique key on both ids.
MAX_SEEN_EVENTS = 100_000


async def events(servers: str, group: str) -> AsyncIterator[dict[str, Any]]:
    """Yield each event once. An event is committed when the next one is requested."""
    consumer = AIOKafkaConsumer(
        "contacts.enriched",
        bootstrap_servers=servers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    seen: dict[tuple[str, str], None] = {}
    await consumer.start()
    try:
        async for record in consumer:
            event = json.loads(record.value)
            identity = (event["event_id"], event["revision"])
            if identity not in seen:
                yield event
                seen[identity] = None
                if len(seen) > MAX_SEEN_EVENTS:
                    del seen[next(iter(seen))]
            with contextlib.suppress(CommitFailedError):  # partitions have moved: their new owner repeats some events
                await consumer.commit()
    finally:
        await consumer.stop()


def masked(event: dict[str, Any]) -> str:
    """The contact as it may be shown: the last four characters of its key, nothing of a short one."""
    key = event["contact"]["key"] or ""
    return f"***{key[-4:]}" if len(key) > 8 else "-"  # noqa: PLR2004


async def main(servers: str, group: str) -> None:
    """Print what becomes known about each lead."""
    async for event in events(servers, group):
        print(event["lead"]["id"], event["outcome"], masked(event), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", help="a consumer group of your own")
    parser.add_argument("--servers", default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"))
    options = parser.parse_args()
    asyncio.run(main(options.servers, options.group))
