"""Webhooks in another producer's transactions: answered once they are committed, never when they are aborted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from producers.records import RawWebhook, Record, webhook_record
from stream import topics
from stream.domain.leads import Source
from stream.kafka.clients import client_options, partition_of
from stream.local.people import Someone, population
from stream.local.stack import Stack
from tests.support.enriched import committed
from tests.support.system import counts, events_until, ids, lead, metric, teach, wait_until

PARTITIONS = 2
HELD = "leads_open_transaction_seconds"


@pytest.fixture
def stack() -> Iterator[Stack]:
    """A worker and the partners; no producers: the test writes to the topic itself."""
    extra = {"TOPIC_PARTITIONS": str(PARTITIONS), "LOG_LEVEL": "WARNING"}
    with Stack(print, scale=0.05, extra=extra) as started:
        started.start_servers()
        started.start_simulators()
        started.start_ours("worker")
        yield started


def record(identity: str, someone: Someone) -> Record:
    """A webhook as the producers would write it."""
    body = lead(identity, someone)
    return webhook_record(Source.C2S, RawWebhook(json.dumps(body).encode(), body), datetime.now(UTC), frozenset())


def on(partition: int, people: list[Someone]) -> Someone:
    """Somebody whose contact lies on a partition; taken out of ``people``."""
    found = next(one for one in people if partition_of(record("x", one).key or b"", PARTITIONS) == partition)
    people.remove(found)
    return found


@asynccontextmanager
async def producer(stack: Stack, transactional_id: str | None = None) -> AsyncIterator[AIOKafkaProducer]:
    """An upstream producer."""
    made = AIOKafkaProducer(**client_options(stack.settings()), transactional_id=transactional_id)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def send(producer: AIOKafkaProducer, identity: str, someone: Someone) -> None:
    """Write a webhook and wait until the broker has it."""
    one = record(identity, someone)
    await producer.send_and_wait(one.topic, one.value, key=one.key, headers=list(one.headers))


async def everything_is_committed(stack: Stack) -> bool:
    """Whether the workers' group stands at the end of each partition's log, markers included."""
    consumer = AIOKafkaConsumer(**client_options(stack.settings()))
    await consumer.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(topics.WEBHOOKS.name, n) for n in range(PARTITIONS)])
    finally:
        await consumer.stop()
    stands = await committed(stack.settings(), topics.WORKER_GROUP, topics.WEBHOOKS.name)
    return all(stands.get(one.partition, 0) == end for one, end in ends.items())


async def until_committed(stack: Stack) -> None:
    """Wait for it."""
    async with asyncio.timeout(60):
        while not await everything_is_committed(stack):  # noqa: ASYNC110 - another process commits
            await asyncio.sleep(0.1)


async def answered(stack: Stack, *wanted: str) -> set[str]:
    """Wait until these leads are answered; all that are."""
    return ids(await asyncio.to_thread(events_until, stack, lambda events: ids(events) >= set(wanted)))


async def test_only_committed_webhooks_are_answered_and_paid_for(stack: Stack) -> None:
    """Aborted ones never; those of an open transaction, and all behind them, when it ends; nothing is left over."""
    people = population(40, 71)
    teach(stack, people)
    aborted, late, hit = on(0, people), on(0, people), on(0, people)
    opened, behind, elsewhere = on(0, people), on(0, people), on(1, people)
    async with producer(stack, "upstream") as upstream, producer(stack) as plain:
        await upstream.begin_transaction()
        await send(upstream, "aborted", aborted)
        await upstream.abort_transaction()
        await until_committed(stack)  # of a partition that holds nothing but an aborted transaction

        await upstream.begin_transaction()
        await send(upstream, "open", opened)
        await send(plain, "behind", behind)
        await send(plain, "elsewhere", elsewhere)
        assert await answered(stack, "elsewhere") == {"elsewhere"}
        await asyncio.to_thread(wait_until, lambda: metric(stack, HELD) > 1, f"{HELD} to rise")
        assert await answered(stack, "elsewhere") == {"elsewhere"}
        assert counts(stack)["counts"]["diretrix"] == 1

        await upstream.commit_transaction()
        assert await answered(stack, "open", "behind") == {"elsewhere", "open", "behind"}
        await asyncio.to_thread(wait_until, lambda: metric(stack, HELD) == 0, f"{HELD} to fall")
        await until_committed(stack)

        await send(plain, "hit", hit)
        await upstream.begin_transaction()
        await send(upstream, "late", late)
        await upstream.abort_transaction()
        await until_committed(stack)
        assert await answered(stack, "hit") == {"elsewhere", "open", "behind", "hit"}
    assert counts(stack)["counts"]["diretrix"] == 4
    worker = stack.children["worker"]
    assert worker.stop() == 0, worker.tail()
    worker.start()
    worker.wait_for(f"{stack.worker_url}/readyz")
    async with producer(stack) as plain:
        await send(plain, "again", opened)
        assert await answered(stack, "again") == {"elsewhere", "open", "behind", "hit", "again"}
    await until_committed(stack)
    assert counts(stack)["counts"]["diretrix"] == 4
