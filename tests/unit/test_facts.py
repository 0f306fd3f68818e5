"""What the watchdog is told of a worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from stream.engine.tracker import Trackers
from stream.engine.watchdog import STALL, diagnose
from stream.web.facts import WorkerFacts

PARTITION = ("webhooks", 0)


class Worker:
    """As much of a worker as the facts look at, on a clock of its own."""

    def __init__(self) -> None:
        self.trackers = Trackers()
        self.trackers.renew([PARTITION])
        self.at, self.offset = 0.0, 0
        app: Any = SimpleNamespace(consumer=SimpleNamespace(trackers=self.trackers), rebalancing=False)
        emitter = SimpleNamespace(failing_since=None)
        enricher: Any = SimpleNamespace(oldest_age=lambda: 0.0, restarts=0, emitter=emitter)
        self.facts = WorkerFacts(app, enricher, lambda: self.at)

    def finish_one(self) -> None:
        """A webhook arrives and ends."""
        tracker = self.trackers.open()[PARTITION]
        tracker.arrive([self.offset])
        tracker.finish(self.offset)
        self.offset += 1

    def commit(self) -> None:
        """The broker accepts what is finished."""
        self.trackers.committed(self.trackers.committable())

    async def diagnosed(self) -> str | None:
        """What the watchdog would say."""
        return diagnose(await self.facts.gather(), deadline=30.0)


async def test_a_worker_under_steady_load_that_commits_is_no_stall() -> None:
    """There is always something that was finished since the last commit; what counts is that commits go on."""
    worker = Worker()
    for _ in range(int(3 * STALL)):
        worker.at += 1.0
        worker.finish_one()
        worker.commit()
        worker.finish_one()
        assert await worker.diagnosed() is None


async def test_a_worker_that_finishes_and_never_commits_is_a_stall() -> None:
    """However much it finishes."""
    worker = Worker()
    said = []
    for _ in range(int(STALL) + 2):
        worker.at += 1.0
        worker.finish_one()
        said.append(await worker.diagnosed())
    assert said[-1] == "offsets are finished and none has been committed"
    assert said[: int(STALL)] == [None] * int(STALL)
