"""A hand-written aiokafka loop with a dict.

Promises: at least once (``acks=all``, idempotent; offsets are committed, once a second, after delivery). Its state
is a dict: a restart begins with an empty one, and two workers would know different people.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from bench.peers.event import Headers, Known, event, partner

COMMIT_EVERY = 1.0  # seconds


async def main() -> None:
    """Read, answer, publish, commit, forever."""
    ask = partner()
    people: dict[str, Known] = {}
    servers = os.environ["KAFKA_BOOTSTRAP_SERVERS"]
    consumer = AIOKafkaConsumer(
        "webhooks",
        bootstrap_servers=servers,
        group_id=os.environ["BENCH_GROUP"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        acks="all",
        enable_idempotence=True,
        max_batch_size=524_288,
        max_request_size=3_145_728,
    )
    await consumer.start()
    await producer.start()
    committed = time.monotonic()
    delivering: list[asyncio.Future[object]] = []
    done: dict[TopicPartition, int] = {}
    try:
        while True:
            fetched = await consumer.getmany(timeout_ms=200)
            sent: list[asyncio.Future[object]] = []
            for partition, records in fetched.items():
                answers = [_answer(record, people, ask) for record in records]
                # A contact's events stay on the partition of its webhooks: both topics have as many.
                sent += await _send(producer, partition.partition, answers)
            # While these are on their way the ones before are waited for.
            await asyncio.gather(*delivering)
            if done and time.monotonic() - committed >= COMMIT_EVERY:
                await consumer.commit(done)
                committed = time.monotonic()
            delivering = sent
            done.update({partition: records[-1].offset + 1 for partition, records in fetched.items()})
    finally:
        await consumer.stop()
        await producer.stop()


def _answer(
    record: ConsumerRecord, people: dict[str, Known], ask: Callable[[str], Known]
) -> tuple[bytes, bytes, Headers]:
    webhook = orjson.loads(record.value)
    key = webhook["normalised"]["key"]
    known = people.get(key)
    if known is None:
        known = ask(key)
        known["person"] = orjson.Fragment(orjson.dumps(known["person"]))
        people[key] = known
    value, headers = event(webhook, known)
    return key.encode(), value, headers


async def _send(
    producer: AIOKafkaProducer, partition: int, answers: list[tuple[bytes, bytes, Headers]]
) -> list[asyncio.Future[object]]:
    sent = []
    batch = producer.create_batch()
    for key, value, headers in answers:
        if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
            sent.append(await producer.send_batch(batch, "contacts.enriched", partition=partition))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None, headers=headers)
    if batch.record_count():
        sent.append(await producer.send_batch(batch, "contacts.enriched", partition=partition))
    return sent


if __name__ == "__main__":
    uvloop.run(main())
