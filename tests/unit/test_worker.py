"""How a worker starts and stops, on a runtime whose calls may hang."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from stream.domain.errors import GroupError, StopError
from stream.kafka.offset_tracker import Trackers
from stream.worker import lifecycle as life
from stream.worker.lifecycle import Stop, Worker

LIMIT = 30.0  # seconds
PARTITION = ("webhooks", 0)


async def for_ever(*_: object) -> None:
    """Never return."""
    await asyncio.Event().wait()


async def return_at_once(*_: object) -> None:
    """Return."""


class SingleFlight:
    """Single flight, as far as the shutdown uses it."""

    under_way = 0

    def __init__(self) -> None:
        self.drained_for: float | None = None
        self.land = asyncio.Event()

    async def drain(self, seconds: float) -> None:
        """Wait until the look-ups have ended."""
        self.drained_for = seconds
        await self.land.wait()


class World:
    """A worker whose parts do as the test says."""

    def __init__(self) -> None:
        self.trackers = Trackers()
        self.trackers.begin_generation([PARTITION])
        self.single_flight = SingleFlight()
        self.single_flight.land.set()
        self.parked: list[str] = []
        self.fetches = True
        self.runtime = SimpleNamespace(
            trackers=self.trackers,
            on_revoked=lambda handler: setattr(self, "revoked", handler),
            on_recovered=lambda handler: setattr(self, "recovered", handler),
            start=return_at_once,
            watch=for_ever,
            commit=self.commit,
            stop_fetching=self.stop_fetching,
            stop=return_at_once,
        )
        self.producer = SimpleNamespace(backlog=0, flush=return_at_once)
        self.watchdog = SimpleNamespace(run=for_ever)
        self.stop = Stop()

    def stop_fetching(self) -> None:
        """Fetch nothing more."""
        self.fetches = False

    async def commit(self) -> None:
        """Commit everything that is committable."""
        self.trackers.committed(self.trackers.committable())

    def worker(self) -> Worker:
        """Return the worker of these parts."""
        enricher = SimpleNamespace(single_flight=self.single_flight, park_all=self.parked.append, stop=return_at_once)
        waits = SimpleNamespace(run=for_ever, beat=for_ever, watch=for_ever)
        parts: dict[str, Any] = {
            "runtime": self.runtime,
            "enricher": enricher,
            "cache": SimpleNamespace(),
            "producer": self.producer,
            "retry": waits,
            "watchdog": self.watchdog,
            "pulse": waits,
            "dlq_guard": waits,
        }
        return Worker(**parts, probes=lambda: [for_ever()], grace=600.0)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(life, "SHUTDOWN_STEP_S", 0.05)
    async with asyncio.timeout(LIMIT):
        yield World()


async def test_a_start_that_hangs_is_watched(world: World) -> None:
    """While the group is joined the watchdog ends the worker with exit code 1."""

    async def watch() -> None:
        raise StopError("the broker is away")

    world.runtime.start, world.watchdog.run = for_ever, watch
    assert await world.worker().run(world.stop) == 1


async def test_a_worker_whose_group_refuses_it_ends(world: World) -> None:
    """The exit code is 1, and the worker leaves the group if it can't use its assignment."""

    async def refuse() -> None:
        raise GroupError("the group coordinator failed: AssertionError()", must_leave=True)

    world.runtime.start, world.runtime.watch = for_ever, refuse
    worker = world.worker()
    assert (await worker.run(world.stop), worker.must_leave_group) == (1, True)


async def test_a_start_that_hangs_can_be_stopped(world: World) -> None:
    """The exit code is 0, because nothing was started."""
    world.runtime.start = for_ever
    world.stop.request()
    assert await world.worker().run(world.stop) == 0


async def test_a_runtime_that_does_not_stop_is_not_waited_for(world: World) -> None:
    """The exit code is 0, because everything is committed, and ``runtime_hangs`` is set."""

    async def ignore() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not ignoring:
                    raise

    ignoring, world.runtime.stop = True, ignore
    world.stop.request()
    worker = world.worker()
    assert (await worker.run(world.stop), worker.runtime_hangs) == (0, True)
    ignoring = False


async def test_a_stop_starts_no_further_records(world: World) -> None:
    """That holds also for a generation that starts during the grace."""
    world.single_flight.land.clear()
    running = asyncio.create_task(world.worker().run(world.stop))
    world.stop.request()
    while world.single_flight.drained_for is None:  # noqa: ASYNC110 - the worker sets no event
        await asyncio.sleep(0)
    world.trackers.begin_generation([PARTITION])
    assert (world.trackers.active(), world.single_flight.drained_for, world.fetches) == ({}, 600.0, False)
    world.single_flight.land.set()
    assert await running == 0
    assert world.parked == ["shutdown"]


async def test_a_second_signal_ends_the_grace(world: World) -> None:
    """Webhooks that are being looked up are parked at once."""
    world.single_flight.land.clear()
    world.stop.request()
    world.stop.request()
    assert await world.worker().run(world.stop) == 0
    assert world.parked == ["shutdown"]


@pytest.mark.parametrize("what", ["undelivered", "uncommitted"])
async def test_an_incomplete_shutdown_has_exit_code_1(world: World, what: str) -> None:
    """The broker is away, and the process ends all the same."""
    if what == "undelivered":
        world.producer.backlog, world.producer.flush = 3, for_ever
    else:
        tracker = world.trackers.active()[PARTITION]
        tracker.track([0])
        tracker.complete(0)
        world.runtime.commit = for_ever
    world.stop.request()
    assert await world.worker().run(world.stop) == 1


async def test_a_shutdown_step_may_use_the_time_left_by_earlier_steps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush that takes longer than one step and less than two completes: exit code 0."""
    monkeypatch.setattr(life, "SHUTDOWN_STEP_S", 1.0)

    async def deliver() -> None:
        await asyncio.sleep(1.2)
        world.producer.backlog = 0

    world.producer.backlog, world.producer.flush = 3, deliver
    world.stop.request()
    assert await world.worker().run(world.stop) == 0


async def test_a_refused_last_commit_is_retried(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group rebalances during the shutdown, and completed offsets are committed all the same."""
    monkeypatch.setattr(life, "SHUTDOWN_STEP_S", LIMIT)
    refused = asyncio.Event()

    async def commit() -> None:
        if refused.is_set():
            await world.commit()
        refused.set()

    tracker = world.trackers.active()[PARTITION]
    tracker.track([0])
    tracker.complete(0)
    world.runtime.commit = commit
    world.stop.request()
    assert await world.worker().run(world.stop) == 0
    assert world.trackers.committable() == {}
