"""The batch producer on aiokafka's own sender and batches, before a broker that waits and fails on command."""

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
    """aiokafka's client before brokers that wait and fail on command; its sender and its batches are the real ones."""

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
        """Somebody to ask for a producer's id."""
        return 0

    async def _wait_on_metadata(self, topic: str) -> set[int]:
        await asyncio.sleep(0)
        return self.known.setdefault(topic, set(range(PARTITIONS)))

    async def close(self) -> None:
        """There is nothing to close."""

    async def send(self, node: int, request: Any, group: object = None) -> object:
        """Take a request."""
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


async def turns() -> None:
    """Let the loop turn, as often as anything could need."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def broker() -> Broker:
    """A broker."""
    return Broker()


@pytest.fixture(params=[FailFast(), RetryUntilShutdown(delay_seconds=0.01)], ids=["fail fast", "retry"])
def policy(request: pytest.FixtureRequest) -> FailFast | RetryUntilShutdown:
    """What happens to a batch that fails: the tests here hold for both, where they do not say otherwise."""
    chosen: FailFast | RetryUntilShutdown = request.param
    return chosen


@pytest.fixture
async def batches(broker: Broker, policy: FailFast | RetryUntilShutdown) -> AsyncIterator[BatchProducer]:
    """A batch producer with the policy of the test, whose aiokafka producer's sender runs."""
    producer: Any = AIOKafkaProducer(acks="all", enable_idempotence=True, max_batch_size=SMALL)
    producer.client = producer._sender.client = broker
    producer._message_accumulator._cluster = producer._metadata = broker.cluster
    made = BatchProducer(producer, policy)
    await producer._sender.start()
    assert not made.knows([record()])
    await made.learn(WEBHOOKS)
    assert made.knows([record()])
    yield made
    broker.gate.set()
    await made.close()
    await producer.stop()


def record(key: bytes | None = b"+5511987654321", value: bytes = b"x" * 100) -> Record:
    return Record("webhooks", key, value, [], "id")


async def done(handle: PublishHandle) -> None:
    async with asyncio.timeout(LIMIT):
        await asyncio.shield(handle.answer)


async def test_what_several_requests_put_in_one_turn_leaves_in_one_batch(
    batches: BatchProducer, broker: Broker
) -> None:
    """Requests share batches, and each is told when its own records are there."""
    handles = [batches.enqueue_all([record()]) for _ in range(3)]
    await asyncio.gather(*map(done, handles))
    assert [records for _, records in broker.sent] == [3]


async def test_what_comes_while_a_batch_is_in_flight_leaves_together(batches: BatchProducer, broker: Broker) -> None:
    """One batch of a partition is in flight; what comes meanwhile shares the next one. Other partitions go on."""
    keys = keys_by_partition()
    broker.leaders = {1: 7}
    broker.gate.clear()
    handles = [batches.enqueue_all([record(keys[0])])]
    await turns()
    for _ in range(3):
        handles.append(batches.enqueue_all([record(keys[0])]))
        await turns()
    handles.append(batches.enqueue_all([record(keys[1])]))
    await turns()
    assert broker.taken == [(0, 1), (1, 1)]
    broker.gate.set()
    await asyncio.gather(*map(done, handles))
    assert sorted(broker.sent) == [(0, 1), (0, 3), (1, 1)]


async def test_what_waits_is_bounded(
    broker: Broker, batches: BatchProducer, policy: FailFast | RetryUntilShutdown
) -> None:
    """More than may wait is refused at once, and taken again when something has left or was taken back."""
    small = BatchProducer(batches._producer, policy, max_bytes=250)
    await small.learn(WEBHOOKS)
    broker.gate.clear()
    under_way = small.enqueue_all([record()])
    await turns()
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
    """However small, no more than so many wait or are in flight; a publication is refused as a whole."""
    small = BatchProducer(batches._producer, policy, max_records=3)
    await small.learn(WEBHOOKS)
    broker.gate.clear()
    handles = [small.enqueue_all([record(), record()])]
    await turns()
    with pytest.raises(QueueFullError):
        small.enqueue_all([record(), record()])
    handles.append(small.enqueue_all([record()]))
    broker.gate.set()
    await asyncio.gather(*map(done, handles))
    await done(small.enqueue_all([record(), record(), record()]))


async def test_a_topic_that_the_metadata_has_lost_keeps_its_partitions(batches: BatchProducer, broker: Broker) -> None:
    """While a broker leaves a topic out, ``knows`` says so, and records go where they went before."""
    lost = broker.known.pop(WEBHOOKS)
    for changed in broker.changed:
        changed(None)
    assert not batches.knows([record()])
    assert batches.partitions(WEBHOOKS) == PARTITIONS
    handle = batches.enqueue_all([record()])
    broker.known[WEBHOOKS] = lost
    await done(handle)
    assert broker.sent == [(partition_of(record().key or b"", PARTITIONS), 1)]


