"""A commit contains what is completed when it is requested, also while another commit runs."""

# ruff: noqa: SLF001 - the insides are the subject

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
from faust.types import TP

from stream import topics
from stream.faust_runtime.app import make_app, make_table
from stream.faust_runtime.consumer import TrackingConsumer
from stream.settings import load

LIMIT = 30.0  # seconds
WEBHOOKS = TP(topics.WEBHOOKS.name, 0)


class Broker:
    """Takes commits. Each waits for ``gate``, and the first ``refusals`` of them are refused."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.refusals = 0
        self.commits: list[dict[TP, int]] = []

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        """Accept ``offsets``, or refuse them."""
        self.begun.set()
        await self.gate.wait()
        if self.refusals:
            self.refusals -= 1
            return False
        self.commits.append(dict(offsets))
        return True


@pytest.fixture
async def broker() -> Broker:
    return Broker()


@pytest.fixture
async def consumer(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TrackingConsumer]:
    """A consumer of an app that is not started, with two records of one partition under way."""
    settings = load({})
    app = make_app(settings)
    make_table(app, settings)
    app.finalize()
    made: TrackingConsumer = app.consumer
    monkeypatch.setattr(made, "_commit", broker.commit)
    made.trackers.begin_generation([WEBHOOKS])
    made.trackers.active()[WEBHOOKS].track([0, 1])
    yield made
    made._thread.thread_loop.close()


async def test_offsets_completed_during_a_commit_are_in_the_next_one(
    consumer: TrackingConsumer, broker: Broker
) -> None:
    """The last commit of a stopping worker may come while the periodic one runs."""
    tracker = consumer.trackers.active()[WEBHOOKS]
    async with asyncio.timeout(LIMIT):
        tracker.complete(0)
        periodic = asyncio.create_task(consumer.commit())
        await broker.begun.wait()
        tracker.complete(1)
        last = asyncio.create_task(consumer.commit())
        await asyncio.sleep(0)
        broker.gate.set()
        await asyncio.gather(periodic, last)
    assert broker.commits == [{WEBHOOKS: 1}, {WEBHOOKS: 2}]
    assert consumer.trackers.committable() == {}


async def test_concurrent_requests_share_one_commit(consumer: TrackingConsumer, broker: Broker) -> None:
    """Nothing is committed twice, and each returns when its offsets are committed."""
    tracker = consumer.trackers.active()[WEBHOOKS]
    async with asyncio.timeout(LIMIT):
        tracker.complete(0)
        first = asyncio.create_task(consumer.commit())
        await broker.begun.wait()
        tracker.complete(1)
        others = [asyncio.create_task(consumer.commit()) for _ in range(5)]
        await asyncio.sleep(0)
        broker.gate.set()
        await asyncio.gather(first, *others)
    assert broker.commits == [{WEBHOOKS: 1}, {WEBHOOKS: 2}]
