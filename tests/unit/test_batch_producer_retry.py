"""The batch producer on an aiokafka producer that fails and waits on command: callbacks and retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError, KafkaTimeoutError, ProducerClosed
from aiokafka.producer.message_accumulator import BatchBuilder

from stream.domain.errors import StopError
from stream.kafka.batch_producer import BatchProducer, FailFast, RetryUntilShutdown
from stream.kafka.clients import partition_of

LIMIT = 60.0  # seconds
SMALL = 400  # bytes a batch, so that a few records need several
RETRY = RetryUntilShutdown(delay_seconds=0.01)
both_policies = pytest.mark.parametrize("policy", [FailFast(), RETRY], ids=["fail fast", "retry"])


class Producer:
    """Keeps the batches it was sent; ``gate`` delays acknowledgements, ``failures`` are raised first."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, int]] = []  # topic, partition, records
        self.failures: list[BaseException] = []
        self.late_failures: list[BaseException] = []
        self.refused: set[int] = set()  # partitions
        self.gate = asyncio.Event()
        self.gate.set()
        topics: dict[str, set[int]] = {"t": {0, 1, 2, 3}}
        self.client = SimpleNamespace(
            cluster=SimpleNamespace(partitions_for_topic=topics.get, add_listener=lambda _: None)
        )

    def create_batch(self) -> BatchBuilder:
        """A real, empty batch."""
        return BatchBuilder(SMALL, 0)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[None]:
        """Accept a batch and return the future of its acknowledgement."""
        if self.failures:
            raise self.failures.pop(0)
        records = batch.record_count()
        return asyncio.ensure_future(self._acknowledge(topic, partition, records))

    async def _acknowledge(self, topic: str, partition: int, records: int) -> None:
        await self.gate.wait()
        if self.late_failures:
            raise self.late_failures.pop(0)
        if partition in self.refused:
            raise KafkaError
        self.sent.append((topic, partition, records))

    async def partitions_for(self, topic: str) -> set[int]:
        """Every topic has four partitions."""
        del topic
        return {0, 1, 2, 3}


@pytest.fixture
def producer() -> Producer:
    return Producer()


@pytest.fixture
def batches(producer: Producer) -> BatchProducer:
    """A batch producer with the worker's failure policy."""
    return made(producer)


def made(producer: Producer, policy: FailFast | RetryUntilShutdown = RETRY, **bounds: int) -> BatchProducer:
    fake: Any = producer
    return BatchProducer(fake, policy, **bounds)


async def flushed(batches: BatchProducer) -> None:
    async with asyncio.timeout(LIMIT):
        await batches.flush()
    assert batches.backlog == 0


async def until(holds: Callable[[], object]) -> None:
    """Let the event loop run until ``holds``."""
    async with asyncio.timeout(LIMIT):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0)


async def ticks() -> None:
    """Let the event loop run for more ticks than any test needs."""
    for _ in range(10):
        await asyncio.sleep(0)


@both_policies
async def test_records_of_one_tick_share_one_batch_for_each_partition(producer: Producer, policy: Any) -> None:
    """Records of one tick leave in one batch for each partition."""
    batches = made(producer, policy)
    for n in range(6):
        batches.enqueue("t", None, b"v", [], partition=n % 2)
    await flushed(batches)
    assert sorted(producer.sent) == [("t", 0, 3), ("t", 1, 3)]


@both_policies
async def test_acknowledgements_are_called_in_order(producer: Producer, policy: Any) -> None:
    """Each acknowledgement is called once, in the order of ``enqueue``, after the broker has the record."""
    batches, told = made(producer, policy), list[int]()
    producer.gate.clear()
    for n in range(50):
        batches.enqueue("t", b"key", b"x" * 50, [("h", b"1")], partial(told.append, n), partition=0)
    await ticks()
    assert told == []
    assert batches.backlog == 50
    producer.gate.set()
    await flushed(batches)
    assert told == list(range(50))
    assert len(producer.sent) > 1
    assert sum(records for _, _, records in producer.sent) == 50


@pytest.mark.parametrize("where", ["failures", "late_failures"])
async def test_a_failed_batch_is_sent_again_before_later_records(
    batches: BatchProducer, producer: Producer, where: str
) -> None:
    """A batch that fails at the call or the acknowledgement is sent again whole and in order."""
    errors: list[BaseException] = [KafkaTimeoutError(), KafkaError(), OSError()]
    setattr(producer, where, errors)
    told: list[int] = []
    for n in range(20):
        batches.enqueue("t", b"key", b"x" * 50, [], partial(told.append, n), partition=0)
    await until(lambda: batches.failing_since is not None)
    assert told == []
    await flushed(batches)
    assert told == list(range(20))
    assert sum(records for _, _, records in producer.sent) == 20
    assert batches.failing_since is None


async def test_a_partition_that_fails_is_not_hidden_by_one_that_succeeds(
    batches: BatchProducer, producer: Producer
) -> None:
    """``failing_since`` keeps the age of the oldest failure while other partitions succeed."""
    producer.refused = {0}
    batches.enqueue("t", None, b"v", [], partition=0)
    await until(lambda: batches.failing_since is not None)
    since = batches.failing_since
    told: list[int] = []
    batches.enqueue("t", None, b"v", [], partial(told.append, 1), partition=1)
    await until(lambda: told)
    assert batches.failing_since == since
    producer.refused.clear()
    await flushed(batches)
    assert batches.failing_since is None


