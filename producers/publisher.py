"""Publishes records with an idempotent producer and returns after all in-sync replicas have them, or at a time limit.

aiokafka retries a record of an idempotent producer without a limit as long as the error is retriable. So a record whose
sender was answered 503 may still arrive, and so may the sender's next try. Consumers see a second delivery.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from producers.publish_deadlines import PublishDeadlines
from producers.records import Record
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

OVERDUE_TIMEOUT_SECONDS = 1.0  # time limit for an acknowledgement while older ones are overdue
RETRY_BACKOFF_MS = 500  # between aiokafka's own tries; each writes four lines to the log
# No linger: records that come during a request to the broker form the next batch anyhow. 2 and 5 ms gained nothing.
PRODUCER_OPTIONS = {"linger_ms": 0, "retry_backoff_ms": RETRY_BACKOFF_MS}
OUTAGE_LOG_INTERVAL_SECONDS = 60.0  # between two lines of one kind
# Above the worker's limit: a body of many small webhooks is published as a whole or not at all.
MAX_RECORDS = 200_000  # not acknowledged yet
RECONNECT_INTERVAL_SECONDS = 1.0
CHECK_TIMEOUT_SECONDS = 2.0  # time limit for the broker's answer to the check of /readyz
CHECK_VALID_SECONDS = 1.0  # for which the result of that check is reused
REQUIRED_TOPICS = (topics.WEBHOOKS.name, topics.DEAD.name)


class BrokerUnavailableError(TransientError):
    """The broker has not acknowledged in time. It may have the records all the same. The sender must retry."""


class Publisher(Protocol):
    """What the routes need of a broker."""

    async def publish(self, records: Sequence[Record], deadline: float | None = None) -> None:
        """Return after the broker has acknowledged all records. Raises BrokerUnavailableError, at ``deadline`` at last.

        ``deadline``: loop time.
        """

    async def trouble(self) -> str:
        """The reason why records can't be published, "" when they can."""


class KafkaPublisher:
    """Publishes to a real broker. ``open_publisher`` makes it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._timeout_seconds = settings.producer_publish_timeout.total_seconds()
        self._producer: AIOKafkaProducer | None = None
        self._batch_producer: BatchProducer | None = None
        self._connected = asyncio.Event()
        self._failed = asyncio.Event()
        self._outage_log = SampledLog(OUTAGE_LOG_INTERVAL_SECONDS)
        self._deadlines = PublishDeadlines()
        self._overdue: set[PublishHandle] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._last_check: tuple[float, str] = (-CHECK_VALID_SECONDS, "not connected")

    async def publish(self, records: Sequence[Record], deadline: float | None = None) -> None:
        """Return after the broker has acknowledged all records. Raises BrokerUnavailableError.

        ``deadline``: loop time; PRODUCER_PUBLISH_TIMEOUT applies where that is earlier.
        """
        if not records:
            return
        limit = asyncio.get_running_loop().time() + self._timeout()
        deadline = limit if deadline is None else min(limit, deadline)
        batch_producer, handle = self._batch_producer, None
        try:
            if batch_producer is None or not batch_producer.has_metadata(records):
                batch_producer = await self._ready(records, deadline)
            handle = batch_producer.enqueue_all(records)
            self._deadlines.add(handle, deadline)
            try:
                await handle.result
            finally:
                self._deadlines.remove(handle)
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

    async def _ready(self, records: Sequence[Record], deadline: float) -> BatchProducer:
        """Wait for a connection, and for the metadata of topics that are not known yet. Raises TimeoutError."""
        async with asyncio.timeout_at(deadline):
            await self._connected.wait()
            batch_producer = self._batch_producer
            assert batch_producer is not None, "connected means that there is one"
            await batch_producer.load_metadata(*{record.topic for record in records})
            return batch_producer

    def _timeout(self) -> float:
        """Seconds to wait. While the broker is known to be away, requests must not hold their connections for long."""
        is_healthy = self._producer is not None and not self._overdue
        return self._timeout_seconds if is_healthy else min(OVERDUE_TIMEOUT_SECONDS, self._timeout_seconds)

    def _remember_overdue(self, handle: PublishHandle) -> None:
        if not handle.is_done:
            self._overdue.add(handle)
            handle.on_done = self._overdue.discard

    def _replace(self, batch_producer: BatchProducer | None, error: BaseException) -> None:
        """Replace the producer: a failed batch leaves a gap in its sequence, and the broker refuses what follows."""
        self._outage_log.warning("the broker refused records", error=type(error).__name__)
        if batch_producer is self._batch_producer:
            self._producer = self._batch_producer = None
            self._connected.clear()
            self._failed.set()

    async def stay_connected(self) -> None:
        """Connect, and reconnect whenever the producer has failed, until cancelled."""
        while True:
            started = time.monotonic()
            try:
                await self._connect()
            except Exception as error:  # noqa: BLE001 - whatever failed: without a retry all requests would get 503
                BROKER.missed(type(error).__name__)
            await asyncio.sleep(max(0.0, started + RECONNECT_INTERVAL_SECONDS - time.monotonic()))

    async def _connect(self) -> None:
        """Connect and return when the producer has failed. It then flushes in the background, beside its successor."""
        stack = AsyncExitStack()
        self._producer = await stack.enter_async_context(open_producer(self._settings, **PRODUCER_OPTIONS))
        self._batch_producer = BatchProducer(self._producer, FailFast(), max_records=MAX_RECORDS)
        stack.push_async_callback(self._batch_producer.close)
        self._failed.clear()
        self._connected.set()
        log.info("connected to the broker")
        try:
            await self._failed.wait()
        finally:
            self._closing.add(closing := asyncio.create_task(stack.aclose()))
            closing.add_done_callback(self._closing.discard)

    async def close(self, limit: float) -> None:
        """Flush within ``limit`` seconds, then close. Records that are not acknowledged were never answered 200."""
        self._connected.clear()
        closing = set(self._closing)
        if closing:
            _, late = await asyncio.wait(closing, timeout=limit)
            if late:
                log.warning("closed without the last acknowledgements", seconds=limit)
            for task in late:
                task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)

    async def trouble(self) -> str:
        """The reason why records can't be published, "" when they can. The broker is asked at most once a second."""
        if time.monotonic() - self._last_check[0] >= CHECK_VALID_SECONDS:
            self._last_check = (time.monotonic(), self._last_check[1])
            self._last_check = (time.monotonic(), await self._check_broker())
        return self._last_check[1]

    async def _check_broker(self) -> str:
        producer = self._producer
        if producer is None:
            return "not connected"
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                existing = (await producer.client.fetch_all_metadata()).topics()
        except (KafkaError, TimeoutError, OSError) as error:
            return f"no answer: {type(error).__name__}"
        missing = [name for name in REQUIRED_TOPICS if name not in existing]
        return f"no topic {', '.join(missing)}" if missing else ""


@asynccontextmanager
async def open_publisher(settings: Settings, flush: float) -> AsyncIterator[KafkaPublisher]:
    """A publisher that connects by itself, as soon as the broker is up. At the end it flushes for ``flush`` seconds."""
    publisher = KafkaPublisher(settings)
    connecting = asyncio.create_task(publisher.stay_connected())
    try:
        yield publisher
    finally:
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await publisher.close(flush)
