"""Our subclass of Faust's consumer: records that it must not drop."""

# ruff: noqa: SLF001 - the insides are the subject

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import TypeVar

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import IllegalStateError
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream import topics
from stream.faust_runtime.app import make_app, make_table
from stream.faust_runtime.consumer import TrackingConsumer
from stream.faust_runtime.consumer_thread import FETCH_MAX_WAIT_MS
from stream.kafka.batches import Batch
from stream.settings import load

T = TypeVar("T")
WEBHOOKS, CHANGELOG = TP(topics.WEBHOOKS.name, 0), TP(topics.CHANGELOG.name, 0)


@pytest.fixture
async def consumer() -> AsyncIterator[TrackingConsumer]:
    """A consumer of an app that is not started."""
    settings = load({})
    app = make_app(settings)
    make_table(app, settings)
    app.finalize()
    made: TrackingConsumer = app.consumer
    yield made
    made._thread.thread_loop.close()


def record(offset: int) -> ConsumerRecord:
    return ConsumerRecord(*WEBHOOKS, offset, 1_769_860_800_000, 1, None, b"{}", None, 0, 0, ())


async def test_records_read_again_after_a_seek_are_not_dropped(
    consumer: TrackingConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust would drop them, because it remembers how far it has read."""
    handed: list[Batch] = []

    async def hand_on(message: ConsumerMessage) -> None:
        handed.append(message.value)
        message.value.dispatched.set()

    monkeypatch.setattr(consumer, "callback", hand_on)
    consumer._read_offset[WEBHOOKS] = 100
    consumer.trackers.begin_generation([WEBHOOKS])
    tracker = consumer.trackers.active()[WEBHOOKS]
    await consumer._deliver({WEBHOOKS: consumer._track(tracker, [record(80), record(81)])})
    assert [one.offset for batch in handed for one in batch.records] == [80, 81]
    assert (tracker.watermark, tracker.span) == (80, 2)


async def test_records_of_an_old_generation_are_dropped(consumer: TrackingConsumer) -> None:
    """Their tracker is closed or missing. The next generation reads them from the committed offset."""
    consumer.trackers.begin_generation([WEBHOOKS])
    tracker = consumer.trackers.active()[WEBHOOKS]
    consumer.trackers.revoke_all()
    assert consumer._track(tracker, [record(80)]) is None
    assert consumer._track(None, [record(80)]) is None
    assert tracker.watermark is None
    await consumer._deliver({WEBHOOKS: None})


async def test_a_batch_waits_until_the_agent_is_done_with_the_one_before(
    consumer: TrackingConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is the back-pressure: one fetch is under way."""
    handed: list[Batch] = []

    async def hand_on(message: ConsumerMessage) -> None:
        handed.append(message.value)

    monkeypatch.setattr(consumer, "callback", hand_on)
    other = WEBHOOKS._replace(partition=1)
    consumer.trackers.begin_generation([WEBHOOKS, other])
    trackers = consumer.trackers.active()
    delivering = asyncio.create_task(
        consumer._deliver({tp: consumer._track(trackers[tp], [record(0)]) for tp in (WEBHOOKS, other)})
    )
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(handed) == 1
    handed[0].dispatched.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(handed) == 2
    handed[1].dispatched.set()
    await delivering


async def test_a_partition_without_a_commit_is_read_from_its_beginning_after_a_seek(
    consumer: TrackingConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aiokafka would not move it, and records fetched before the seek would be lost."""
    committed = {WEBHOOKS: None, WEBHOOKS._replace(partition=1): 0, WEBHOOKS._replace(partition=2): 7, CHANGELOG: None}
    positioned: list[TP] = []

    async def seek_to_committed() -> dict[TP, int | None]:
        return committed

    async def seek_to_beginning(*partitions: TP) -> None:
        positioned.extend(partitions)

    monkeypatch.setattr(consumer._thread, "seek_to_committed", seek_to_committed)
    monkeypatch.setattr(consumer._thread, "seek_to_beginning", seek_to_beginning)
    consumer.trackers.begin_generation([WEBHOOKS])
    before = consumer.trackers.active()[WEBHOOKS]
    await consumer.perform_seek()
    assert positioned == [WEBHOOKS, WEBHOOKS._replace(partition=1)]
    assert before.revoked
    assert consumer.trackers.active()[WEBHOOKS] is not before


async def test_a_partition_revoked_during_a_seek_is_ignored(
    consumer: TrackingConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rebalance that revoked it seeks again."""

    async def seek_to_committed() -> dict[TP, int | None]:
        return {WEBHOOKS: None}

    async def seek_to_beginning(*partitions: TP) -> None:
        raise IllegalStateError(f"Partitions {partitions} are not assigned")

    monkeypatch.setattr(consumer._thread, "seek_to_committed", seek_to_committed)
    monkeypatch.setattr(consumer._thread, "seek_to_beginning", seek_to_beginning)
    consumer.trackers.begin_generation([WEBHOOKS], positioned=False)
    await consumer.perform_seek()
    assert list(consumer.trackers.active()) == [WEBHOOKS]


class Client:
    """aiokafka's state of what is assigned and paused."""

    def __init__(self) -> None:
        self._state = SubscriptionState()
        self.assignment, self.paused = self._state.assigned_partitions, self._state.paused_partitions
        self._state.assign_from_user({TopicPartition(*WEBHOOKS), TopicPartition(*CHANGELOG)})

    def pause(self, *partitions: TopicPartition) -> None:
        """Stop fetching these partitions."""
        for partition in partitions:
            assert isinstance(partition, TopicPartition)  # as aiokafka does
            self._state.pause(partition)

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch these partitions again."""
        for partition in partitions:
            assert isinstance(partition, TopicPartition)
            self._state.resume(partition)


async def test_a_changelog_that_nobody_reads_is_not_fetched(consumer: TrackingConsumer) -> None:
    """A paused changelog is not fetched, except at an assignment, where a fetch without it would delay the recovery."""
    thread = consumer._thread

    async def made_there() -> Client:
        return Client()

    async def nothing() -> None:
        """Let what was asked of the thread before be done."""

    def there(work: Coroutine[None, None, T]) -> Awaitable[T]:
        return asyncio.to_thread(thread.thread_loop.run_until_complete, work)

    client = await there(made_there())
    thread._consumer = client
    elsewhere = CHANGELOG._replace(partition=7)  # revoked meanwhile
    consumer.pause_partitions([WEBHOOKS, CHANGELOG])
    await there(nothing())
    assert client.paused() == set()
    assert not consumer._get_active_partitions()
    consumer.pause_partitions([CHANGELOG, elsewhere])
    await there(nothing())
    assert client.paused() == {CHANGELOG}
    consumer.resume_partitions([WEBHOOKS, CHANGELOG])
    await there(nothing())
    assert client.paused() == set()
    assert consumer._get_active_partitions() == {WEBHOOKS, CHANGELOG}


async def test_an_empty_fetch_is_not_held_for_long(consumer: TrackingConsumer) -> None:
    """After a recovery the first webhook waits for the running fetch, which Faust lets the broker hold for 1.5 s."""
    made = consumer._thread._create_worker_consumer(consumer.transport)
    assert made._fetch_max_wait_ms == FETCH_MAX_WAIT_MS < 1_500
    await made.stop()


async def test_pausing_after_the_end_of_the_thread_is_ignored(consumer: TrackingConsumer) -> None:
    """Faust pauses revoked partitions when the consumer's thread may have ended."""
    consumer._thread.thread_loop.close()
    consumer.pause_partitions([CHANGELOG])
    assert CHANGELOG not in consumer._get_active_partitions()
