"""The batch producer with aiokafka's own sender and batches, on a broker that waits and fails on command."""

# ruff: noqa: SLF001 - aiokafka's sender runs without its client

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.protocol.transaction import InitProducerIdRequest

from producers.publish_deadlines import PublishDeadlines
from producers.records import Record
from stream.kafka.batch_producer import BatchProducer, FailFast, QueueFullError, RetryUntilShutdown
from stream.kafka.clients import partition_of
from stream.kafka.publish_handle import PublishHandle

LIMIT = 60.0  # seconds
PARTITIONS = 4
SMALL = 500  # bytes a batch
WEBHOOKS = "webhooks"
fail_fast_only = pytest.mark.parametrize("policy", [FailFast()], ids=["fail fast"])


class Broker:
    """aiokafka's client with brokers that wait and fail on command. Its sender and batches are the real ones."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int]] = []  # partition, records; acknowledged or not
        self.sent: list[tuple[int, int]] = []  # partition, records
        self.sequence: dict[int, int] = dict.fromkeys(range(2 * PARTITIONS), 0)  # records that were acknowledged
        self.failures: list[BaseException] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.known: dict[str, set[int]] = {}
        self.leaders: dict[int, int] = {}  # of partitions; broker 0 where nothing is said
        self.changed: list[Callable[[object], None]] = []
        self._client_id = "test"
        self.cluster = SimpleNamespace(
            partitions_for_topic=self.known.get,
            leader_for_partition=lambda one: self.leaders.get(one.partition, 0),
            add_listener=self.changed.append,
        )

    def get_random_node(self) -> int:
        """A node to request a producer id from."""
        return 0

    async def _wait_on_metadata(self, topic: str) -> set[int]:
        await asyncio.sleep(0)
        return self.known.setdefault(topic, set(range(PARTITIONS)))

    async def close(self) -> None:
        """Do nothing."""

    async def send(self, node: int, request: Any, group: object = None) -> object:
        """Accept a request."""
        del node, group
        if isinstance(request, InitProducerIdRequest):
            return SimpleNamespace(error_code=0, producer_id=1, producer_epoch=0)
        batches = {number: batch for _, parts in request._topics for number, batch in parts}
        self.taken += [(number, _count(batch)) for number, batch in batches.items()]
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        for number, batch in batches.items():
            assert _sequence(batch) == self.sequence[number], "what a broker refuses: a gap"
            self.sequence[number] += _count(batch)
            self.sent.append((number, _count(batch)))
        acknowledged = [("webhooks", [(number, 0, 0, -1, 0) for number in batches])]
        return SimpleNamespace(API_VERSION=5, topics=acknowledged)


def _sequence(batch: bytes) -> int:
    return int.from_bytes(batch[53:57])


def _count(batch: bytes) -> int:
    return int.from_bytes(batch[57:61])


def keys_by_partition() -> list[bytes]:
    """A key of each partition."""
    found: dict[int, bytes] = {}
    for number in range(100):
        key = f"contact-{number}".encode()
        found.setdefault(partition_of(key, PARTITIONS), key)
    return [found[partition] for partition in range(PARTITIONS)]


async def ticks() -> None:
    """Let the event loop run for more ticks than any test needs."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def broker() -> Broker:
    """A broker."""
    return Broker()


@pytest.fixture(params=[FailFast(), RetryUntilShutdown(delay_seconds=0.01)], ids=["fail fast", "retry"])
def policy(request: pytest.FixtureRequest) -> FailFast | RetryUntilShutdown:
    """The failure policy. The tests hold for both unless they say otherwise."""
    chosen: FailFast | RetryUntilShutdown = request.param
    return chosen


@pytest.fixture
async def batches(broker: Broker, policy: FailFast | RetryUntilShutdown) -> AsyncIterator[BatchProducer]:
    """A batch producer with the failure policy of the test, on a running aiokafka producer."""
    producer: Any = AIOKafkaProducer(acks="all", enable_idempotence=True, max_batch_size=SMALL)
    producer.client = producer._sender.client = broker
    producer._message_accumulator._cluster = producer._metadata = broker.cluster
    made = BatchProducer(producer, policy)
    await producer._sender.start()
    assert not made.has_metadata([record()])
    await made.load_metadata(WEBHOOKS)
    assert made.has_metadata([record()])
    yield made
    broker.gate.set()
    await made.close()
    await producer.stop()


def record(key: bytes | None = b"+5511987654321", value: bytes = b"x" * 100) -> Record:
    return Record("webhooks", key, value, [], "id")


async def done(handle: PublishHandle) -> None:
    async with asyncio.timeout(LIMIT):
        await asyncio.shield(handle.result)


