"""The pages of a process that only consumes: the CRM sync and the journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient

from stream.health.pages import pages, serve
from stream.health.probe import Probe
from stream.kafka.consumer_loop import ConsumerLoop
from stream.store.pool import ping

STARTING = "the process is being started"


class ConsumerFacts:
    """What the pages want to know, from before the process reaches the broker."""

    def __init__(self, paused: Callable[[], str] = str) -> None:
        """``paused``: why nothing is done now, "" while it is."""
        self._paused = paused
        self._broker, self._database = Probe("the broker"), Probe("the database")
        self._loop: ConsumerLoop | None = None

    @asynccontextmanager
    async def watching(self, loop: ConsumerLoop, admin: AIOKafkaAdminClient, pool: asyncpg.Pool) -> AsyncIterator[None]:
        """Everything is connected; ask for ever whether it still is."""
        self._loop = loop
        probes = [
            asyncio.create_task(self._broker.run(admin.describe_cluster)),
            asyncio.create_task(self._database.run(lambda: ping(pool))),
        ]
        try:
            yield
        finally:
            for probe in probes:
                probe.cancel()
            await asyncio.gather(*probes, return_exceptions=True)

    async def healthy(self) -> dict[str, str]:
        """The loop turns: whoever gets this answer knows it."""
        return {"progress": ""}

    def waits(self) -> dict[str, str]:
        """What a restart would not bring back."""
        away = {"broker": self._broker.away, "database": self._database.away}
        return {name: f"away for {seconds:.0f} s" if seconds else "" for name, seconds in away.items()}

    async def ready(self) -> dict[str, str]:
        """Connected and assigned."""
        if self._loop is None:
            return {"assignment": STARTING}
        return {**self.waits(), "assignment": "" if self._loop.is_assigned else "no partition is assigned"}

    def degraded(self) -> dict[str, str]:
        """Whether a partner refuses us."""
        reason = self._paused()
        return {"pause": f"paused: {reason}" if reason else ""}


@asynccontextmanager
async def serving(facts: ConsumerFacts, host: str, port: int) -> AsyncIterator[None]:
    """Serve the pages of ``facts``. Nothing goes on in a pause, so that /readyz is not 200 then."""
    site = pages(facts.healthy, facts.ready, facts.degraded, facts.waits, degraded_status=503)
    served = await serve(site, host, port, or_any=True)
    try:
        yield
    finally:
        await served.cleanup()
