"""An upstream producer: writes webhooks to the topic directly, without the HTTP server.

    KAFKA_BOOTSTRAP_SERVERS=localhost:9092 python examples/publish.py c2s < leads.jsonl

Each line is one webhook as its source would have posted it. No key and no partitioner is needed: the worker moves a
record to its contact's partition. To save that step, use the contact key as the record's key (a phone as
+5511987654321, else the e-mail in lower case), with the default partitioner of Kafka's Java client.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaProducer


async def publish(servers: str, source: str, payloads: Iterable[dict[str, Any]]) -> int:
    """Publish ``payloads`` of ``source`` (such as c2s or grupo_olx); returns how many the broker has acknowledged."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True, acks="all")
    await producer.start()
    try:
        sent = []
        for payload in payloads:
            received_at = datetime.now(UTC).isoformat()
            value = json.dumps({"source": source, "received_at": received_at, "payload": payload})
            sent.append(await producer.send("webhooks", value.encode()))
        await asyncio.gather(*sent)  # raises if a record was not acknowledged: run it again, a repeat does no harm
        return len(sent)
    finally:
        await producer.stop()


if __name__ == "__main__":
    lines = map(json.loads, sys.stdin)
    print(asyncio.run(publish(os.environ["KAFKA_BOOTSTRAP_SERVERS"], sys.argv[1], lines)), "published")