async def test_a_topic_that_has_grown_is_used_whole(batches: BatchProducer, broker: Broker) -> None:
    """Keys go where everybody else's partitioner puts them, from the moment the broker tells of more partitions."""
    broker.known["webhooks"] = set(range(2 * PARTITIONS))
    broker.changed[0](None)
    keys = [f"contact-{number}".encode() for number in range(40)]
    await done(batches.enqueue_all([record(key) for key in keys]))
    assert {partition for partition, _ in broker.taken} == {partition_of(key, 2 * PARTITIONS) for key in keys}


async def test_a_handle_is_done_when_every_partition_has_its_records(batches: BatchProducer, broker: Broker) -> None:
    """A body of several contacts is answered when the last of its batches is acknowledged, however many there are."""
    keys = [f"contact-{number}".encode() for number in range(40)]
    handle = batches.enqueue_all([record(key) for key in keys])
    await done(handle)
    assert sum(records for _, records in broker.sent) == len(keys)
    assert {partition for partition, _ in broker.sent} == {partition_of(key, PARTITIONS) for key in keys}


async def test_a_record_larger_than_a_batch_is_sent_alone(batches: BatchProducer, broker: Broker) -> None:
    """Whether a record is too large is for the broker to say."""
    await done(batches.enqueue_all([record(), record(value=b"x" * 10 * SMALL), record()]))
    assert [records for _, records in broker.sent] == [1, 1, 1]


async def test_without_an_acknowledgement_nobody_is_told_done(batches: BatchProducer, broker: Broker) -> None:
    """A handle waits as long as the broker does."""
    broker.gate.clear()
    handle = batches.enqueue_all([record()])
    await turns()
    assert not handle.answer.done()
    broker.gate.set()
    await done(handle)


@fail_fast_only
async def test_a_refused_batch_fails_what_waits_behind_it_too(batches: BatchProducer, broker: Broker) -> None:
    """The broker refuses what follows a gap: everybody behind it is told at once, other partitions go on."""
    broker.gate.clear()
    keys = keys_by_partition()
    first = batches.enqueue_all([record(keys[0])])
    await turns()
    behind = batches.enqueue_all([record(keys[0])])
    broker.failures.append(KafkaError())
    broker.gate.set()
    for handle in (first, behind):
        with pytest.raises(KafkaError):
            await done(handle)
    await done(batches.enqueue_all([record(keys[1])]))
    assert broker.sent == [(1, 1)]


async def test_what_is_taken_back_is_not_sent_and_not_kept(batches: BatchProducer, broker: Broker) -> None:
    """While the broker is away, who was told 503 leaves no record behind that has not left yet."""
    broker.gate.clear()
    under_way = batches.enqueue_all([record()])
    await turns()
    waiting = batches.enqueue_all([record(), record()])
    batches.take_back(waiting)
    await done(waiting)
    assert not under_way.answer.done()
    broker.gate.set()
    await done(under_way)
    assert [records for _, records in broker.sent] == [1]


async def test_a_batch_that_cannot_be_made_fails_its_senders_only(batches: BatchProducer, broker: Broker) -> None:
    """The producer's sender is in the midst of its work when it asks for batches, and must outlive ours."""
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
async def test_who_waits_is_told_when_the_producer_leaves(batches: BatchProducer, broker: Broker) -> None:
    """What is under way is still delivered; nobody would come for the rest, and nothing new is taken."""
    broker.gate.clear()
    under_way = batches.enqueue_all([record()])
    await turns()
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
async def test_after_the_end_of_the_sender_records_are_refused(batches: BatchProducer, broker: Broker) -> None:
    """A sender that ended by an error of its own sends nothing any more: that is said, not waited for."""
    broker.failures.append(RuntimeError("of aiokafka"))
    first = batches.enqueue_all([record()])
    with pytest.raises(KafkaError):
        await done(first)
    with pytest.raises(KafkaError):
        await done(batches.enqueue_all([record()]))


async def test_who_waits_no_more_leaves_its_records_in_flight(batches: BatchProducer, broker: Broker) -> None:
    """Who is told 503 learns no more of it; that it is over is known when the broker answers at last."""
    broker.gate.clear()
    handle = batches.enqueue_all([record()])
    await turns()
    over: list[PublishHandle] = []
    handle.afterwards = over.append
    handle.expire()
    with pytest.raises(TimeoutError):
        await done(handle)
    batches.take_back(handle)
    assert not handle.is_over
    broker.gate.set()
    await done(batches.enqueue_all([record()]))
    assert over == [handle]


async def test_a_wait_ends_only_where_its_time_is_over() -> None:
    """Of those who wait for the broker each has its own time, and nobody is looked at after the last has gone."""
    deadlines, now = PublishDeadlines(), asyncio.get_running_loop().time()
    handles = [PublishHandle(1) for _ in range(3)]
    for handle, seconds in zip(handles, (0.0, 60.0, 0.0), strict=True):
        deadlines.add(handle, now + seconds)
    deadlines.remove(handles[2])
    with pytest.raises(TimeoutError):
        await done(handles[0])
    assert not handles[1].answer.done()
    assert not handles[2].answer.done()
