"""Header names that are not UTF-8, on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer import fetcher

from stream import topics
from stream.kafka.clients import client_options, open_consumer
from stream.kafka.header_names import tolerate_invalid_header_names
from stream.settings import Settings
from tests.support.odd_header import send_odd_header

WEBHOOKS = topics.WEBHOOKS.name
LIMIT = 120.0  # seconds
AS_IT_IS = fetcher.MemoryRecords, fetcher.PartitionRecords  # taken before any test runs: an app exchanges them
pytestmark = pytest.mark.usefixtures("restored")


@pytest.fixture
def restored() -> Iterator[None]:
    """A test begins with aiokafka's own classes, and restores what was replaced."""
    before = fetcher.MemoryRecords, fetcher.PartitionRecords
    fetcher.MemoryRecords, fetcher.PartitionRecords = AS_IT_IS
    yield
    fetcher.MemoryRecords, fetcher.PartitionRecords = before


async def write(settings: Settings) -> None:
    """Write three batches to one partition; the middle one has an invalid header name in its middle."""
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        await producer.send_and_wait(WEBHOOKS, b"before", b"key", 0)
        await send_odd_header(producer, WEBHOOKS, 0, b"first", b"odd", b"last")
        await producer.send_and_wait(WEBHOOKS, b"after", b"key", 0, headers=[("x", None)])


async def read(consumer: AIOKafkaConsumer, count: int) -> list[tuple[int, bytes, list[str]]]:
    """Offset, value and header names."""
    found: list[tuple[int, bytes, list[str]]] = []
    async with asyncio.timeout(LIMIT):
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [(record.offset, record.value, [name for name, _ in record.headers]) for record in records]
    return found


async def test_a_record_with_an_invalid_header_name_is_read(broker: Settings, group: str) -> None:
    """It and its neighbours are read once, whole and in order; invalid bytes of the name are replaced."""
    tolerate_invalid_header_names()
    await write(broker)
    async with open_consumer(broker, WEBHOOKS, group) as consumer:
        assert await read(consumer, 5) == [
            (0, b"before", []),
            (1, b"first", []),
            (2, b"odd", ["\ufffd" * 4]),
            (3, b"last", []),
            (4, b"after", ["x"]),
        ]


async def test_aiokafka_alone_can_not_read_the_record(broker: Settings, group: str) -> None:
    """If aiokafka can read such a record itself, our workaround can be removed."""
    await write(broker)
    async with open_consumer(broker, WEBHOOKS, group) as consumer:
        with pytest.raises(UnicodeDecodeError):
            await read(consumer, 5)
