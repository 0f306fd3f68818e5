"""New topics accept records at once, in every partition."""

from __future__ import annotations

import asyncio
import logging

import pytest

from stream.kafka.clients import open_admin, open_producer
from stream.ops.topics import create_missing, grow, partitions
from stream.settings import Settings, load
from stream.topics import ALL, DEAD
from tests.conftest import remove_topics

AGAIN = 5  # times: a broker is not late each time
MANY = 12


async def send_to_every_partition(settings: Settings) -> None:
    """Send one record to each partition of each topic."""
    async with open_producer(settings, retry_backoff_ms=1_000) as producer:
        sent = [
            await producer.send(topic.name, b"x", key=b"x", partition=number)
            for topic in ALL
            for number in range(partitions(topic, settings))
        ]
        await asyncio.gather(*sent)


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The retriable errors that the client logs of partitions without a leader."""
    return [record.getMessage() for record in caplog.records if "NotLeader" in record.getMessage()]


async def test_a_new_topic_accepts_records_at_once(broker: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """No partition refuses records, although the metadata names a leader before it serves."""
    settings = load({"KAFKA_BOOTSTRAP_SERVERS": broker.kafka_bootstrap_servers, "TOPIC_PARTITIONS": str(MANY)})
    with caplog.at_level(logging.WARNING):
        for _ in range(AGAIN):
            async with open_admin(settings) as admin:
                await remove_topics(admin)
                assert set(await create_missing(admin, settings)) == {topic.name for topic in ALL}
            await send_to_every_partition(settings)
    assert refusals(caplog) == []


async def test_a_new_partition_accepts_records_at_once(broker: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """The partitions that a topic gained refuse no records either."""
    with caplog.at_level(logging.WARNING):
        for count in range(broker.topic_partitions + 4, broker.topic_partitions + 4 * AGAIN, 4):
            settings = load({"KAFKA_BOOTSTRAP_SERVERS": broker.kafka_bootstrap_servers, "TOPIC_PARTITIONS": str(count)})
            async with open_admin(settings) as admin:
                assert set(await grow(admin, settings)) == {topic.name for topic in ALL} - {DEAD.name}
            await send_to_every_partition(settings)
    assert refusals(caplog) == []
