"""What the watchdog is told of a worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

from aiokafka.errors import KafkaConnectionError

from stream.health.probe import Probe
from stream.health.watchdog import (
    MAX_BROKER_OUTAGE_S,
    MAX_JOIN_STALL_S,
    MAX_STALL_S,
    STUCK_FACTOR,
    Allowance,
    Facts,
    diagnose,
)
from stream.kafka.offset_tracker import Trackers
from stream.worker.health import WorkerFacts

PARTITION, OTHER = ("webhooks", 0), ("webhooks", 1)
ALLOWANCE = Allowance(deadline=30.0, queue_limit=120.0)
LOST = "a webhook got lost inside the worker: others are completed, it is not"


class Worker:
    """A worker, as far as the facts need it, with its own clock."""

    def __init__(self) -> None:
        self.trackers = Trackers()
        self.trackers.begin_generation([PARTITION, OTHER])
        self.at = 0.0
        self.offsets = Counter[tuple[str, int]]()
        self.recovered: int | None = None  # records of the table that recovery has brought; None when it is over
        self.runtime: Any = SimpleNamespace(
            trackers=self.trackers, is_rebalancing=False, join_progress=self.join_progress
        )
        self.producer = SimpleNamespace(failing_since=None)
        self.oldest = 0.0
        enricher: Any = SimpleNamespace(
            in_flight=SimpleNamespace(oldest_age=lambda: self.oldest), restarts=0, producer=self.producer
        )
        self.probe = Probe("the broker", lambda: self.at, every=0.0)
        self.facts = WorkerFacts(self.probe, Probe("the database"), ALLOWANCE, lambda: self.at)
        self.facts.watch(self.runtime, enricher)

    def join_progress(self) -> tuple[bool, int] | None:
        """Return how far joining and recovering are."""
        rebalancing = self.runtime.is_rebalancing
        return (rebalancing, self.recovered or 0) if rebalancing or self.recovered is not None else None

    def arrive(self, partition: tuple[str, int] = PARTITION) -> int:
        """Fetch a webhook."""
        offset = self.offsets[partition]
        self.trackers.active()[partition].track([offset])
        self.offsets[partition] += 1
        return offset

    def complete_one(self, partition: tuple[str, int] = PARTITION) -> None:
        """Fetch and complete a webhook."""
        self.trackers.active()[partition].complete(self.arrive(partition))

    def commit(self) -> None:
        """Commit everything that is completed."""
        self.trackers.committed(self.trackers.committable())

    async def gather(self) -> Facts:
        """Return the facts."""
        return await self.facts.gather()

    async def diagnosed(self) -> str | None:
        """Return why the watchdog would stop the worker."""
        return diagnose(await self.gather(), ALLOWANCE)

    async def seconds_until_it_leaves(self, most: int, partition: tuple[str, int] = PARTITION) -> int | None:
        """Let others end and be committed, second by second; None when it never leaves."""
        for second in range(most):
            if await self.diagnosed():
                return second
            self.at += 1.0
            self.complete_one(partition)
            self.commit()
        return None


async def test_a_worker_under_steady_load_that_commits_is_no_stall() -> None:
    """Something is always uncommitted; the number of commits counts."""
    worker = Worker()
    for _ in range(int(3 * MAX_STALL_S)):
        worker.at += 1.0
        worker.complete_one()
        worker.commit()
        worker.complete_one()
        assert await worker.diagnosed() is None


async def test_a_worker_that_completes_and_never_commits_is_a_stall() -> None:
    """However much it completes."""
    worker = Worker()
    said = []
    for _ in range(int(MAX_STALL_S) + 2):
        worker.at += 1.0
        worker.complete_one()
        said.append(await worker.diagnosed())
    assert said[-1] == "offsets are completed and none was committed for 60 s"
    assert said[: int(MAX_STALL_S)] == [None] * int(MAX_STALL_S)


async def test_an_idle_night_is_no_stall() -> None:
    """Nothing arrives, or everything that arrived is committed."""
    worker = Worker()
    worker.complete_one()
    worker.commit()
    await worker.gather()
    worker.at += 36_000.0
    assert await worker.diagnosed() is None


async def test_a_webhook_that_later_ones_have_overtaken_for_too_long_is_lost() -> None:
    """The worker stops, so that the webhook is read again."""
    worker = Worker()
    worker.arrive()
    assert await worker.seconds_until_it_leaves(1_000) == int(ALLOWANCE.total) + 2
    assert await worker.diagnosed() == LOST


async def test_a_lost_webhook_at_the_end_of_a_partition_is_found() -> None:
    """None overtakes it, so it has a longer limit: it may still wait to be read."""
    worker = Worker()
    worker.arrive()
    left = await worker.seconds_until_it_leaves(1_000, OTHER)
    assert left == int(STUCK_FACTOR * ALLOWANCE.total) + 1


async def test_a_full_queue_that_moves_is_no_loss() -> None:
    """Each first unfinished offset has its own age."""
    worker = Worker()
    waiting = [worker.arrive() for _ in range(2_000)]
    tracker = worker.trackers.active()[PARTITION]
    for first, second in zip(waiting[::2], waiting[1::2], strict=True):
        worker.at += 1.0
        tracker.complete(second)
        tracker.complete(first)
        worker.commit()
        assert await worker.diagnosed() is None


async def test_after_a_rebalance_all_ages_start_again() -> None:
    """Time during which the group is joined is no stall."""
    worker = Worker()
    worker.arrive()
    worker.complete_one()
    worker.oldest = 500.0
    await worker.gather()
    worker.runtime.is_rebalancing = True
    worker.at += MAX_JOIN_STALL_S - 1
    assert await worker.diagnosed() is None
    worker.runtime.is_rebalancing = False
    worker.at += MAX_STALL_S
    assert await worker.diagnosed() is None
    worker.at += 1
    assert await worker.diagnosed() is not None


async def test_a_rebalance_or_recovery_without_progress_is_a_stall() -> None:
    """With progress it may take any time."""
    worker = Worker()
    worker.recovered = 0
    for _ in range(10):
        worker.recovered += 1
        assert await worker.diagnosed() is None
        worker.at += MAX_JOIN_STALL_S
    assert "no progress in joining" not in str(await worker.diagnosed())
    worker.at += 1
    assert "no progress in joining" in str(await worker.diagnosed())


async def test_an_outage_of_the_broker_is_a_stall_after_five_minutes() -> None:
    """During the outage and at its end no other age counts."""
    worker = Worker()
    worker.arrive()
    worker.complete_one()
    await worker.gather()
    worker.producer.failing_since = 0.001
    worker.oldest = worker.at = MAX_BROKER_OUTAGE_S - 1
    assert await worker.diagnosed() is None
    away = {"broker": "away for 299 s", "database": ""}
    assert (await worker.facts.healthy(), worker.facts.waits()) == ({"progress": ""}, away)
    worker.producer.failing_since = None
    assert await worker.diagnosed() is None
    worker.producer.failing_since = 0.001
    worker.at = MAX_BROKER_OUTAGE_S + 1
    assert await worker.diagnosed() == "the broker is away"


async def test_an_idle_worker_learns_from_its_probe_that_the_broker_is_away() -> None:
    """It sends nothing that could fail, and is not ready all the same."""
    worker = Worker()
    answers = [KafkaConnectionError(), None, OSError()]
    asked = asyncio.Event()

    async def ask() -> None:
        asked.set()
        if not answers:
            await asyncio.Event().wait()
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    seen = []
    probing = asyncio.create_task(worker.probe.run(ask))
    while answers:
        asked.clear()
        await asked.wait()
        worker.at += 1
        seen.append((await worker.facts.ready())["broker"])
    await asyncio.sleep(0)
    probing.cancel()
    await asyncio.gather(probing, return_exceptions=True)
    assert "" in seen
    worker.at += 7
    assert (await worker.facts.ready())["broker"].startswith("away for")
    worker.at += MAX_BROKER_OUTAGE_S
    assert await worker.diagnosed() == "the broker is away"


async def test_before_the_worker_exists_the_pages_say_what_it_waits_for() -> None:
    """It is healthy and not ready."""
    facts = WorkerFacts(Probe("the broker"), Probe("the database"), ALLOWANCE)
    assert await facts.healthy() == {"progress": ""}
    assert await facts.ready() == {"broker": "", "database": "", "assignment": "the worker is starting"}
