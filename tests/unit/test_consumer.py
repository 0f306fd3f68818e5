"""Faust's consumer, as we have it: what it may not drop."""

# ruff: noqa: SLF001 - the insides are the subject

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import TypeVar

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import IllegalStateError
from faust.types import TP

from stream import topics
from stream.faust_runtime.app import make_app, make_table
from stream.faust_runtime.consumer import FETCH_WAIT, TrackingConsumer
from stream.settings import load

T = TypeVar("T")
WEBHOOKS, CHANGELOG = TP(topics.WEBHOOKS.name, 0), TP(topics.CHANGELOG.name, 0)


@pytest.fixture
async def consumer() -> AsyncIterator[TrackingConsumer]:
    """The consumer of an app that is not started."""
    settings = load({"STREAM_FAST_PATH": "false"})
    app = make_app(settings)
    make_table(app, settings)
    app.finalize()
    made: TrackingConsumer = app.consumer
    yield made
    made._thread.thread_loop.close()


async def test_what_is_read_again_after_a_seek_is_not_dropped(consumer: TrackingConsumer) -> None:
    """Faust's loop notes a stale record's offset after a seek back, and would drop what lies below it."""
    consumer._read_offset.update({WEBHOOKS: 80, CHANGELOG: 80})
    consumer._read_offset[WEBHOOKS] = 100
    consumer._read_offset[CHANGELOG] = 100
    assert consumer._read_offset[WEBHOOKS] is None
    assert consumer._read_offset[CHANGELOG] == 100
    assert consumer._read_offset.pop(CHANGELOG, None) == 100
    assert consumer._read_offset.pop(WEBHOOKS, None) is None  # as Faust does with what is revoked
    assert consumer._read_offset[CHANGELOG] is None


async def test_what_nothing_is_committed_of_is_read_from_its_beginning_after_a_seek(
    consumer: TrackingConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client stays where it is then, and what was fetched before the seek and forgotten was lost."""
    committed = {WEBHOOKS: None, WEBHOOKS._replace(partition=1): 0, WEBHOOKS._replace(partition=2): 7, CHANGELOG: None}
    sought: list[TP] = []

    async def seek_to_committed() -> dict[TP, int | None]:
        return committed

    async def seek_to_beginning(*partitions: TP) -> None:
        sought.extend(partitions)

    monkeypatch.setattr(consumer._thread, "seek_to_committed", seek_to_committed)
    monkeypatch.setattr(consumer._thread, "seek_to_beginning", seek_to_beginning)
    consumer.trackers.renew([WEBHOOKS])
    before = consumer.trackers.open()[WEBHOOKS]
    await consumer.perform_seek()
    assert sought == [WEBHOOKS, WEBHOOKS._replace(partition=1)]
    assert before.closed
    assert consumer.trackers.open()[WEBHOOKS] is not before


async def test_a_partition_that_is_taken_away_during_a_seek_ends_nothing(
    consumer: TrackingConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rebalance that took it away seeks anew."""

    async def seek_to_committed() -> dict[TP, int | None]:
        return {WEBHOOKS: None}

    async def seek_to_beginning(*partitions: TP) -> None:
        raise IllegalStateError(f"Partitions {partitions} are not assigned")

    monkeypatch.setattr(consumer._thread, "seek_to_committed", seek_to_committed)
    monkeypatch.setattr(consumer._thread, "seek_to_beginning", seek_to_beginning)
    consumer.trackers.renew([WEBHOOKS], sought=False)
    await consumer.perform_seek()
    assert list(consumer.trackers.open()) == [WEBHOOKS]


class Client:
    """The client below, as far as pausing is concerned: aiokafka's own state of what is assigned."""

    def __init__(self) -> None:
        self._state = SubscriptionState()
        self.assignment, self.paused = self._state.assigned_partitions, self._state.paused_partitions
        self._state.assign_from_user({TopicPartition(*WEBHOOKS), TopicPartition(*CHANGELOG)})

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch no more of them."""
        for partition in partitions:
            assert isinstance(partition, TopicPartition)  # as aiokafka does
            self._state.pause(partition)

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch of them again."""
        for partition in partitions:
            assert isinstance(partition, TopicPartition)
            self._state.resume(partition)


async def test_a_changelog_that_nobody_reads_is_not_fetched(consumer: TrackingConsumer) -> None:
    """What we write to it would lie in the client, which fetches nothing of its broker for 100 ms then.

    At an assignment, where all is paused, the client goes on: recovery would wait for a fetch without the changelog.
    """
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
    """After a recovery the first webhook waits for the fetch that is under way: Faust lets it be held for 1.5 s."""
    made = consumer._thread._create_worker_consumer(consumer.transport)
    assert made._fetch_max_wait_ms == FETCH_WAIT < 1_500
    await made.stop()


async def test_a_client_that_is_gone_need_not_be_told(consumer: TrackingConsumer) -> None:
    """Faust pauses what it loses while the consumer's thread may have ended."""
    consumer._thread.thread_loop.close()
    consumer.pause_partitions([CHANGELOG])
    assert CHANGELOG not in consumer._get_active_partitions()
