"""The batch producer on a real broker, with both failure policies: the order, and the gap after a failed batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from producers.records import Record
from stream.kafka.batch_producer import BatchProducer, FailFast, RetryUntilShutdown
from stream.kafka.clients import MAX_BATCH_BYTES, open_producer, partition_of
from stream.settings import Settings
from stream.topics import WEBHOOKS
from tests.support.waiting import LIMIT, until_true

RETRY = RetryUntilShutdown(delay_seconds=0.05)
both_policies = pytest.mark.parametrize("policy", [FailFast(), RETRY], ids=["fail fast", "retry"])
REFUSED = b"x" * 2_000_000  # bytes: more than the topic takes


@asynccontextmanager
async def decode(settings: Settings, policy: FailFast | RetryUntilShutdown) -> AsyncIterator[BatchProducer]:
    """A batch producer that has the metadata of the topic."""
    async with open_producer(settings) as producer:
        batches = BatchProducer(producer, policy)
        await batches.load_metadata(WEBHOOKS.name)
        try:
            yield batches
        finally:
            await batches.close()


async def values(settings: Settings, partition: int) -> list[bytes]:
    """All values of a partition in order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers)
    await consumer.start()
    try:
        part = TopicPartition(WEBHOOKS.name, partition)
        consumer.assign([part])
        await consumer.seek_to_beginning()
        end = (await consumer.end_offsets([part]))[part]
        found: list[bytes] = []
        while await consumer.position(part) < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [record.value for record in records]
        return found
    finally:
        await consumer.stop()


def enqueue(batches: BatchProducer, value: bytes, told: list[bytes], partition: int = 0) -> None:
    batches.enqueue(WEBHOOKS.name, b"key", value, [("h", b"1"), ("none", None)], partial(told.append, value), partition)


@both_policies
async def test_records_are_written_and_acknowledged_in_order(
    broker: Settings, policy: FailFast | RetryUntilShutdown
) -> None:
    """Over several batches and ticks, callbacks and handles share a partition and its order."""
    told: list[bytes] = []
    key = b"+5511987654321"
    partition = partition_of(key, broker.topic_partitions)
    written = [f"{number}:".encode() + b"x" * 1_000 for number in range(3_000)]
    assert sum(map(len, written)) > 4 * MAX_BATCH_BYTES
    async with decode(broker, policy) as batches, asyncio.timeout(LIMIT):
        handles = []
        for number, value in enumerate(written):
            if number % 3:
                enqueue(batches, value, told, partition)
            else:
                handles.append(batches.enqueue_all([Record(WEBHOOKS.name, key, value, [], "id")]))
            if number % 100 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*(handle.result for handle in handles))
        await batches.flush()
        assert (batches.backlog, batches.failing_since) == (0, None)
    assert await values(broker, partition) == written
    assert told == [value for number, value in enumerate(written) if number % 3]


async def test_a_refused_batch_ends_its_partition_and_no_other(broker: Settings) -> None:
    """FailFast: records behind a refused one fail, and the broker refuses later batches after the gap."""
    key, told = b"+5511987654321", list[bytes]()
    partition = partition_of(key, broker.topic_partitions)

    def record(value: bytes) -> Record:
        return Record(WEBHOOKS.name, key, value, [], "id")

    async with decode(broker, FailFast()) as batches, asyncio.timeout(LIMIT):
        await batches.enqueue_all([record(b"first")]).result
        refused, behind = batches.enqueue_all([record(REFUSED)]), batches.enqueue_all([record(b"behind")])
        for handle in (refused, behind):
            with pytest.raises(MessageSizeTooLargeError):
                await handle.result
        with pytest.raises(KafkaError):  # the gap
            await batches.enqueue_all([record(b"after")]).result
        enqueue(batches, b"elsewhere", told, (partition + 1) % broker.topic_partitions)
        await batches.flush()
    assert told == [b"elsewhere"]
    async with decode(broker, FailFast()) as successor, asyncio.timeout(LIMIT):
        await successor.enqueue_all([record(b"again")]).result
    assert await values(broker, partition) == [b"first", b"again"]


async def test_a_refused_batch_blocks_its_partition_and_its_age_is_known(broker: Settings) -> None:
    """RetryUntilShutdown: no record overtakes a refused one, others go on, and ``failing_since`` gets old."""
    told: list[bytes] = []
    async with decode(broker, RETRY) as batches, asyncio.timeout(LIMIT):
        enqueue(batches, b"first", told)
        await until_true(lambda: told == [b"first"])
        enqueue(batches, REFUSED, told)
        enqueue(batches, b"behind", told)
        await until_true(lambda: batches.failing_since is not None)
        since = batches.failing_since
        for number in range(5):
            enqueue(batches, str(number).encode(), told, partition=1)
            await until_true(lambda wanted=number: told[-1] == str(wanted).encode())  # type: ignore[misc]
        assert batches.failing_since == since
        assert batches.backlog == 2
    assert await values(broker, 0) == [b"first"]
    assert batches.backlog == 2, "nobody was told that they have ended"
