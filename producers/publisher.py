"""Publishes records: acknowledged by all in-sync replicas, from an idempotent producer, in bounded time.

aiokafka repeats a record of an idempotent producer without a limit while the error is retriable, and we let it: a
record whose sender was told 503 may still arrive, and the sender's second try arrives too. Consumers see a second
delivery.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from producers.items import Record
from producers.publish_deadlines import PublishDeadlines
from producers.sampled import SampledLog
from stream import topics
from stream.domain.errors import TransientError
from stream.kafka.batch_producer import BatchProducer, FailFast, QueueFullError
from stream.kafka.clients import open_producer
from stream.kafka.publish_handle import PublishHandle
from stream.logs import get_logger
from stream.logs.outages import BROKER
from stream.settings import Settings

log = get_logger(__name__)

TIMEOUT_WHILE_OVERDUE = 1.0  # seconds an acknowledgement is waited for while older ones are overdue
BACKOFF = 500  # ms between aiokafka's own tries; it writes four lines to the log for each
# No linger: what comes while a request is under way leaves together anyhow; 2 and 5 ms brought nothing (measured).
OPTIONS = {"linger_ms": 0, "retry_backoff_ms": BACKOFF}
OUTAGE_INTERVAL = 60.0  # seconds between lines of one kind about a broker that is away
# Above the worker's: a body of many small webhooks is one publication, which is taken or refused as a whole.
MAX_RECORDS = 200_000  # records that the broker has not acknowledged
RECONNECT = 1.0  # seconds between tries to reach a broker
LOOK = 2.0  # seconds the broker has to say that it is there
LOOK_AGAIN = 1.0  # seconds for which its answer counts
NEEDED = (topics.WEBHOOKS.name, topics.DEAD.name)


class BrokerUnavailableError(TransientError):
    """The broker has not acknowledged in time. It may have the records: send them again."""


class Publisher(Protocol):
    """What the routes need of a broker."""

    async def publish(self, records: Sequence[Record], until: float | None = None) -> None:
        """Return when the broker has all of them. Raises BrokerUnavailableError, at ``until`` of the loop's clock."""

    async def trouble(self) -> str:
        """What keeps records from being published, "" when nothing does."""