async def test_records_of_one_tick_share_a_batch(batches: BatchProducer, broker: Broker) -> None:
    """Requests of one tick share batches, and each handle succeeds when its own records are acknowledged."""
    handles = [batches.enqueue_all([record()]) for _ in range(3)]
    await asyncio.gather(*map(done, handles))
    assert [records for _, records in broker.sent] == [3]


async def test_records_that_arrive_during_a_batch_share_the_next_one(batches: BatchProducer, broker: Broker) -> None:
    """One batch of a partition is in flight; records enqueued meanwhile share the next one; other partitions go on."""
    keys = keys_by_partition()
    broker.leaders = {1: 7}
    broker.gate.clear()
    handles = [batches.enqueue_all([record(keys[0])])]
    await ticks()
    for _ in range(3):
        handles.append(batches.enqueue_all([record(keys[0])]))
        await ticks()
    handles.append(batches.enqueue_all([record(keys[1])]))
    await ticks()
    assert broker.taken == [(0, 1), (1, 1)]
    broker.gate.set()
    await asyncio.gather(*map(done, handles))
    assert sorted(broker.sent) == [(0, 1), (0, 3), (1, 1)]


async def test_waiting_bytes_are_bounded(
    broker: Broker, batches: BatchProducer, policy: FailFast | RetryUntilShutdown
) -> None:
    """Records beyond the bound are refused at once, and accepted again after records have left or were taken back."""
    small = BatchProducer(batches._producer, policy, max_bytes=250)
    await small.load_metadata(WEBHOOKS)
    broker.gate.clear()
    under_way = small.enqueue_all([record()])
    await ticks()
    waiting = small.enqueue_all([record(), record()])
    with pytest.raises(QueueFullError):
        small.enqueue_all([record()])
    small.take_back(waiting)
    again = small.enqueue_all([record()])
    broker.gate.set()
    await asyncio.gather(done(under_way), done(again))


async def test_records_that_are_not_acknowledged_are_bounded(
    broker: Broker, batches: BatchProducer, policy: FailFast | RetryUntilShutdown
) -> None:
    """The number of unacknowledged records is bounded, and a publication is refused as a whole."""
    small = BatchProducer(batches._producer, policy, max_records=3)
    await small.load_metadata(WEBHOOKS)
    broker.gate.clear()
    handles = [small.enqueue_all([record(), record()])]
    await ticks()
    with pytest.raises(QueueFullError):
        small.enqueue_all([record(), record()])
    handles.append(small.enqueue_all([record()]))
    broker.gate.set()
    await asyncio.gather(*map(done, handles))
    await done(small.enqueue_all([record(), record(), record()]))


async def test_a_topic_that_the_metadata_has_lost_keeps_its_partitions(batches: BatchProducer, broker: Broker) -> None:
    """While the metadata lacks a topic, ``has_metadata`` is False and records keep their partitions."""
    lost = broker.known.pop(WEBHOOKS)
    for changed in broker.changed:
        changed(None)
    assert not batches.has_metadata([record()])
    assert batches.partitions(WEBHOOKS) == PARTITIONS
    handle = batches.enqueue_all([record()])
    broker.known[WEBHOOKS] = lost
    await done(handle)
    assert broker.sent == [(partition_of(record().key or b"", PARTITIONS), 1)]


async def test_new_partitions_of_a_topic_are_used(batches: BatchProducer, broker: Broker) -> None:
    """After the metadata shows more partitions, keys go to the partitions of the default partitioner."""
    broker.known["webhooks"] = set(range(2 * PARTITIONS))
    broker.changed[0](None)
    keys = [f"contact-{number}".encode() for number in range(40)]
    await done(batches.enqueue_all([record(key) for key in keys]))
    assert {partition for partition, _ in broker.taken} == {partition_of(key, 2 * PARTITIONS) for key in keys}


async def test_a_handle_is_done_when_every_partition_has_its_records(batches: BatchProducer, broker: Broker) -> None:
    """A handle with records on several partitions succeeds after the last acknowledgement."""
    keys = [f"contact-{number}".encode() for number in range(40)]
    handle = batches.enqueue_all([record(key) for key in keys])
    await done(handle)
    assert sum(records for _, records in broker.sent) == len(keys)
    assert {partition for partition, _ in broker.sent} == {partition_of(key, PARTITIONS) for key in keys}


async def test_a_record_larger_than_a_batch_is_sent_alone(batches: BatchProducer, broker: Broker) -> None:
    """A record larger than a batch is sent alone: the broker decides whether it is too large."""
    await done(batches.enqueue_all([record(), record(value=b"x" * 10 * SMALL), record()]))
    assert [records for _, records in broker.sent] == [1, 1, 1]


