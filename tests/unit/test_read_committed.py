"""Every consumer reads committed records only, and the private parts of aiokafka that this needs exist."""

# ruff: noqa: SLF001 - the insides are the subject

from __future__ import annotations

import ast
import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from stream.faust_runtime.app import make_app, make_table
from stream.kafka.batches import Batch
from stream.kafka.clients import consumer_options, positions, positions_reached
from stream.kafka.open_transactions import OpenTransactions
from stream.settings import load
from tests.support.agent_rig import HOME, LIMIT, PARTITION, Worker
from tests.support.fakes import c2s_webhook
from tests.support.gated_rig import Rig

ROOT = Path(__file__).parents[2]
FIRST, SECOND = TopicPartition("webhooks", 0), TopicPartition("webhooks", 1)


def consumers_made(path: Path) -> list[ast.Call]:
    """The calls in a file that construct a consumer."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "AIOKafkaConsumer"]


def is_configured(call: ast.Call) -> bool:
    """Whether the call uses ``consumer_options`` or names its isolation level."""
    words = [ast.unparse(word) for word in call.keywords]
    return any(word.startswith("**consumer_options(") or word == "isolation_level='read_committed'" for word in words)


def test_every_consumer_reads_committed_records_only() -> None:
    """Every call that constructs a consumer, in the product, examples and tools, sets the isolation level."""
    folders = ("stream", "producers", "examples", "bench", "tests/chaos")
    made = {path: consumers_made(path) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))}
    made = {path: calls for path, calls in made.items() if calls}
    assert {path.relative_to(ROOT).as_posix() for path in made} >= {
        "stream/kafka/clients.py",
        "stream/dead_letters/queue.py",
        "stream/ops/replay.py",
        "examples/consumer.py",
        "tests/chaos/reader.py",
    }
    assert [path for path, calls in made.items() if not all(map(is_configured, calls))] == []
    assert consumer_options(load({}))["isolation_level"] == "read_committed"


async def test_the_workers_consumer_reads_committed_records() -> None:
    """The worker's client reads committed records, which Faust sets only where it writes transactions itself."""
    settings = load({})
    app = make_app(settings)
    make_table(app, settings)
    app.finalize()
    made = app.consumer._thread._create_worker_consumer(app.consumer.transport)
    assert made._isolation_level == "read_committed"
    assert "isolation_level=self._isolation_level" in inspect.getsource(AIOKafkaConsumer.start)
    assert "self._fetch_records," in inspect.getsource(AIOKafkaConsumerThread.getmany)
    await made.stop()
    app.consumer._thread.thread_loop.close()


class Client:
    """The consumer as far as positions are concerned: aiokafka's own state, moved by the test."""

    def __init__(self, *partitions: TopicPartition) -> None:
        self._subscription = SubscriptionState()
        self._subscription.assign_from_user(set(partitions))
        self.last_stable_offset = lambda partition: self.state(partition).lso
        self.highwater = lambda partition: self.state(partition).highwater

    def state(self, partition: TopicPartition):  # type: ignore[no-untyped-def]  # noqa: ANN201 - aiokafka's own
        """The state of a partition."""
        return self._subscription.subscription.assignment.state_value(partition)

    def set_position(self, partition: TopicPartition, position: int, stable: int, end: int) -> None:
        """Move a partition to ``position``."""
        state = self.state(partition)
        state.seek(position)
        state.lso, state.highwater = stable, end


async def test_positions_without_an_offset_are_left_out() -> None:
    """A partition whose offset is not known yet is left out, and nothing waits for it."""
    client = Client(FIRST, SECOND)
    assert positions(client) == {}
    client.set_position(FIRST, 5, 5, 5)
    assert positions(client) == {FIRST: 5}


async def test_positions_reached_are_those_that_a_fetch_moved() -> None:
    """Partitions that did not move are left out; those with records count even after a move back."""
    client = Client(FIRST, SECOND)
    client.set_position(FIRST, 5, 5, 5)
    client.set_position(SECOND, 9, 9, 9)
    assert positions_reached(client, {}, {}) == {FIRST: 5, SECOND: 9}
    assert positions_reached(client, {FIRST: 5, SECOND: 8}, {}) == {SECOND: 9}
    assert positions_reached(client, {FIRST: 70, SECOND: 9}, {FIRST: []}) == {FIRST: 5}


async def test_the_age_of_an_open_transaction_starts_when_it_blocks() -> None:
    """The age starts when all stable records are read, grows while the offset stays, and ends with the transaction."""
    now = 100.0
    client, held = Client(FIRST, SECOND), OpenTransactions(lambda: now)
    both = {FIRST, SECOND}
    client.set_position(FIRST, 3, 5, 9)  # behind: it has something to read
    client.set_position(SECOND, 7, 7, 7)
    held.observe(client, both)
    assert held.seconds() == 0
    client.set_position(FIRST, 5, 5, 9)
    held.observe(client, both)
    now = 130.0
    held.observe(client, both)
    assert held.seconds() == 30
    client.set_position(SECOND, 7, 7, 8)
    held.observe(client, both)
    now = 140.0
    assert held.seconds() == 40, "the oldest counts"
    client.set_position(FIRST, 10, 10, 10)
    held.observe(client, both)
    assert held.seconds() == 10
    held.observe(client, {FIRST})
    assert held.seconds() == 0, "of what is not fetched there is no news"


async def test_a_long_aborted_transaction_does_not_block_the_worker() -> None:
    """Records on both sides of more aborted offsets than the span limit are all started."""
    worker = Worker(Rig(), span=10)
    tracker = worker.trackers.active()[PARTITION]
    offsets = [0, 1, 50_000, 50_001]
    tracker.track(offsets)
    records = [
        ConsumerRecord(*PARTITION, offset, 1_769_860_800_000, 1, None, c2s_webhook(f"hit-{offset}"), None, 0, 0, HOME)
        for offset in offsets
    ]

    async def one_fetch() -> AsyncIterator[Batch]:
        yield Batch(tracker, records)

    reading = asyncio.create_task(worker.enricher.run(one_fetch()))
    async with asyncio.timeout(LIMIT):
        while not reading.done():
            await asyncio.sleep(0)
            worker.producer.acknowledge()
    worker.producer.acknowledge()
    assert (tracker.watermark, tracker.span) == (50_002, 0)
