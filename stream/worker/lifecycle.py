"""Starts, watches and stops a worker. ``wiring`` makes its parts.

The order of the shutdown matters. On SIGTERM: start nothing more, let running look-ups end within the grace (a second
SIGTERM ends the grace), park the rest, publish, commit, leave the group. On a stall or a crash: stop at once with a
non-zero exit code. The next owner of the partitions reads again what was not completed.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Protocol

from stream.dead_letters.guard import DlqGuard
from stream.domain.errors import GroupError, StopError
from stream.health.watchdog import Pulse, Watchdog
from stream.kafka.batch_producer import BatchProducer
from stream.kafka.offset_tracker import Trackers
from stream.logs import get_logger
from stream.lookup.table_cache import TableCache
from stream.runtime.gc_tuning import freeze_gc
from stream.worker.agent import Enricher
from stream.worker.retry_reader import RetryReader

log = get_logger(__name__)

DRAIN_ON_REVOKE_S = 12.0  # the longest paid call takes 10 s; if it were cut short, the next owner would pay it again
SHUTDOWN_STEP_S = 3.0  # for each step after the grace; a step may also use what the steps before it left
SHUTDOWN_STEPS = 5  # stop look-ups, publish, commit, stop the runtime, close connections
COMMIT_RETRY_S = 0.1  # after a commit that the broker refused, as it does while the group rebalances
SWEEP_INTERVAL_S = 30.0


class Stop:
    """The first SIGTERM or Ctrl-C sets ``requested``. The second one sets ``forced``, which ends the grace."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.forced = asyncio.Event()

    def listen(self) -> None:
        """Handle SIGTERM and SIGINT from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.request)

    def request(self) -> None:
        """Do what a signal does."""
        (self.forced if self.requested.is_set() else self.requested).set()


class StreamRuntime(Protocol):
    """Brings webhooks to the agent: group membership, assignment, the table's recovery, commits.

    ``trackers``: the assigned partitions and their watermarks. ``on_revoked``: its handler is called before another
    worker gets the revoked partitions. ``on_recovered``: its handler is called after each assignment, once the table is
    recovered. ``watch`` waits until the runtime can't continue and raises the reason as a StopError. ``commit`` commits
    the completed prefix of each partition and raises nothing if the broker refuses. After ``stop_fetching`` nothing is
    fetched.
    """

    @property
    def trackers(self) -> Trackers: ...  # noqa: D102
    def on_revoked(self, handler: Callable[[], Awaitable[None]]) -> None: ...  # noqa: D102
    def on_recovered(self, handler: Callable[[], None]) -> None: ...  # noqa: D102
    async def start(self) -> None: ...  # noqa: D102
    async def watch(self) -> None: ...  # noqa: D102
    async def commit(self) -> None: ...  # noqa: D102
    def stop_fetching(self) -> None: ...  # noqa: D102
    async def stop(self) -> None: ...  # noqa: D102


@dataclass(slots=True)
class Worker:
    """The parts of a worker process, and how they run together.

    ``probes`` ask the broker and the database for ever whether they answer. ``runtime_hangs``: the runtime did not stop
    in its time, so it is of no use to wait for it. ``must_leave_group``: the worker can't start again with the
    assignment that it has in the group.
    """

    runtime: StreamRuntime
    enricher: Enricher
    cache: TableCache
    producer: BatchProducer
    retry: RetryReader
    watchdog: Watchdog
    pulse: Pulse
    probes: Callable[[], Sequence[Coroutine[None, None, None]]]
    dlq_guard: DlqGuard
    grace: float
    runtime_hangs: bool = False
    must_leave_group: bool = False

    def wire(self) -> None:
        """Register for revoked partitions and for the recovery of the table."""
        self.runtime.on_revoked(self._revoked)
        self.runtime.on_recovered(self._recovered)

    async def _revoked(self) -> None:
        self.enricher.in_flight.abandon_waiting()
        await self._drain(DRAIN_ON_REVOKE_S)

    def _recovered(self) -> None:
        self.cache.recovered()
        freeze_gc()
        log.info("recovered", entries=len(self.cache))
        if not self.runtime.trackers.assigned:
            log.warning("no partition for this worker: there are more workers than partitions; it waits as a spare")

    async def run(self, stop: Stop) -> int:
        """Work until ``stop`` is requested. Return the exit code."""
        self.wire()
        # All of them run from the start: joining the group may take longer than a session, or for ever.
        runtime = self.runtime.watch()
        watches = (self.pulse.beat(), *self.probes(), self.watchdog.run(), self.dlq_guard.watch(), runtime)
        guards = [asyncio.create_task(watch) for watch in watches]
        work = asyncio.create_task(self._work())
        try:
            return await self._until_stopped(stop, work, guards)
        finally:
            for task in (work, *guards):
                task.cancel()
            await asyncio.gather(work, *guards, return_exceptions=True)

    async def _work(self) -> None:
        await self.runtime.start()
        await asyncio.gather(self.retry.run(), self._sweep())

    async def _until_stopped(self, stop: Stop, work: asyncio.Task[None], guards: list[asyncio.Task[None]]) -> int:
        stopping = asyncio.create_task(stop.requested.wait())
        await asyncio.wait({stopping, work, *guards}, return_when=asyncio.FIRST_COMPLETED)
        done = [task for task in (work, *guards) if task.done() and not task.cancelled()]
        failure = next((task.exception() for task in done), None)
        if failure is None and stop.requested.is_set():
            return await self._leave(stop, work)
        self.must_leave_group = isinstance(failure, GroupError) and failure.must_leave
        log.error("leaving", reason=str(failure) if isinstance(failure, StopError) else repr(failure))
        # Paid answers are stored, and no row in the ledger stays reserved as if the process had died during its call.
        await _finishes_within(self.enricher.stop(), SHUTDOWN_STEP_S)
        return failure.exit_code if isinstance(failure, StopError) else 1

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            self.cache.sweep(self.enricher.timestamp())

    async def _drain(self, seconds: float) -> None:
        """Let running look-ups end, publish and commit. Look-ups and publishing have ``seconds`` each."""
        await self.enricher.single_flight.drain(seconds)
        await _finishes_within(self.producer.flush(), seconds)
        await self.runtime.commit()

    async def _leave(self, stop: Stop, work: asyncio.Task[None]) -> int:
        """Shut down in order. Return 1 if not every outcome was published and committed, else 0."""
        trackers = self.runtime.trackers
        trackers.stop()
        self.runtime.stop_fetching()  # else the rest of the topic would be fetched and dropped during the grace
        work.cancel()
        log.info("stopping", unfinished=trackers.unfinished, under_way=self.enricher.single_flight.under_way)
        await _wait_for_first(self.enricher.single_flight.drain(self.grace), stop.forced.wait())
        self.enricher.park_all("shutdown")
        steps = _ShutdownSteps()
        await steps.do(self.enricher.stop())
        await steps.do(self.producer.flush())
        await steps.do(self._commit_all())
        unacknowledged, uncommitted = self.producer.backlog, len(trackers.committable())
        self.runtime_hangs = not await steps.do(self.runtime.stop())
        if unacknowledged or uncommitted:
            log.error(
                "shutdown incomplete; records will be reprocessed",
                unacknowledged=unacknowledged,
                uncommitted=uncommitted,
            )
            return 1
        log.info("stopped")
        return 0

    async def _commit_all(self) -> None:
        while True:
            await self.runtime.commit()
            if not self.runtime.trackers.committable():
                return
            await asyncio.sleep(COMMIT_RETRY_S)


class _ShutdownSteps:
    """Each step has ``SHUTDOWN_STEP_S`` seconds, and what the steps before it left."""

    def __init__(self) -> None:
        self._until = asyncio.get_running_loop().time()

    async def do(self, work: Awaitable[object]) -> bool:
        """Execute one step. Return whether it ended in its time."""
        self._until += SHUTDOWN_STEP_S
        return await _finishes_within(work, self._until - asyncio.get_running_loop().time())


async def _wait_for_first(*works: Awaitable[object]) -> None:
    """Wait until the first of ``works`` is done. Cancel the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _finishes_within(work: Awaitable[object], seconds: float) -> bool:
    """Return whether ``work`` ended within ``seconds``. Else cancel it, without waiting for the cancellation.

    Parts of Faust ignore a cancellation.
    """
    task = asyncio.ensure_future(work)
    await asyncio.wait({task}, timeout=seconds)
    if task.done():
        task.result()
        return True
    task.cancel()
    log.warning("shutdown step timed out; records that were not published will be reprocessed")
    return False
