"""The worker's life: start, watch, drain, leave. Everything concrete is made in ``bootstrap``.

The order of the end matters. SIGTERM: begin nothing more, let what flies land within the grace (a second SIGTERM
ends the grace), park the rest, deliver, commit, leave. A stall or a crash: leave at once with a non-zero code;
what was unfinished is read again by whoever gets the partitions.
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

DRAIN_ON_REVOKE = 12.0  # seconds; the longest paid call takes 10, and the next owner would pay for it again
STEP = 3.0  # seconds for each step that ends the worker after its grace; what one leaves is for the next
STEPS = 5  # of them: stop look-ups, deliver, commit, stop the runtime, close connections
COMMIT_AGAIN = 0.1  # seconds after a commit that the broker refused, as it does while the group rebalances
SWEEP_EVERY = 30.0  # seconds


class Stop:
    """Told by SIGTERM or Ctrl-C to end; a second one ends the grace."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()

    def listen(self) -> None:
        """Take the signals from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.tell)

    def tell(self) -> None:
        """What a signal does."""
        (self.hurry if self.asked.is_set() else self.asked).set()


class StreamRuntime(Protocol):
    """What carries webhooks to the agent: group membership, assignment, the table's recovery and commits.

    ``trackers`` are the assignment and its watermarks. ``on_revoked``: called before another worker gets what is taken
    away. ``on_recovered``: called after each assignment, when the table is back. ``watch`` waits until the runtime
    can't go on and raises why, as a StopError. ``commit`` commits the completed prefix of each partition, and raises
    nothing when the broker refuses. After ``stop_fetching`` nothing is fetched any more.
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
    """The parts that live together.

    ``probes`` ask for ever whether what it needs is there; ``hangs``: the end did not come in good order, so that it is
    of no use to wait; ``must_leave_group``: with the assignment that it has in the group it can't start again.
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
    hangs: bool = False
    must_leave_group: bool = False

    def wire(self) -> None:
        """Let the runtime tell when partitions go, and when the table is back."""
        self.runtime.on_revoked(self._revoked)
        self.runtime.on_recovered(self._recovered)

    async def _revoked(self) -> None:
        self.enricher.in_flight.abandon_waiting()
        await self._drain(DRAIN_ON_REVOKE)

    def _recovered(self) -> None:
        self.cache.recovered()
        freeze_gc()
        log.info("recovered", entries=len(self.cache))
        if not self.runtime.trackers.assigned:
            log.warning("no partition for this worker: there are more workers than partitions; it waits as a spare")

    async def run(self, stop: Stop) -> int:
        """Work until told to stop; returns the exit code."""
        self.wire()
        # All watch from the start: joining the group may take longer than a session, or for ever.
        watched = self.runtime.watch()
        watches = (self.pulse.beat(), *self.probes(), self.watchdog.run(), self.dlq_guard.watch(), watched)
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
        stopping = asyncio.create_task(stop.asked.wait())
        await asyncio.wait({stopping, work, *guards}, return_when=asyncio.FIRST_COMPLETED)
        ended = [task for task in (work, *guards) if task.done() and not task.cancelled()]
        failure = next((task.exception() for task in ended), None)
        if failure is None and stop.asked.is_set():
            return await self._leave(stop, work)
        self.must_leave_group = isinstance(failure, GroupError) and failure.must_leave
        log.error("leaving", reason=str(failure) if isinstance(failure, StopError) else repr(failure))
        # What was paid for is stored, and no call looks afterwards as if we had died in it.
        await _at_most(self.enricher.stop(), STEP)
        return failure.exit_code if isinstance(failure, StopError) else 1

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            self.cache.sweep(self.enricher.timestamp())

    async def _drain(self, seconds: float) -> None:
        """Let what flies land, deliver it and commit it, at most ``seconds``."""
        await self.enricher.single_flight.drain(seconds)
        await _at_most(self.producer.flush(), seconds)
        await self.runtime.commit()

    async def _leave(self, stop: Stop, work: asyncio.Task[None]) -> int:
        """End in good order; 1 when not all of what ended here could be delivered and committed."""
        trackers = self.runtime.trackers
        trackers.stop()
        self.runtime.stop_fetching()  # else all that lies in the topic would be fetched and dropped during the grace
        work.cancel()
        log.info("stopping", unfinished=trackers.unfinished, under_way=self.enricher.single_flight.under_way)
        await _first_of(self.enricher.single_flight.drain(self.grace), stop.hurry.wait())
        self.enricher.park_all("shutdown")
        steps = _Steps()
        await steps.do(self.enricher.stop())
        await steps.do(self.producer.flush())
        await steps.do(self._commit_all())
        undelivered, uncommitted = self.producer.backlog, len(trackers.committable())
        self.hangs = not await steps.do(self.runtime.stop())
        if undelivered or uncommitted:
            log.error("left in a hurry; the next worker reads again", undelivered=undelivered, uncommitted=uncommitted)
            return 1
        log.info("stopped")
        return 0

    async def _commit_all(self) -> None:
        while True:
            await self.runtime.commit()
            if not self.runtime.trackers.committable():
                return
            await asyncio.sleep(COMMIT_AGAIN)


class _Steps:
    """The steps of the end: each has ``STEP`` seconds, and what those before it have left."""

    def __init__(self) -> None:
        self._until = asyncio.get_running_loop().time()

    async def do(self, work: Awaitable[object]) -> bool:
        """Whether it ended in its time."""
        self._until += STEP
        return await _at_most(work, self._until - asyncio.get_running_loop().time())


async def _first_of(*works: Awaitable[object]) -> None:
    """Wait for one, let the others be."""
    tasks = [asyncio.ensure_future(work) for work in works]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _at_most(work: Awaitable[object], seconds: float) -> bool:
    """Whether it ended within ``seconds``; what ignores being cancelled, as parts of Faust do, is not waited for."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task}, timeout=seconds)
    if task.done():
        task.result()
        return True
    task.cancel()
    log.warning("not all was delivered or stored in time; what was not delivered will be read again")
    return False
