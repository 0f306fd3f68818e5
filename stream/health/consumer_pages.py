"""The health pages of a plain consumer: the CRM sync and the journal."""

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

STARTING = "the process is starting"


class ConsumerFacts:
    """The facts about a plain consumer. They can be gathered before the process reaches the broker."""

    def __init__(self, paused: Callable[[], str] = str) -> None:
        """``paused``: why the consumer processes nothing now, "" if it does."""
        self._paused = paused
        self._broker, self._database = Probe("the broker"), Probe("the database")
        self._loop: ConsumerLoop | None = None

    @asynccontextmanager
    async def watching(self, loop: ConsumerLoop, admin: AIOKafkaAdminClient, pool: asyncpg.Pool) -> AsyncIterator[None]:
        """Probe the broker and the database inside the context. Both are connected."""
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
        """Return the check ``progress``: always good, because this answer proves that the event loop runs."""
        return {"progress": ""}

    def waits(self) -> dict[str, str]:
        """Return the servers that do not answer. A restart would not help."""
        away = {"broker": self._broker.away, "database": self._database.away}
        return {name: f"away for {seconds:.0f} s" if seconds else "" for name, seconds in away.items()}

    async def ready(self) -> dict[str, str]:
        """Return the checks of readiness: connected, with an assignment."""
        if self._loop is None:
            return {"assignment": STARTING}
        return {**self.waits(), "assignment": "" if self._loop.is_assigned else "no partition is assigned"}

    def degraded(self) -> dict[str, str]:
        """Return why the consumer is paused."""
        reason = self._paused()
        return {"pause": f"paused: {reason}" if reason else ""}


@asynccontextmanager
async def serving(facts: ConsumerFacts, host: str, port: int) -> AsyncIterator[None]:
    """Serve the pages of ``facts`` inside the context. /readyz is 503 in a pause, because nothing is processed then."""
    site = pages(facts.healthy, facts.ready, facts.degraded, facts.waits, degraded_status=503)
    served = await serve(site, host, port, fall_back_to_any=True)
    try:
        yield
    finally:
        await served.cleanup()