@both_policies
@pytest.mark.parametrize("bounds", [{"max_records": 3}, {"max_bytes": 3}], ids=["records", "bytes"])
async def test_wait_for_capacity_waits_above_a_bound(producer: Producer, policy: Any, bounds: dict[str, int]) -> None:
    """``wait_for_capacity`` waits while a bound is exceeded and returns when enough records have left."""
    batches = made(producer, policy, **bounds)
    producer.gate.clear()
    for _ in range(3):
        batches.enqueue("t", None, b"v", [], partition=0)
    async with asyncio.timeout(LIMIT):
        await batches.wait_for_capacity()
    assert not batches.is_full
    batches.enqueue("t", None, b"v", [], partition=0)
    assert batches.is_full
    waiting = asyncio.create_task(batches.wait_for_capacity())
    assert not waiting.done()
    producer.gate.set()
    async with asyncio.timeout(LIMIT):
        await waiting
    assert not batches.is_full
    await flushed(batches)


async def test_records_count_until_they_are_acknowledged(producer: Producer) -> None:
    """Records in flight count for the bound until they are acknowledged."""
    batches = made(producer, max_records=3)
    producer.gate.clear()
    for _ in range(4):
        batches.enqueue("t", None, b"v", [], partition=0)
    waiting = asyncio.create_task(batches.wait_for_capacity())
    await ticks()
    assert not waiting.done()
    producer.gate.set()
    async with asyncio.timeout(LIMIT):
        await waiting
    await flushed(batches)


@both_policies
async def test_a_key_selects_the_partition_of_the_java_client(producer: Producer, policy: Any) -> None:
    """A key selects the partition of Kafka's Java client; a record without a key goes to partition 0."""
    batches = made(producer, policy)
    await batches.load_metadata("t")
    assert batches.partitions("t") == 4
    assert partition_of(b"21", 1000) == -973932308 % 2**32 % 2**31 % 1000  # a vector of Kafka's own tests
    batches.enqueue("t", b"key", b"v", [])
    batches.enqueue("t", None, b"v", [])
    await flushed(batches)
    assert {partition for _, partition, _ in producer.sent} == {partition_of(b"key", 4), 0}


async def test_a_record_without_a_value_is_sent(batches: BatchProducer, producer: Producer) -> None:
    """A record without a value, such as a tombstone of the changelog, is sent."""
    batches.enqueue("t", b"key", None, [], partition=1)
    await flushed(batches)
    assert producer.sent == [("t", 1, 1)]


async def test_closing_abandons_unacknowledged_records(batches: BatchProducer, producer: Producer) -> None:
    """At the close unacknowledged records are abandoned without a callback, so their offsets are read again."""
    told: list[int] = []
    producer.gate.clear()
    batches.enqueue("t", None, b"v", [], partial(told.append, 1), partition=0)
    await ticks()
    async with asyncio.timeout(LIMIT):
        await batches.close()
    assert told == []
    assert batches.backlog == 1


async def test_closing_does_not_wait_for_a_retry(producer: Producer) -> None:
    """The close does not wait for the next attempt, and fails all handles."""
    batches = made(producer, RetryUntilShutdown(delay_seconds=3_600))
    await batches.load_metadata("t")
    producer.refused = {0, 1, 2, 3}
    first = batches.enqueue_all([SimpleNamespace(topic="t", key=b"k", value=b"v", headers=[])])
    await until(lambda: batches.failing_since is not None)
    behind = batches.enqueue_all([SimpleNamespace(topic="t", key=b"k", value=b"v", headers=[])])
    async with asyncio.timeout(LIMIT):
        await batches.close()
    for handle in (first, behind):
        with pytest.raises(ProducerClosed):
            await handle.result
    assert (producer.sent, batches.backlog) == ([], 0)


@both_policies
async def test_records_enqueued_after_the_close_are_not_sent(producer: Producer, policy: Any) -> None:
    """A record enqueued after ``close`` is not sent, gets no callback and stays in the backlog."""
    batches, told = made(producer, policy), list[int]()
    await batches.close()
    batches.enqueue("t", None, b"v", [], partial(told.append, 1), partition=0)
    await batches.flush()
    assert (producer.sent, told, batches.backlog) == ([], [], 1)


async def test_before_send_can_stop_a_batch(producer: Producer) -> None:
    """A ``before_send`` that raises keeps the batch from being sent and acknowledged."""
    checks: list[int] = []
    told: list[int] = []

    def refuse() -> None:
        checks.append(1)
        raise StopError("stood still")

    batches = made(producer, RetryUntilShutdown(before_send=refuse))
    batches.enqueue("t", None, b"v", [], partial(told.append, 1), partition=0)
    await until(lambda: checks)
    async with asyncio.timeout(LIMIT):
        await batches.flush()  # nobody sends any more, so there is nothing to wait for
    assert batches.backlog == 1
    await batches.close()
    assert (producer.sent, told) == ([], [])
