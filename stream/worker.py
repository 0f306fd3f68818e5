"""The worker's life: start, watch, drain, leave. Everything concrete is made in ``bootstrap``.

The order of the end matters. SIGTERM: stop reading, let what flies land within the grace, park the rest,
deliver, commit, leave. A stall or a crash: leave at once with a non-zero code; what was unfinished is read
again by whoever gets the partitions.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable
from dataclasses import dataclass

import faust

from stream.agents.enrich import Enricher
from stream.agents.retry import RetryReader
from stream.agents.tripwire import Tripwire
from stream.domain.errors import StopError
from stream.engine.collector import settle
from stream.engine.consumer import TrackingConsumer
from stream.engine.emitter import Emitter
from stream.engine.watchdog import Pulse, Watchdog
from stream.logs import get_logger
from stream.tiers.cache import TableCache

log = get_logger(__name__)

DRAIN_ON_REVOKE = 5.0  # seconds; a paid call takes 2, and the group waits for us
SWEEP_EVERY = 30.0  # seconds


@dataclass(slots=True)
class Worker:
    """The parts that live together."""

    app: faust.App
    enricher: Enricher
    cache: TableCache
    emitter: Emitter
    retry: RetryReader
    watchdog: Watchdog
    pulse: Pulse
    tripwire: Tripwire
    grace: float

    def consumer(self) -> TrackingConsumer:
        """Faust's consumer; ours, since the transport is."""
        consumer: TrackingConsumer = self.app.consumer
        return consumer

    def wire(self) -> None:
        """Hang our drains and the table's recovery on Faust's signals."""

        @self.app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
        async def on_revoked(app: faust.App, revoked: set[object], **kwargs: object) -> None:
            del app, kwargs
            if revoked:
                await self._drain(DRAIN_ON_REVOKE)

        @self.app.on_before_shutdown.connect  # type: ignore[untyped-decorator]
        async def on_shutdown(app: faust.App, **kwargs: object) -> None:
            del app, kwargs
            await self._leave()

        @self.app.on_rebalance_complete.connect  # type: ignore[untyped-decorator]
        async def on_ready(app: faust.App, **kwargs: object) -> None:
            del app, kwargs
            self.cache.recovered()
            settle()
            log.info("recovered", entries=len(self.cache))
            if not self.consumer().trackers.assigned:
                log.warning("no partition for this worker: there are more workers than partitions; it waits as a spare")

    async def run(self) -> int:
        """Work until told to stop; returns the exit code."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        self.wire()
        # The pulse beats from the start: joining the group may take longer than a session.
        guards = [asyncio.create_task(self.pulse.beat())]
        await self.app.start()
        works = (self.watchdog.run(), self.retry.run(), self.tripwire.watch(), self._sweep())
        guards += [asyncio.create_task(work) for work in works]
        try:
            return await self._until_stopped(stop, guards)
        finally:
            for guard in guards:
                guard.cancel()
            await asyncio.gather(*guards, return_exceptions=True)

    async def _until_stopped(self, stop: asyncio.Event, guards: list[asyncio.Task[None]]) -> int:
        stopping = asyncio.create_task(stop.wait())
        crashed = asyncio.create_task(self.app.wait_until_stopped())
        await asyncio.wait({stopping, crashed, *guards}, return_when=asyncio.FIRST_COMPLETED)
        failure = next((guard.exception() for guard in guards if guard.done() and not guard.cancelled()), None)
        if failure is None and stop.is_set():
            log.info("stopping", unfinished=self.consumer().trackers.unfinished)
            await self.app.stop()
            log.info("stopped")
            return 0
        log.error(
            "leaving", reason=str(failure) if isinstance(failure, StopError) else repr(failure or self.app.crash_reason)
        )
        return failure.exit_code if isinstance(failure, StopError) else 1

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            self.cache.sweep(self.enricher.timestamp())

    async def _drain(self, seconds: float) -> None:
        """Let what flies land, deliver it and commit it, at most ``seconds``."""
        await self.enricher.flights.drain(seconds)
        await _at_most(self.emitter.flush(), seconds)
        await self.consumer().commit()

    async def _leave(self) -> None:
        await self.enricher.flights.drain(self.grace)
        self.enricher.park_all("shutdown")
        await _at_most(self.enricher.stop(), DRAIN_ON_REVOKE)
        await _at_most(self.emitter.flush(), DRAIN_ON_REVOKE)
        await self.consumer().commit()


async def _at_most(work: Awaitable[None], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        log.warning("not all was delivered or stored in time; what was not delivered will be read again")
