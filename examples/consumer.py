"""A downstream consumer: reads enriched contacts, drops repeats, and commits only what it has handled.

    KAFKA_BOOTSTRAP_SERVERS=localhost:9092 python examples/consumer.py my-group

An event may come twice: after a restart, a second delivery, a replay. What has the same (event_id, revision)
says the same. By ``event_id`` alone a ``pending`` would hide the ``enriched`` that follows it.

``lead.source``, ``tier``, ``outcome`` and ``match`` are open enumerations: a later version may write values that you do
not know. Decide what they mean to you; an unknown ``match`` vouches for nobody.
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

REMEMBERED = 100_000  # what must not be done twice, whatever happens, belongs into a database, unique by both


async def events(servers: str, group: str) -> AsyncIterator[dict[str, Any]]:
    """Yield each event once; one is committed after the next is asked for."""
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
            said = (event["event_id"], event["revision"])
            if said not in seen:
                yield event
                seen[said] = None
                if len(seen) > REMEMBERED:
                    del seen[next(iter(seen))]
            with contextlib.suppress(CommitFailedError):  # partitions have moved: who has them now repeats a little
                await consumer.commit()
    finally:
        await consumer.stop()


def masked(event: dict[str, Any]) -> str:
    """The contact as it may be shown: a phone's last digits, an e-mail's end, nothing of what is short."""
    key = event["contact"]["key"] or ""
    return f"***{key[-4:]}" if len(key) > 8 else "-"  # noqa: PLR2004


async def main(servers: str, group: str) -> None:
    """Print what becomes known of each lead."""
    async for event in events(servers, group):
        print(event["lead"]["id"], event["outcome"], masked(event), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("group", help="a consumer group of your own")
    parser.add_argument("--servers", default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"))
    options = parser.parse_args()
    asyncio.run(main(options.servers, options.group))
