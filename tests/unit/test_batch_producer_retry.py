"""The batch producer before an aiokafka producer that fails and waits on command: callbacks, and sending again."""

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
    """Keeps what it was sent; ``gate`` holds acknowledgements back, ``failures`` come first."""

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
        """An empty batch, a real one."""
        return BatchBuilder(SMALL, 0)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[None]:
        """Take a batch; what is returned ends with its acknowledgement."""
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
        """Every topic has four."""
        del topic
        return {0, 1, 2, 3}


@pytest.fixture
def producer() -> Producer:
    return Producer()


@pytest.fixture
def batches(producer: Producer) -> BatchProducer:
    """With the worker's policy."""
    return made(producer)


def made(producer: Producer, policy: FailFast | RetryUntilShutdown = RETRY, **bounds: int) -> BatchProducer:
    fake: Any = producer
    return BatchProducer(fake, policy, **bounds)


async def flushed(batches: BatchProducer) -> None:
    async with asyncio.timeout(LIMIT):
        await batches.flush()
    assert batches.backlog == 0


async def until(holds: Callable[[], object]) -> None:
    """Let the loop turn until ``holds``."""
    async with asyncio.timeout(LIMIT):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0)


async def turns() -> None:
    """Let the loop turn, as often as anything could need."""
    for _ in range(10):
        await asyncio.sleep(0)


@both_policies
async def test_what_is_enqueued_in_one_turn_leaves_in_one_batch_a_partition(producer: Producer, policy: Any) -> None:
    """Records of a turn share a batch, and each partition has its own."""
    batches = made(producer, policy)
    for n in range(6):
        batches.enqueue("t", None, b"v", [], partition=n % 2)
    await flushed(batches)
    assert sorted(producer.sent) == [("t", 0, 3), ("t", 1, 3)]


@both_policies
async def test_acknowledgements_are_told_in_order_over_many_batches(producer: Producer, policy: Any) -> None:
    """Each record's acknowledgement is told once, in the order of enqueuing, and only after the broker has it."""
    batches, told = made(producer, policy), list[int]()
    producer.gate.clear()
    for n in range(50):
        batches.enqueue("t", b"key", b"x" * 50, [("h", b"1")], partial(told.append, n), partition=0)
    await turns()
    assert told == []
    assert batches.backlog == 50
    producer.gate.set()
    await flushed(batches)
    assert told == list(range(50))
    assert len(producer.sent) > 1
    assert sum(records for _, _, records in producer.sent) == 50


@pytest.mark.parametrize("where", ["failures", "late_failures"])
async def test_a_batch_that_fails_is_sent_again_before_what_follows(
    batches: BatchProducer, producer: Producer, where: str
) -> None:
    """Failing at the call or at the acknowledgement, a batch comes again whole and in order; then all is well."""
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
    """``failing_since`` keeps the age of the oldest failure while other partitions are acknowledged."""
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
async def test_the_reader_waits_above_a_bound(producer: Producer, policy: Any, bounds: dict[str, int]) -> None:
    """``wait_for_capacity`` holds while more is under way than a bound, and ends when it has drained."""
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
    """What is in flight before a broker that is away keeps the reader waiting."""
    batches = made(producer, max_records=3)
    producer.gate.clear()
    for _ in range(4):
        batches.enqueue("t", None, b"v", [], partition=0)
    waiting = asyncio.create_task(batches.wait_for_capacity())
    await turns()
    assert not waiting.done()
    producer.gate.set()
    async with asyncio.timeout(LIMIT):
        await waiting
    await flushed(batches)


@both_policies
async def test_a_key_decides_the_partition_as_java_does(producer: Producer, policy: Any) -> None:
    """Keyed records go where Java's producer would put them; without a key partition 0 is taken."""
    batches = made(producer, policy)
    await batches.load_metadata("t")
    assert batches.partitions("t") == 4
    assert partition_of(b"21", 1000) == -973932308 % 2**32 % 2**31 % 1000  # a vector of Kafka's own tests
    batches.enqueue("t", b"key", b"v", [])
    batches.enqueue("t", None, b"v", [])
    await flushed(batches)
    assert {partition for _, partition, _ in producer.sent} == {partition_of(b"key", 4), 0}


async def test_a_record_without_a_value_is_sent(batches: BatchProducer, producer: Producer) -> None:
    """A tombstone of the changelog is a record of no bytes."""
    batches.enqueue("t", b"key", None, [], partition=1)
    await flushed(batches)
    assert producer.sent == [("t", 1, 1)]


async def test_closing_gives_up_what_is_not_acknowledged_and_tells_nobody(
    batches: BatchProducer, producer: Producer
) -> None:
    """What the broker has not acknowledged at the end is not told: its offset will be read again."""
    told: list[int] = []
    producer.gate.clear()
    batches.enqueue("t", None, b"v", [], partial(told.append, 1), partition=0)
    await turns()
    async with asyncio.timeout(LIMIT):
        await batches.close()
    assert told == []
    assert batches.backlog == 1


async def test_a_batch_that_waits_to_be_sent_again_ends_with_the_producer(producer: Producer) -> None:
    """Closing does not wait for the next attempt, and fails the handles of what was and was not sent."""
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
async def test_what_is_enqueued_after_the_end_is_not_sent(producer: Producer, policy: Any) -> None:
    """After ``close`` a record is neither sent nor told, and counts as one that the broker has not acknowledged."""
    batches, told = made(producer, policy), list[int]()
    await batches.close()
    batches.enqueue("t", None, b"v", [], partial(told.append, 1), partition=0)
    await batches.flush()
    assert (producer.sent, told, batches.backlog) == ([], [], 1)


async def test_nothing_leaves_once_the_process_stood_still(producer: Producer) -> None:
    """A ``before_send`` that raises keeps the batch from leaving and its acknowledgement from being told."""
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
