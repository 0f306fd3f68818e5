"""How records leave the worker: batched by partition, each one's delivery told.

A record is delivered when the broker has acknowledged it (``acks=all``, idempotent producer). Batches
are built with aiokafka's ``create_batch`` and ``send_batch``, which cost one future a batch where
``send`` costs one a record. What is emitted in one turn of the loop leaves in one batch a partition.

A batch that fails is sent again for as long as the worker lives: its offsets stay unfinished, so nothing
is lost, and the watchdog sees a broker that stays away.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from stream.kafka import fill_batch, partition_of
from stream.logs import get_logger
from stream.outages import broker_failed

log = get_logger(__name__)

Headers = Sequence[tuple[str, bytes | None]]
Delivered = Callable[[], None]

BACKLOG_LIMIT = 20_000  # records emitted and not yet delivered; above it the reader waits
RESEND_DELAY = 1.0  # seconds between tries of a batch that failed


class Record(msgspec.Struct, eq=False):
    """One record on its way; ``delivered`` is called in the loop once the broker has it."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    delivered: Delivered | None


@dataclass(slots=True)
class Lane:
    """Records of one partition that wait for a batch."""

    waiting: deque[Record] = field(default_factory=deque)
    sender: asyncio.Task[None] | None = None


class Emitter:
    """Sends records in batches and calls each one's ``delivered``."""

    def __init__(self, producer: AIOKafkaProducer, *, before_send: Callable[[], None] | None = None) -> None:
        """``before_send`` may raise to keep a batch from leaving (see the watchdog)."""
        self._producer = producer
        self._before_send = before_send
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._partitions: dict[str, int] = {}
        self._backlog = 0
        self._ebbed = asyncio.Event()
        self._ebbed.set()
        self.failing_since: float | None = None  # monotonic seconds; None while deliveries succeed

    @property
    def backlog(self) -> int:
        """Records emitted and not yet delivered."""
        return self._backlog

    async def learn(self, *topics: str) -> None:
        """Ask the broker how many partitions each topic has; needed before ``emit`` without a partition."""
        for topic in topics:
            self._partitions[topic] = len(await self._producer.partitions_for(topic))

    def partitions(self, topic: str) -> int:
        """Partitions of a topic that was learned."""
        return self._partitions[topic]

    def emit(  # noqa: PLR0913 - a record has six parts
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        delivered: Delivered | None = None,
        partition: int | None = None,
    ) -> None:
        """Queue one record; without ``partition`` the key decides, and without a key partition 0 is taken."""
        if partition is None:
            partition = partition_of(key, self._partitions[topic]) if key else 0
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = Lane()
        lane.waiting.append(Record(key, value, headers, delivered))
        self._backlog += 1
        if self._backlog > BACKLOG_LIMIT:
            self._ebbed.clear()
        if lane.sender is None:
            lane.sender = asyncio.create_task(self._send(topic, partition, lane))

    @property
    def is_full(self) -> bool:
        """Whether too many records are under way for more."""
        return self._backlog > BACKLOG_LIMIT

    async def ebb(self) -> None:
        """Wait while too many records are under way."""
        await self._ebbed.wait()

    async def flush(self) -> None:
        """Wait until every record emitted so far is delivered."""
        while self._backlog:
            senders = [lane.sender for lane in self._lanes.values() if lane.sender is not None]
            await (asyncio.wait(senders, timeout=0.1) if senders else asyncio.sleep(0.01))

    async def close(self) -> None:
        """Give up what is not delivered: its offsets are unfinished and will be read again."""
        senders = [lane.sender for lane in self._lanes.values() if lane.sender is not None]
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)

    async def _send(self, topic: str, partition: int, lane: Lane) -> None:
        try:
            while lane.waiting:
                await self._send_batch(topic, partition, lane)
        finally:
            lane.sender = None

    async def _send_batch(self, topic: str, partition: int, lane: Lane) -> None:
        batch, records = self._batch(lane.waiting)
        while True:
            try:
                if self._before_send is not None:
                    self._before_send()
                await (await self._producer.send_batch(batch, topic, partition=partition))
                break
            except (KafkaError, OSError) as error:
                self.failing_since = self.failing_since or time.monotonic()
                broker_failed(log, "delivery failed, sending again", error, topic=topic, records=len(records))
                await asyncio.sleep(RESEND_DELAY)
                batch, _ = self._batch(deque(records))
        self.failing_since = None
        self._backlog -= len(records)
        if self._backlog <= BACKLOG_LIMIT:
            self._ebbed.set()
        for record in records:
            if record.delivered is not None:
                record.delivered()

    def _batch(self, waiting: deque[Record]) -> tuple[BatchBuilder, list[Record]]:
        """Take from ``waiting`` what fits one batch."""
        batch, count = fill_batch(self._producer, waiting)
        return batch, [waiting.popleft() for _ in range(count)]
