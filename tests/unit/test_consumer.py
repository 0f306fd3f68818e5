"""Faust's consumer with our offset tracking: which records it must not drop."""

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
    """The consumer of an app that is not started."""
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
    """After a seek to the committed offset all records are handed over, whatever position Faust has noted."""
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
    """Records without an active tracker are dropped: the next generation reads them from the committed offset."""
    consumer.trackers.begin_generation([WEBHOOKS])
    tracker = consumer.trackers.active()[WEBHOOKS]
    consumer.trackers.revoke_all()
    assert consumer._track(tracker, [record(80)]) is None
    assert consumer._track(None, [record(80)]) is None
    assert tracker.watermark is None
    await consumer._deliver({WEBHOOKS: None})


async def test_a_batch_that_is_not_dispatched_delays_the_next_one(
    consumer: TrackingConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consumer hands over the next batch of a partition only after the agent has dispatched the previous one."""
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
    """A seek moves a partition without a commit to its beginning, where aiokafka would not move it and lose records."""
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


async def test_a_partition_revoked_during_a_seek_is_no_error(
    consumer: TrackingConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partition that is revoked during a seek raises no error, because the rebalance seeks again."""

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
    """The client below Faust, as far as pausing is concerned, with aiokafka's own state of the assignment."""

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


async def test_a_fetch_without_records_is_short(consumer: TrackingConsumer) -> None:
    """A fetch waits less than Faust's 1.5 s for records, because the first webhook after a recovery waits for it."""
    made = consumer._thread._create_worker_consumer(consumer.transport)
    assert made._fetch_max_wait_ms == FETCH_MAX_WAIT_MS < 1_500
    await made.stop()


async def test_pausing_without_a_client_is_no_error(consumer: TrackingConsumer) -> None:
    """Pausing revoked partitions raises no error after the consumer's thread has ended."""
    consumer._thread.thread_loop.close()
    consumer.pause_partitions([CHANGELOG])
    assert CHANGELOG not in consumer._get_active_partitions()
