"""The rig of the agent: an agent on fakes or on real parts, with Kafka's records as values and a recording producer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from aiokafka import ConsumerRecord

from stream import topics
from stream.dead_letters.guard import DlqGuard
from stream.domain.dead_letter_limit import DlqLimit
from stream.domain.events import EnrichedEvent, decode_event
from stream.domain.parking import RetryPolicy
from stream.kafka.batches import Batch
from stream.kafka.offset_tracker import Trackers
from stream.lookup.chain import LookupChain
from stream.lookup.table_cache import Lifetimes, TableCache
from stream.worker.agent import Enricher, Limits
from stream.worker.outcomes import Outcomes
from stream.worker.single_flight import QUEUE_BYTES
from tests.support.fakes import NOW, RecordingProducer

LIMIT = 60.0  # seconds
PARTITION = (topics.WEBHOOKS.name, 0)
PATIENCE = RetryPolicy((timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1)), timedelta(days=1))
HOME = (("reroute", b"1"),)  # was moved before: whatever its contact, it stays on this partition


class World(Protocol):
    """The people and servers that a look-up chain uses."""

    @property
    def clock(self) -> Callable[[], datetime]: ...  # noqa: D102
    def worker(self) -> LookupChain: ...  # noqa: D102


class Worker:
    """An agent with its parts. The webhooks that it receives are on one partition."""

    def __init__(  # noqa: PLR0913 - the worker's limits
        self,
        world: World,
        *,
        slots: int = 8,
        queue: int = 1_000,
        span: int = 1_000,
        queue_limit: float = LIMIT,
        queue_bytes: int = QUEUE_BYTES,
        rating: DlqLimit = DlqLimit(100, 0.75, 100),  # noqa: B008 - a value, frozen
    ) -> None:
        self.producer: Any = RecordingProducer()
        self.trackers = Trackers()
        self.trackers.begin_generation([PARTITION])
        self.table: dict[bytes, bytes] = {}
        self.cache = TableCache(self.table, lambda *_: None, Lifetimes(86_400.0, 3_600.0, 1_000), lambda: 0.0)
        self.dlq_guard = DlqGuard(rating)
        outcomes = Outcomes(self.producer, world.clock, PATIENCE, self.dlq_guard)
        limits = Limits(LIMIT, slots, queue, queue_limit, span, queue_bytes)
        self.enricher = Enricher(self.cache, world.worker(), outcomes, self.producer, limits, world.clock, frozenset())
        self._offset = 0

    async def receive(
        self, *values: bytes | None, headers: Sequence[tuple[str, bytes]] = HOME, key: bytes | None = None
    ) -> list[EnrichedEvent]:
        """Read webhooks in order and wait for their outcomes. Return all events so far."""
        async with asyncio.timeout(LIMIT):
            await self.read(*values, headers=headers, key=key)
            await self.enricher.single_flight.drain(LIMIT)
        return self.events()

    async def read(
        self, *values: bytes | None, headers: Sequence[tuple[str, bytes]] = HOME, key: bytes | None = None
    ) -> None:
        """Read webhooks in order. Return while look-ups may still run."""
        await self.enricher.run(self._events(values, headers, key))

    def events(self) -> list[EnrichedEvent]:
        """Return all events that were published."""
        return [decode_event(record.value) for record in self.producer.of(topics.ENRICHED.name)]

    async def _events(
        self, values: Sequence[bytes | None], headers: Sequence[tuple[str, bytes]], key: bytes | None
    ) -> AsyncIterator[Batch]:
        for value in values:
            tracker = self.trackers.active()[PARTITION]
            tracker.track([self._offset])
            milliseconds = int(NOW.timestamp() * 1000)
            record = ConsumerRecord(*PARTITION, self._offset, milliseconds, 1, key, value, None, 0, 0, tuple(headers))
            yield Batch(tracker, (record,))
            self._offset += 1
