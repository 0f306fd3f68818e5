"""What the watchdog and the pages want to know of a worker."""

from __future__ import annotations

import time
from collections.abc import Callable

import faust

from stream.agents.enrich import Enricher
from stream.engine.watchdog import Facts, diagnose


class WorkerFacts:
    """What the watchdog and the pages want to know of a worker."""

    def __init__(self, app: faust.App, enricher: Enricher, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._enricher = enricher
        self._clock = clock
        self._finished = (0, clock())
        self._committed = (0, clock())

    async def gather(self) -> Facts:
        """Look at the worker now."""
        now = self._clock()
        trackers = self._app.consumer.trackers
        if trackers.finished != self._finished[0] or not trackers.unfinished:
            self._finished = (trackers.finished, now)
        uncommitted = len(trackers.committable())
        # Under load there is always something that was finished since the last commit.
        if trackers.commits != self._committed[0] or not uncommitted or self._app.rebalancing:
            self._committed = (trackers.commits, now)
        return Facts(
            oldest_due_age=self._enricher.oldest_age(),
            unfinished=trackers.unfinished,
            since_finished=now - self._finished[1],
            uncommitted=uncommitted,
            since_commit=now - self._committed[1],
            broker_away=self._broker_away(now),
            agent_restarts=self._enricher.restarts,
        )

    async def healthy(self) -> dict[str, str]:
        """Progress: unhealthy when the watchdog would make the worker leave."""
        facts = await self.gather()
        return {"progress": diagnose(facts, self._enricher.deadline) or ""}

    def ready(self) -> dict[str, str]:
        """Assigned and recovered."""
        app = self._app
        return {
            "broker": "away" if self._broker_away(self._clock()) else "",
            "assignment": "" if app.consumer.trackers.assigned else "no partition is assigned",
            "recovery": ""
            if app.tables.recovery.completed.is_set() and not app.rebalancing
            else "the table is being recovered",
        }

    def _broker_away(self, now: float) -> float:
        """Seconds for which nothing that we sent was acknowledged; 0 while the broker answers."""
        since = self._enricher.emitter.failing_since
        return 0.0 if since is None else max(now - since, 0.001)
