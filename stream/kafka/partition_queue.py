"""The records of one partition that wait for a batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from stream.kafka.publish_handle import PublishHandle

Headers = Sequence[tuple[str, bytes | None]]
Acknowledged = Callable[[], None]


class QueuedRecord(msgspec.Struct, eq=False):
    """A record that is not acknowledged yet. ``acknowledged`` is called in the event loop when the broker has it."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    acknowledged: Acknowledged | None = None
    handle: PublishHandle | None = None


class PartitionQueue:
    """Records in order, and the task ``sender``, which exists while there are records to send."""

    __slots__ = ("failing_since", "partition", "sender", "topic", "waiting")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[QueuedRecord] = deque()
        self.sender: asyncio.Task[None] | None = None
        self.failing_since: float | None = None  # monotonic seconds

    def take_batch(self, producer: AIOKafkaProducer) -> tuple[BatchBuilder, list[QueuedRecord]]:
        """Remove the records that fit one batch; return the batch and its records.

        Removes nothing if a record can't be encoded.
        """
        batch = fill_batch(producer, self.waiting)
        count = batch.record_count()
        if count < len(self.waiting):
            return batch, [self.waiting.popleft() for _ in range(count)]
        records = list(self.waiting)
        self.waiting.clear()
        return batch, records

    def take_back(self, handle: PublishHandle) -> list[QueuedRecord]:
        """Remove and return the records of ``handle``."""
        removed = [record for record in self.waiting if record.handle is handle]
        if removed:
            self.waiting = deque(record for record in self.waiting if record.handle is not handle)
        return removed

    def take_all(self) -> list[QueuedRecord]:
        """Remove and return all records."""
        removed = list(self.waiting)
        self.waiting.clear()
        return removed


def fill_batch(producer: AIOKafkaProducer, records: Iterable[QueuedRecord]) -> BatchBuilder:
    """A closed batch of the first records. The first record always fits: the broker decides whether it is too large."""
    batch: BatchBuilder = producer.create_batch()
    append = batch.append
    for record in records:
        if append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is None:
            break
    batch.close()
    return batch


def size_of(records: Sequence[QueuedRecord]) -> int:
    """Number of bytes of the records' values."""
    return sum([len(value) for record in records if (value := record.value)])
