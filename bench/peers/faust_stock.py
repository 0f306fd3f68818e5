"""Faust as it comes: the same agent with the engine's defaults.

Promises: at least once as Faust means it (``acks=all``, commits every 2.8 s; an event counts as done when its handler
returns, delivered or not). Its table is in memory with a changelog.
"""

from __future__ import annotations

import os
from typing import Any

import faust
import orjson

from bench.peers.event import event, partner

app = faust.App(
    os.environ.get("BENCH_GROUP", "bench"),
    broker=f"kafka://{os.environ.get('KAFKA_BOOTSTRAP_SERVERS', '')}",
    topic_partitions=int(os.environ.get("TOPIC_PARTITIONS", "4")),
    topic_replication_factor=1,
    consumer_auto_offset_reset="earliest",
    web_enabled=False,
)
webhooks = app.topic("webhooks", key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw")
enriched = app.topic(
    "contacts.enriched", key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw"
)
people = app.Table("people", partitions=int(os.environ.get("TOPIC_PARTITIONS", "4")))


@app.agent(webhooks)
async def answer(stream: Any) -> None:
    """Answer webhooks forever."""
    ask = partner()
    async for value in stream:
        webhook = orjson.loads(value)
        key = webhook["normalised"]["key"]
        known = people.get(key)
        if known is None:
            known = people[key] = ask(key)
        content, headers = event(webhook, known)
        await enriched.send(key=key.encode(), value=content, headers=headers)


if __name__ == "__main__":
    app.main()
