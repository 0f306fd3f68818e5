"""What the watchdog and the pages want to know of a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from typing import Protocol

from stream.health.probe import Probe
from stream.health.watchdog import Allowance, Facts, diagnose
from stream.kafka.offset_tracker import Trackers
from stream.worker.agent import Enricher


class Ages:
    """For how long things have been as they are."""

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}

    def oldest(self, things: Iterable[Hashable], now: float) -> float:
        """Seconds for which the one that has stayed longest has been among ``things``."""
        self._since = {thing: self._since.get(thing, now) for thing in things}
        return now - min(self._since.values(), default=now)


class Progress(Protocol):
    """What is asked of the stream runtime.

    ``unsettled``: how far joining the group and recovering the table are, a value that changes while they get on; None
    when both are done.
    """

    @property
    def trackers(self) -> Trackers: ...  # noqa: D102
    @property
    def is_rebalancing(self) -> bool: ...  # noqa: D102
    def unsettled(self) -> Hashable | None: ...  # noqa: D102


class WorkerFacts:
    """What the watchdog and the pages want to know of a worker, from before it reaches the broker."""

    def __init__(
        self, broker: Probe, database: Probe, allowance: Allowance, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._probe = broker
        self._database = database
        self._allowance = allowance
        self._clock = clock
        self._parts: tuple[Progress, Enricher] | None = None
        self._finished, self._committed, self._overtaken, self._stuck, self._unsettled = (Ages() for _ in range(5))
        self._calm = self._there = clock()

    def watch(self, runtime: Progress, enricher: Enricher) -> None:
        """The worker is made; look at it from now on."""
        self._parts = runtime, enricher

    async def gather(self) -> Facts:
        """Look at the worker now."""
        now, away = self._clock(), self.broker_away()
        if self._parts is None:
            return Facts(0.0, 0, 0.0, 0, 0.0, away, 0)
        runtime, enricher = self._parts
        trackers = runtime.trackers
        self._there = now if away else self._there
        self._calm = now if away or runtime.is_rebalancing else self._calm
        calm, there = now - self._calm, now - self._there
        uncommitted = len(trackers.committable())
        unsettled = runtime.unsettled()
        finished = [trackers.completed] if trackers.unfinished else []
        return Facts(
            oldest_due_age=min(enricher.in_flight.oldest_age(), calm),
            unfinished=trackers.unfinished,
            since_completed=min(self._finished.oldest(finished, now), calm),
            uncommitted=uncommitted,
            # Under load there is always something that was finished since the last commit: that they go on counts.
            since_commit=min(self._committed.oldest([trackers.commits] if uncommitted else [], now), calm),
            broker_away=away,
            agent_restarts=enricher.restarts,
            overtaken=min(self._overtaken.oldest(trackers.overtaken.items(), now), calm),
            stuck=min(self._stuck.oldest(trackers.watermarks.items(), now), calm),
            unsettled=min(self._unsettled.oldest([] if unsettled is None else [unsettled], now), there),
        )

    async def healthy(self) -> dict[str, str]:
        """Progress: unhealthy when the watchdog would make the worker leave."""
        return {"progress": diagnose(await self.gather(), self._allowance) or ""}

    def without(self) -> dict[str, str]:
        """What an otherwise healthy worker waits for."""
        return self._connections()

    async def ready(self) -> dict[str, str]:
        """Connected, member of the group and recovered.

        A spare is ready: the group gave it no partition because others have them all, and it takes over at once.
        """
        if self._parts is None:
            return {**self._connections(), "assignment": "the worker is being started"}
        runtime, _ = self._parts
        return {
            **self._connections(),
            "assignment": "" if runtime.trackers.joined else "the group has given no assignment",
            "recovery": "the table is being recovered" if runtime.unsettled() is not None else "",
        }

    def broker_away(self) -> float:
        """Seconds for which the broker has not answered, or taken what we sent; 0 while it does."""
        failing = None if self._parts is None else self._parts[1].producer.failing_since
        unsent = 0.0 if failing is None else max(self._clock() - failing, 0.001)
        return max(self._probe.away, unsent)

    def _connections(self) -> dict[str, str]:
        away = {"broker": self.broker_away(), "database": self._database.away}
        return {name: f"away for {seconds:.0f} s" if seconds else "" for name, seconds in away.items()}
