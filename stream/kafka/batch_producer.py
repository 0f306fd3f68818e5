"""Publishes records to Kafka in batches, one partition at a time, for the worker and for the producers.

Rule 1, order: a partition has one queue and at most one batch in flight. Records that are enqueued meanwhile leave in
the next batch. So the records of a partition are written in the order of ``enqueue``, whatever fails, and a partition
without a leader delays no other.

Rule 2, acknowledgement: ``acknowledged`` is called once, in the event loop, after the broker has written the record
(``acks=all``). ``take_back`` is the one exception: it counts the records it removes as acknowledged, because nobody
waits for them any more.

Rule 3, bounds: ``max_records`` bounds the records that are not acknowledged, ``max_bytes`` the values that wait for a
batch. Beside them at most one batch of each partition is in flight. ``enqueue_all`` refuses records that would exceed
a bound. ``enqueue`` never refuses: its caller checks ``is_full`` and awaits ``wait_for_capacity`` before it reads more
input.

Rule 4, failure: an idempotent producer numbers the batches of a partition. aiokafka repeats a batch under its number,
without a limit, while the error is retriable. When aiokafka fails a batch, its number is used up, and the broker
refuses every later batch of this partition (``OutOfOrderSequenceNumber``) until another producer replaces this one.
The user of this class chooses:

- ``FailFast``: the batch and the queue behind it fail. The user replaces the producer.
- ``RetryUntilShutdown``: the batch is sent again, ahead of the queue, until it is acknowledged or ``close`` is called.
  This helps when aiokafka did not accept the batch (no metadata, buffer full). After a gap in the numbers it never
  succeeds: ``failing_since`` shows that, and the user ends the process. Nothing is lost, as no offset is committed.

Rule 5, close: waiting records fail, and records that are enqueued later are not sent. ``FailFast`` leaves the batches
in flight to the flush of ``AIOKafkaProducer.stop``; ``RetryUntilShutdown`` abandons them. An abandoned record without
a handle stays in ``backlog``, because nobody was told that it failed.

This module uses only public interfaces of aiokafka. ``create_batch`` and ``send_batch`` cost one future for each
batch; ``send`` costs one for each record, and a record that was passed to it can't be removed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.producer.message_accumulator import BatchBuilder

from stream.domain.errors import TransientError
from stream.kafka.clients import partition_of
from stream.kafka.partition_queue import Acknowledged, Headers, PartitionQueue, QueuedRecord, fill_batch, size_of
from stream.kafka.publish_handle import PublishHandle
from stream.logs import get_logger
from stream.logs.outages import broker_failed

log = get_logger(__name__)

MAX_RECORDS = 20_000  # of one BatchProducer that are not acknowledged
MAX_BYTES = 64 * 1_048_576  # of the values that wait for a batch
RETRY_DELAY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class FailFast:
    """A failed batch fails its handles and the queue of its partition."""


@dataclass(frozen=True, slots=True)
class RetryUntilShutdown:
    """A failed batch is sent again every ``delay_seconds``.

    ``before_send`` is called before each attempt. It raises StopError if the batch must never be sent.
    """

    delay_seconds: float = RETRY_DELAY_SECONDS
    before_send: Callable[[], None] | None = None


class QueueFullError(TransientError):
    """Too many records wait for the broker."""


class Publishable(Protocol):
    """A record whose key selects its partition."""

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes: ...  # noqa: D102
    @property
    def headers(self) -> Headers: ...  # noqa: D102


class BatchProducer:
    """Batches for one AIOKafkaProducer, which its user starts and stops."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        failure_policy: FailFast | RetryUntilShutdown,
        *,
        max_records: int = MAX_RECORDS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._producer = producer
        self._retry = failure_policy if isinstance(failure_policy, RetryUntilShutdown) else None
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._cluster = producer.client.cluster
        self._cluster.add_listener(self._metadata_changed)
        self._partition_counts: dict[str, int] = {}  # kept when the metadata loses a topic for a moment
        self._available: set[str] = set()  # topics in the present metadata
        self._queues: dict[str, dict[int, PartitionQueue]] = {}
        self._waiting_bytes = 0
        self._has_capacity = asyncio.Event()
        self._has_capacity.set()
        self._is_closed = False
        self.backlog = 0  # records that are not acknowledged
        self.is_full = False

    @property
    def failing_since(self) -> float | None:
        """When the partition that has failed longest began to fail, in monotonic seconds; None while all succeed."""
        return min([one.failing_since for one in self._all_queues() if one.failing_since is not None], default=None)

    def has_metadata(self, records: Sequence[Publishable]) -> bool:
        """Whether the metadata contains the topics of ``records``."""
        for record in records:  # nearly always one: all() and its generator cost four times as much
            if record.topic not in self._available and not self._count_partitions(record.topic):
                return False
        return True

    async def load_metadata(self, *topics: str) -> None:
        """Request the metadata of ``topics``, which ``enqueue`` needs when no partition is given.

        Waits until the broker has all of them.
        """
        for topic in topics:
            await self._producer.partitions_for(topic)
            self._count_partitions(topic)

    def partitions(self, topic: str) -> int:
        """Number of partitions of a topic whose metadata is loaded."""
        return self._partition_counts[topic]

    def enqueue(  # noqa: PLR0913 - a record has six parts
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        acknowledged: Acknowledged | None = None,
        partition: int | None = None,
        handle: PublishHandle | None = None,
    ) -> None:
        """Queue one record. Without ``partition`` the key selects it as in Kafka's Java client; no key: partition 0."""
        if partition is None:
            partition = 0 if key is None else partition_of(key, self._partition_counts[topic])
        try:
            queue = self._queues[topic][partition]
        except KeyError:
            queue = self._queues.setdefault(topic, {})[partition] = PartitionQueue(topic, partition)
        queue.waiting.append(QueuedRecord(key, value, headers, acknowledged, handle))
        backlog = self.backlog = self.backlog + 1
        if value is not None:
            self._waiting_bytes += len(value)
        if backlog > self._max_records or self._waiting_bytes > self._max_bytes:
            self.is_full = True
            self._has_capacity.clear()
        if queue.sender is None and not self._is_closed:  # it starts in the next tick, with all records of this one
            queue.sender = asyncio.create_task(self._run(queue))

    def enqueue_all(self, records: Sequence[Publishable]) -> PublishHandle:
        """Queue records whose topics' metadata is loaded.

        Raises ProducerClosed after ``close`` and QueueFullError if the records would exceed a bound.
        """
        if self._is_closed:
            raise ProducerClosed
        size = sum([len(record.value) for record in records])
        if self._waiting_bytes + size > self._max_bytes or self.backlog + len(records) > self._max_records:
            raise QueueFullError("too many records wait for the broker")
        handle = PublishHandle(len(records))
        acknowledged = handle.acknowledged
        for one in records:
            self.enqueue(one.topic, one.key, one.value, one.headers, acknowledged, None, handle)
        return handle

    def take_back(self, handle: PublishHandle) -> None:
        """Remove the records of ``handle`` that are not in flight, and count them as acknowledged."""
        for queue in self._all_queues():
            removed = queue.take_back(handle)
            if removed:
                self._release(len(removed), size_of(removed))
                handle.acknowledged(len(removed))

    async def wait_for_capacity(self) -> None:
        """Wait while ``is_full``."""
        await self._has_capacity.wait()

    async def flush(self) -> None:
        """Wait until every record is acknowledged or abandoned."""
        while senders := self._senders():
            await asyncio.wait(senders)

    async def close(self) -> None:
        """Accept no more records. Rule 5 says what happens to the records that were accepted."""
        self._is_closed = True
        if self._retry is not None:
            senders = self._senders()
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)
        for queue in self._all_queues():
            self._give_up(queue, [], ProducerClosed())

    def _all_queues(self) -> list[PartitionQueue]:
        return [queue for queues in self._queues.values() for queue in queues.values()]

    def _senders(self) -> list[asyncio.Task[None]]:
        return [queue.sender for queue in self._all_queues() if queue.sender is not None]

    def _count_partitions(self, topic: str) -> bool:
        """Read the number of partitions from the metadata. False if the topic is not in it."""
        count = len(self._cluster.partitions_for_topic(topic) or ())
        if not count:
            return False
        self._partition_counts[topic] = count
        self._available.add(topic)
        return True

    def _metadata_changed(self, cluster: object) -> None:
        """Count again: a topic may have more partitions, or be gone."""
        del cluster
        self._available.clear()
        for topic in list(self._partition_counts):
            self._count_partitions(topic)

    async def _run(self, queue: PartitionQueue) -> None:
        """Send batches until the queue is empty."""
        records: list[QueuedRecord] = []
        try:
            while queue.waiting:
                batch, records = queue.take_batch(self._producer)
                self._release(0, size_of(records))
                await self._send(queue, batch, records)
                acknowledged, records = records, []
                self._release(len(acknowledged), 0)
                for record in acknowledged:
                    if record.acknowledged is not None:
                        record.acknowledged()
        except BaseException as error:
            self._give_up(queue, records, ProducerClosed() if isinstance(error, asyncio.CancelledError) else error)
            if not isinstance(error, Exception):
                raise
            if self._retry is not None:  # no later attempt would succeed, and there may be no handle that reports it
                # No traceback: it may show a value.
                log.error(  # noqa: TRY400
                    "publishing stopped", topic=queue.topic, partition=queue.partition, error=type(error).__name__
                )
        finally:
            queue.sender = None

    async def _send(self, queue: PartitionQueue, batch: BatchBuilder, records: Sequence[QueuedRecord]) -> None:
        """Return when the broker has acknowledged the batch. Raises errors that the failure policy does not retry."""
        retry = self._retry
        while True:
            try:
                if retry is not None and retry.before_send is not None:
                    retry.before_send()
                await (await self._producer.send_batch(batch, queue.topic, partition=queue.partition))
            except (KafkaError, OSError) as error:
                if retry is None:
                    raise
                queue.failing_since = queue.failing_since or time.monotonic()
                broker_failed(log, "publishing failed, sending again", error, topic=queue.topic, records=len(records))
                await asyncio.sleep(retry.delay_seconds)
                batch = fill_batch(self._producer, records)
            else:
                queue.failing_since = None
                return

    def _release(self, records: int, size: int) -> None:
        """Give capacity back: ``records`` are acknowledged or failed, ``size`` bytes have left the queue."""
        self.backlog -= records
        self._waiting_bytes -= size
        if self.is_full and self.backlog <= self._max_records and self._waiting_bytes <= self._max_bytes:
            self.is_full = False
            self._has_capacity.set()

    def _give_up(self, queue: PartitionQueue, records: Sequence[QueuedRecord], error: BaseException) -> None:
        """Fail ``records``, which were in flight, and all records that wait behind them.

        A record without a handle stays in ``backlog``: nobody was told that it failed.
        """
        waiting = queue.take_all()
        handles = [record.handle for record in (*records, *waiting) if record.handle is not None]
        self._release(len(handles), size_of(waiting))
        for handle in handles:
            handle.failed(error)