class KafkaPublisher:
    """The publisher on a real broker; made by ``open_publisher``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limit = settings.producer_publish_timeout.total_seconds()
        self._producer: AIOKafkaProducer | None = None
        self._batch_producer: BatchProducer | None = None
        self._connected = asyncio.Event()
        self._unfit = asyncio.Event()
        self._outage = SampledLog(OUTAGE_INTERVAL)
        self._deadlines = PublishDeadlines()
        self._overdue: set[PublishHandle] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._looked: tuple[float, str] = (-LOOK_AGAIN, "not connected")

    async def publish(self, records: Sequence[Record], until: float | None = None) -> None:
        """Return when the broker has all records. Raises BrokerUnavailableError in bounded time.

        ``until``: a time of the loop's clock; the usual limit where that is earlier.
        """
        if not records:
            return
        limit = asyncio.get_running_loop().time() + self._timeout()
        until = limit if until is None else min(limit, until)
        batch_producer, handle = self._batch_producer, None
        try:
            if batch_producer is None or not batch_producer.has_metadata(records):
                batch_producer = await self._ready(records, until)
            handle = batch_producer.enqueue_all(records)
            self._deadlines.begin(handle, until)
            try:
                await handle.result
            finally:
                self._deadlines.end(handle)
        except TimeoutError:
            BROKER.missed("no acknowledgement in time")
            if batch_producer is not None and handle is not None:
                batch_producer.take_back(handle)
                self._remember_overdue(handle)
            raise BrokerUnavailableError("no acknowledgement in time") from None
        except QueueFullError as error:
            BROKER.missed(str(error))
            raise BrokerUnavailableError(str(error)) from None
        except (KafkaError, OSError) as error:
            self._replace(batch_producer, error)
            raise BrokerUnavailableError(type(error).__name__) from None
        BROKER.answered()

    async def _ready(self, records: Sequence[Record], until: float) -> BatchProducer:
        """Wait for a connection, and for topics that are not known yet. Raises TimeoutError."""
        async with asyncio.timeout_at(until):
            await self._connected.wait()
            batch_producer = self._batch_producer
            assert batch_producer is not None, "connected means that there is one"
            await batch_producer.load_metadata(*{record.topic for record in records})
            return batch_producer

    def _timeout(self) -> float:
        """Seconds to wait. Who sends while the broker is known to be away must not hold a connection for long."""
        is_well = self._producer is not None and not self._overdue
        return self._limit if is_well else min(TIMEOUT_WHILE_OVERDUE, self._limit)

    def _remember_overdue(self, handle: PublishHandle) -> None:
        if not handle.is_done:
            self._overdue.add(handle)
            handle.on_done = self._overdue.discard

    def _replace(self, batch_producer: BatchProducer | None, error: BaseException) -> None:
        """Take another producer: a failed batch leaves a gap in the sequence, and the broker refuses what follows."""
        self._outage.warning("the broker refused records", error=type(error).__name__)
        if batch_producer is self._batch_producer:
            self._producer = self._batch_producer = None
            self._connected.clear()
            self._unfit.set()

    async def stay_connected(self) -> None:
        """Connect, again and again where needed, until cancelled."""
        while True:
            started = time.monotonic()
            try:
                await self._connect()
            except Exception as error:  # noqa: BLE001 - whatever it was: who gives up here answers 503 for ever
                BROKER.missed(type(error).__name__)
            await asyncio.sleep(max(0.0, started + RECONNECT - time.monotonic()))

    async def _connect(self) -> None:
        """Connect, and stay so until the producer is unfit. Then it delivers what it can beside its successor."""
        stack = AsyncExitStack()
        self._producer = await stack.enter_async_context(open_producer(self._settings, **OPTIONS))
        self._batch_producer = BatchProducer(self._producer, FailFast(), max_records=MAX_RECORDS)
        stack.push_async_callback(self._batch_producer.close)
        self._unfit.clear()
        self._connected.set()
        log.info("connected to the broker")
        try:
            await self._unfit.wait()
        finally:
            self._closing.add(closing := asyncio.create_task(stack.aclose()))
            closing.add_done_callback(self._closing.discard)

    async def close(self, limit: float) -> None:
        """Flush and leave, within ``limit`` seconds; what is not delivered then was never answered 200."""
        self._connected.clear()
        closing = set(self._closing)
        if closing:
            _, late = await asyncio.wait(closing, timeout=limit)
            if late:
                log.warning("the broker is away: left without its last acknowledgements")
            for task in late:
                task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)

    async def trouble(self) -> str:
        """What keeps records from being published; asked of the broker at most once a second."""
        if time.monotonic() - self._looked[0] >= LOOK_AGAIN:
            self._looked = (time.monotonic(), self._looked[1])
            self._looked = (time.monotonic(), await self._look())
        return self._looked[1]

    async def _look(self) -> str:
        producer = self._producer
        if producer is None:
            return "not connected"
        try:
            async with asyncio.timeout(LOOK):
                there = (await producer.client.fetch_all_metadata()).topics()
        except (KafkaError, TimeoutError, OSError) as error:
            return f"no answer: {type(error).__name__}"
        missing = [name for name in NEEDED if name not in there]
        return f"no topic {', '.join(missing)}" if missing else ""


@asynccontextmanager
async def open_publisher(settings: Settings, flush: float) -> AsyncIterator[KafkaPublisher]:
    """A publisher that connects by itself, also when the broker comes later; at the end, ``flush`` seconds to flush."""
    publisher = KafkaPublisher(settings)
    connecting = asyncio.create_task(publisher.stay_connected())
    try:
        yield publisher
    finally:
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await publisher.close(flush)
