"""Gathers the facts about a worker for the watchdog and the health pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from typing import Protocol

from stream.health.probe import Probe
from stream.health.watchdog import Allowance, Facts, diagnose
from stream.kafka.offset_tracker import Trackers
from stream.worker.agent import Enricher


class Ages:
    """Measures for how long values stay the same."""

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}

    def oldest(self, things: Iterable[Hashable], now: float) -> float:
        """Return for how many seconds the longest-lived of ``things`` has been passed in every call."""
        self._since = {thing: self._since.get(thing, now) for thing in things}
        return now - min(self._since.values(), default=now)


class Progress(Protocol):
    """The progress of a stream runtime.

    ``join_progress``: how far joining the group and recovering the table are. The value changes while they make
    progress, and is None when both are done.
    """

    @property
    def trackers(self) -> Trackers: ...  # noqa: D102
    @property
    def is_rebalancing(self) -> bool: ...  # noqa: D102
    def join_progress(self) -> Hashable | None: ...  # noqa: D102


class WorkerFacts:
    """The facts about a worker. They can be gathered before the worker reaches the broker and exists."""

    def __init__(
        self, broker: Probe, database: Probe, allowance: Allowance, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._probe = broker
        self._database = database
        self._allowance = allowance
        self._clock = clock
        self._worker: tuple[Progress, Enricher] | None = None
        self._completed_ages, self._commit_ages, self._overtaken_ages, self._stuck_ages, self._join_ages = (
            Ages() for _ in range(5)
        )
        self._last_disturbance = self._last_broker_outage = clock()

    def watch(self, runtime: Progress, enricher: Enricher) -> None:
        """Gather the facts of this worker from now on."""
        self._worker = runtime, enricher

    async def gather(self) -> Facts:
        """Return the facts as they are now."""
        now, away = self._clock(), self.broker_away()
        if self._worker is None:
            return Facts(0.0, 0, 0.0, 0, 0.0, away, 0)
        runtime, enricher = self._worker
        trackers = runtime.trackers
        self._last_broker_outage = now if away else self._last_broker_outage
        self._last_disturbance = now if away or runtime.is_rebalancing else self._last_disturbance
        calm, connected = now - self._last_disturbance, now - self._last_broker_outage
        uncommitted = len(trackers.committable())
        join_progress = runtime.join_progress()
        completed = [trackers.completed] if trackers.unfinished else []
        return Facts(
            oldest_due_age=min(enricher.in_flight.oldest_age(), calm),
            unfinished=trackers.unfinished,
            since_completed=min(self._completed_ages.oldest(completed, now), calm),
            uncommitted=uncommitted,
            # Under load some offset is always uncommitted. So the number of commits must change.
            since_commit=min(self._commit_ages.oldest([trackers.commits] if uncommitted else [], now), calm),
            broker_away=away,
            agent_restarts=enricher.restarts,
            overtaken=min(self._overtaken_ages.oldest(trackers.overtaken.items(), now), calm),
            stuck=min(self._stuck_ages.oldest(trackers.watermarks.items(), now), calm),
            join_stalled=min(self._join_ages.oldest([] if join_progress is None else [join_progress], now), connected),
        )

    async def healthy(self) -> dict[str, str]:
        """Return the check ``progress``: why the watchdog would stop the worker, "" if it would not."""
        return {"progress": diagnose(await self.gather(), self._allowance) or ""}

    def waits(self) -> dict[str, str]:
        """Return the servers that a healthy worker waits for."""
        return self._connections()

    async def ready(self) -> dict[str, str]:
        """Return the checks of readiness: connected, member of the group, table recovered.

        A spare is ready. It has no partition, because the others have them all, and it takes over at once.
        """
        if self._worker is None:
            return {**self._connections(), "assignment": "the worker is starting"}
        runtime, _ = self._worker
        return {
            **self._connections(),
            "assignment": "" if runtime.trackers.joined else "the group has given no assignment",
            "recovery": "the table is being recovered" if runtime.join_progress() is not None else "",
        }

    def broker_away(self) -> float:
        """Seconds for which the broker has not answered, or has not acknowledged what we sent; 0 while it does."""
        failing = None if self._worker is None else self._worker[1].producer.failing_since
        unsent = 0.0 if failing is None else max(self._clock() - failing, 0.001)
        return max(self._probe.away, unsent)

    def _connections(self) -> dict[str, str]:
        away = {"broker": self.broker_away(), "database": self._database.away}
        return {name: f"away for {seconds:.0f} s" if seconds else "" for name, seconds in away.items()}