async def test_a_handle_waits_for_the_acknowledgement(batches: BatchProducer, broker: Broker) -> None:
    """A handle does not succeed before the broker acknowledges."""
    broker.gate.clear()
    handle = batches.enqueue_all([record()])
    await ticks()
    assert not handle.result.done()
    broker.gate.set()
    await done(handle)


@fail_fast_only
async def test_a_refused_batch_fails_the_queue_behind_it(batches: BatchProducer, broker: Broker) -> None:
    """A refused batch fails the records behind it, which the broker would refuse after the gap; others go on."""
    broker.gate.clear()
    keys = keys_by_partition()
    first = batches.enqueue_all([record(keys[0])])
    await ticks()
    behind = batches.enqueue_all([record(keys[0])])
    broker.failures.append(KafkaError())
    broker.gate.set()
    for handle in (first, behind):
        with pytest.raises(KafkaError):
            await done(handle)
    await done(batches.enqueue_all([record(keys[1])]))
    assert broker.sent == [(1, 1)]


async def test_records_taken_back_are_not_sent(batches: BatchProducer, broker: Broker) -> None:
    """Records that are taken back while the broker is away are neither sent nor kept."""
    broker.gate.clear()
    under_way = batches.enqueue_all([record()])
    await ticks()
    waiting = batches.enqueue_all([record(), record()])
    batches.take_back(waiting)
    await done(waiting)
    assert not under_way.result.done()
    broker.gate.set()
    await done(under_way)
    assert [records for _, records in broker.sent] == [1]


async def test_a_batch_that_can_not_be_encoded_fails_only_its_records(batches: BatchProducer, broker: Broker) -> None:
    """An encoding error fails the handles of its batch, while aiokafka's sender and other batches go on."""
    keys = keys_by_partition()
    odd: Any = "text is no value"
    handle = batches.enqueue_all([record(keys[0], odd)])
    other = batches.enqueue_all([record(keys[1])])
    with pytest.raises((TypeError, ValueError, AttributeError)):
        await done(handle)
    await done(other)
    await done(batches.enqueue_all([record(keys[0])]))
    assert sorted(broker.sent) == [(0, 1), (1, 1)]


@fail_fast_only
async def test_closing_fails_waiting_records(batches: BatchProducer, broker: Broker) -> None:
    """At the close, records in flight are still delivered, waiting ones fail, and new ones are refused."""
    broker.gate.clear()
    under_way = batches.enqueue_all([record()])
    await ticks()
    waiting = batches.enqueue_all([record()])
    await batches.close()
    with pytest.raises(ProducerClosed):
        await done(waiting)
    with pytest.raises(ProducerClosed):
        batches.enqueue_all([record()])
    broker.gate.set()
    await done(under_way)
    assert broker.sent == [(partition_of(record().key or b"", PARTITIONS), 1)]


@fail_fast_only
async def test_records_are_refused_after_the_sender_has_ended(batches: BatchProducer, broker: Broker) -> None:
    """After aiokafka's sender has ended by an error, records fail at once."""
    broker.failures.append(RuntimeError("of aiokafka"))
    first = batches.enqueue_all([record()])
    with pytest.raises(KafkaError):
        await done(first)
    with pytest.raises(KafkaError):
        await done(batches.enqueue_all([record()]))


async def test_an_expired_handle_leaves_its_records_in_flight(batches: BatchProducer, broker: Broker) -> None:
    """An expired handle fails at once, and ``on_done`` is called when the broker answers."""
    broker.gate.clear()
    handle = batches.enqueue_all([record()])
    await ticks()
    over: list[PublishHandle] = []
    handle.on_done = over.append
    handle.expire()
    with pytest.raises(TimeoutError):
        await done(handle)
    batches.take_back(handle)
    assert not handle.is_done
    broker.gate.set()
    await done(batches.enqueue_all([record()]))
    assert over == [handle]


async def test_each_handle_expires_at_its_own_time() -> None:
    """Each request waits for its own time, and no timer remains after the last one."""
    deadlines, now = PublishDeadlines(), asyncio.get_running_loop().time()
    handles = [PublishHandle(1) for _ in range(3)]
    for handle, seconds in zip(handles, (0.0, 60.0, 0.0), strict=True):
        deadlines.add(handle, now + seconds)
    deadlines.remove(handles[2])
    with pytest.raises(TimeoutError):
        await done(handles[0])
    assert not handles[1].result.done()
    assert not handles[2].result.done()
