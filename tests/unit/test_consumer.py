"""Faust's consumer, as we have it: what it may not drop."""

# ruff: noqa: SLF001 - the insides are the subject

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiokafka.errors import IllegalStateError
from faust.types import TP

from stream import topics
from stream.app import make_app, make_table
from stream.engine.consumer import TrackingConsumer
from stream.settings import load

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
