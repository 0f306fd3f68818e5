"""The emitter before a producer that fails and waits on command."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder

from stream.domain.errors import StopError
from stream.engine import emitter as engine
from stream.engine.emitter import Emitter
from stream.kafka import partition_of

LIMIT = 60.0  # seconds
SMALL = 400  # bytes a batch, so that a few records need several


class Producer:
    """Keeps what it was sent; ``gate`` holds acknowledgements back, ``failures`` come first."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, int]] = []  # topic, partition, records
        self.failures: list[BaseException] = []
        self.late_failures: list[BaseException] = []
        self.gate = asyncio.Event()
        self.gate.set()

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
        self.sent.append((topic, partition, records))

    async def partitions_for(self, topic: str) -> set[int]:
        """Every topic has four."""
        del topic
        return {0, 1, 2, 3}


@pytest.fixture
def producer() -> Producer:
    return Producer()


@pytest.fixture
def emitter(producer: Producer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emitter]:
    monkeypatch.setattr(engine, "RESEND_DELAY", 0.01)
    fake: Any = producer
    return Emitter(fake)


async def flushed(emitter: Emitter) -> None:
    async with asyncio.timeout(LIMIT):
        await emitter.flush()


async def test_what_is_emitted_in_one_turn_leaves_in_one_batch_a_partition(
    emitter: Emitter, producer: Producer
) -> None:
    """Records of a turn share a batch, and each partition has its own."""
    for n in range(6):
        emitter.emit("t", None, b"v", [], partition=n % 2)
    await flushed(emitter)
    assert sorted(producer.sent) == [("t", 0, 3), ("t", 1, 3)]


async def test_deliveries_are_told_in_order_over_many_batches(emitter: Emitter, producer: Producer) -> None:
    """Each record's delivery is told once, in the order of emitting, and only after the broker has it."""
    told: list[int] = []
    producer.gate.clear()
    for n in range(50):
        emitter.emit("t", b"key", b"x" * 50, [("h", b"1")], partial(told.append, n), partition=0)
    await asyncio.sleep(0.01)
    assert told == []
    assert emitter.backlog == 50
    producer.gate.set()
    await flushed(emitter)
    assert told == list(range(50))
    assert len(producer.sent) > 1
    assert sum(records for _, _, records in producer.sent) == 50


@pytest.mark.parametrize("where", ["failures", "late_failures"])
async def test_a_batch_that_fails_is_sent_again_before_what_follows(
    emitter: Emitter, producer: Producer, where: str
) -> None:
    """Failing at the call or at the acknowledgement, a batch comes again whole and in order; then all is well."""
    errors: list[BaseException] = [KafkaTimeoutError(), KafkaError(), OSError()]
    setattr(producer, where, errors)
    told: list[int] = []
    for n in range(20):
        emitter.emit("t", b"key", b"x" * 50, [], partial(told.append, n), partition=0)
    async with asyncio.timeout(LIMIT):
        while emitter.failing_since is None:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0)
    assert told == []
    await flushed(emitter)
    assert told == list(range(20))
    assert sum(records for _, _, records in producer.sent) == 20
    assert emitter.failing_since is None


async def test_the_reader_waits_above_the_backlog_limit(
    emitter: Emitter, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``ebb`` holds while more is under way than the limit, and ends when it has drained."""
    monkeypatch.setattr(engine, "BACKLOG_LIMIT", 3)
    producer.gate.clear()
    for _ in range(3):
        emitter.emit("t", None, b"v", [], partition=0)
    async with asyncio.timeout(LIMIT):
        await emitter.ebb()
    emitter.emit("t", None, b"v", [], partition=0)
    waiting = asyncio.create_task(emitter.ebb())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    producer.gate.set()
    async with asyncio.timeout(LIMIT):
        await waiting
    await flushed(emitter)
    assert emitter.backlog == 0


async def test_a_key_decides_the_partition_as_java_does(emitter: Emitter, producer: Producer) -> None:
    """Keyed records go where Java's producer would put them; without a key partition 0 is taken."""
    await emitter.learn("t")
    assert partition_of(b"21", 1000) == -973932308 % 2**32 % 2**31 % 1000  # a vector of Kafka's own tests
    emitter.emit("t", b"key", b"v", [])
    emitter.emit("t", None, b"v", [])
    await flushed(emitter)
    assert {partition for _, partition, _ in producer.sent} == {partition_of(b"key", 4), 0}


async def test_closing_gives_up_what_is_not_delivered_and_tells_nobody(emitter: Emitter, producer: Producer) -> None:
    """What the broker has not acknowledged at the end counts as not delivered: its offset will be read again."""
    told: list[int] = []
    producer.gate.clear()
    emitter.emit("t", None, b"v", [], partial(told.append, 1), partition=0)
    await asyncio.sleep(0)
    async with asyncio.timeout(LIMIT):
        await emitter.close()
    assert told == []
    assert emitter.backlog == 1


async def test_nothing_leaves_once_the_process_stood_still(producer: Producer) -> None:
    """A ``before_send`` that raises keeps the batch from leaving and its delivery from being told."""
    checks: list[int] = []
    told: list[int] = []

    def refuse() -> None:
        checks.append(1)
        raise StopError("stood still")

    fake: Any = producer
    emitter = Emitter(fake, before_send=refuse)
    emitter.emit("t", None, b"v", [], partial(told.append, 1), partition=0)
    async with asyncio.timeout(LIMIT):
        while not checks:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0)
    await emitter.close()
    assert (producer.sent, told) == ([], [])
