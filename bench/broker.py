"""Broker helpers of the benchmarks: empty topics, fill them, wait for events, read the broker's time stamps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import groupby

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import ConsumerRecord

from stream import topics
from stream.domain.errors import StopError
from stream.kafka.clients import consumer_options, open_admin, open_producer
from stream.ops.topics import create_missing
from stream.settings import Settings

Headers = list[tuple[str, bytes]]
Item = tuple[int, bytes | None, bytes, Headers]  # partition, key, value, headers

LIMIT = 30.0  # seconds for the broker to do what it is told
STALLED = 60.0  # seconds without one event after which a side has failed
LOOK = 0.5  # seconds between looks at how far a side is
IN_FLIGHT = 8  # batches of a partition on their way while topics are filled


async def empty_topics(settings: Settings) -> None:
    """Delete and create all topics of the map, and with them the committed offsets.

    The broker stamps the events, so the figures come from its clock.
    """
    ours = {topic.name for topic in topics.ALL}
    async with open_admin(settings) as admin, asyncio.timeout(LIMIT):
        while there := ours & set(await admin.list_topics()):
            await admin.delete_topics(list(there))
            await asyncio.sleep(0.1)
        await create_missing(admin, settings)
        await _stamp_by_broker(admin)


async def _stamp_by_broker(admin: AIOKafkaAdminClient) -> None:
    configs = {**topics.ENRICHED.settings(), "message.timestamp.type": "LogAppendTime"}
    resource = ConfigResource(ConfigResourceType.TOPIC, topics.ENRICHED.name, configs=configs)
    await admin.alter_configs([resource])


async def fill(settings: Settings, topic: str, items: Iterable[Item]) -> None:
    """Write items, in order within a partition."""
    by_partition = groupby(sorted(items, key=lambda item: item[0]), key=lambda item: item[0])
    lanes = {partition: list(group) for partition, group in by_partition}
    async with open_producer(settings) as producer:
        await asyncio.gather(*(_fill(producer, topic, partition, lane) for partition, lane in lanes.items()))


async def _fill(producer: AIOKafkaProducer, topic: str, partition: int, lane: list[Item]) -> None:
    sent: list[asyncio.Future[object]] = []
    begin = 0
    while begin < len(lane):
        batch = producer.create_batch()
        end = begin
        while end < len(lane):
            _, key, value, headers = lane[end]
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                break
            end += 1
        batch.close()
        sent.append(await producer.send_batch(batch, topic, partition=partition))
        begin = end
        if len(sent) >= IN_FLIGHT:
            await sent.pop(0)
    await asyncio.gather(*sent)


async def end_of(settings: Settings, topic: str) -> int:
    """The number of records in a topic so far."""
    async with _reader(settings) as consumer:
        return await _end(consumer, topic)


async def until_events(
    settings: Settings, count: int, say: Callable[[int], None], alive: Callable[[], bool]
) -> AsyncIterator[ConsumerRecord]:
    """Wait for ``count`` events and return all. Raises StopError if none comes for a minute."""
    async with _reader(settings) as consumer:
        there, moved = 0, time.monotonic()
        while there < count:
            now = await _end(consumer, topics.ENRICHED.name)
            if now != there:
                there, moved = now, time.monotonic()
                say(there)
            if time.monotonic() - moved > STALLED or not alive():
                raise StopError(f"{there} of {count} events, and no more come")
            await asyncio.sleep(LOOK)
        async for event in _read_all(consumer, topics.ENRICHED.name):
            yield event


def _reader(settings: Settings) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(**consumer_options(settings), auto_offset_reset="earliest", check_crcs=False)


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - a consumer without a subscription
    return [TopicPartition(topic, number) for number in cluster.partitions_for_topic(topic) or ()]


async def _end(consumer: AIOKafkaConsumer, topic: str) -> int:
    return sum((await consumer.end_offsets(await _partitions(consumer, topic))).values())


async def _read_all(consumer: AIOKafkaConsumer, topic: str) -> AsyncIterator[ConsumerRecord]:
    partitions = await _partitions(consumer, topic)
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    moved = time.monotonic()
    while left := sum([max(end - await consumer.position(partition), 0) for partition, end in ends.items()]):
        fetched = await consumer.getmany(timeout_ms=int(LOOK * 1000))
        moved = time.monotonic() if fetched else moved
        if time.monotonic() - moved > STALLED:
            raise StopError(f"{left} events could not be read")
        for batch in fetched.values():
            for event in batch:
                yield event
