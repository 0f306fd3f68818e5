"""Records on their way to the broker, in batches: what comes while a batch is in flight leaves in the next one.

Batches are made with aiokafka's ``create_batch`` and ``send_batch``: one future a batch, where ``send`` costs one a
record, and what has not left yet can be taken back. One batch of a partition is in flight at a time, so the records of
a key keep their order, and a partition whose leader is away holds up no other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerClosed

from producers.items import Record
from stream.domain.errors import TransientError
from stream.kafka import fill_batch, partition_of

MOST_WAITING = 64 * 1_048_576  # bytes of values that have not left yet


class FullError(TransientError):
    """Too many records wait for the broker."""


class PublishHandle:
    """For the records of one publication.

    ``answer`` is what its sender awaits: done when the broker has all records, failed when it has refused one.
    ``is_over``: nothing of it is in flight any more; then ``afterwards`` is called.
    """

    __slots__ = ("_left", "afterwards", "answer", "is_over")

    def __init__(self, count: int) -> None:
        self._left = count
        self.is_over = False
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.afterwards: Callable[[PublishHandle], None] | None = None

    def acknowledged(self, count: int = 1) -> None:
        """Count records that the broker has, or that are not sent any more."""
        self._left -= count
        if self._left <= 0:
            self._finish(None)

    def failed(self, error: BaseException) -> None:
        """Say that a record was refused."""
        self._finish(error)

    def expire(self) -> None:
        """Its sender waits no more; the records may arrive all the same."""
        if not self.answer.done():
            self.answer.set_exception(TimeoutError())

    def _finish(self, error: BaseException | None) -> None:
        if self.is_over:
            return
        self.is_over = True
        if self.answer.done():  # its sender waits no more
            pass
        elif error is None:
            self.answer.set_result(None)
        else:
            self.answer.set_exception(error)
        if self.afterwards is not None:
            self.afterwards(self)


class PartitionQueue:
    """Records of one partition that wait for a batch."""

    __slots__ = ("number", "sender", "topic", "waiting")

    def __init__(self, topic: str, number: int) -> None:
        self.topic = topic
        self.number = number
        self.waiting: deque[tuple[Record, PublishHandle]] = deque()
        self.sender: asyncio.Task[None] | None = None


class BatchProducer:
    """What one producer has to send."""

    def __init__(self, producer: AIOKafkaProducer, most_waiting: int = MOST_WAITING) -> None:
        """``most_waiting``: bytes."""
        self._producer = producer
        self._cluster = producer.client.cluster
        self._queues: dict[tuple[str, int], PartitionQueue] = {}
        self._counts: dict[str, int] = {}  # partitions of the topics that are known
        self._most_waiting = most_waiting
        self._waiting = 0
        self._is_closed = False
        self._cluster.add_listener(self._count_again)

    def knows(self, records: Sequence[Record]) -> bool:
        """Whether the broker has told us of the records' topics."""
        for record in records:  # noqa: SIM110 - nearly always one; all() and its generator cost four times as much
            if not self._partitions(record.topic):
                return False
        return True

    async def learn(self, records: Sequence[Record]) -> None:
        """Ask the broker for the records' topics; waits while they are not there."""
        for topic in {record.topic for record in records}:
            await self._producer.partitions_for(topic)

    def put(self, records: Sequence[Record]) -> PublishHandle:
        """Queue records of topics that are known. Raises ProducerClosed at the end, FullError for too much."""
        if self._is_closed:
            raise ProducerClosed
        size = sum([len(record.value) for record in records])
        if self._waiting + size > self._most_waiting:
            raise FullError("too much waits for the broker")
        self._waiting += size
        handle = PublishHandle(len(records))
        for record in records:
            queue = self._queue(record)
            queue.waiting.append((record, handle))
            if queue.sender is None:  # it begins in the next turn of the loop, with what has come until then
                queue.sender = asyncio.create_task(self._send(queue))
        return handle

    def take_back(self, handle: PublishHandle) -> None:
        """Do not send what has not left yet: its sender was told so, and a broker that is away must not fill us."""
        for queue in self._queues.values():
            kept = deque(entry for entry in queue.waiting if entry[1] is not handle)
            gone = len(queue.waiting) - len(kept)
            if gone:
                self._waiting -= sum([len(record.value) for record, one in queue.waiting if one is handle])
                queue.waiting = kept
                handle.acknowledged(gone)

    def close(self) -> None:
        """Take no more records, and fail those that have not left. What is in flight is aiokafka's to flush."""
        self._is_closed = True
        for queue in self._queues.values():
            self._fail(queue, ProducerClosed())

    def _queue(self, record: Record) -> PartitionQueue:
        topic, key = record.topic, record.key
        number = 0 if key is None else partition_of(key, self._partitions(topic))
        queue = self._queues.get((topic, number))
        if queue is None:
            queue = self._queues[topic, number] = PartitionQueue(topic, number)
        return queue

    def _partitions(self, topic: str) -> int:
        count = self._counts.get(topic, 0)
        if not count:
            count = len(self._cluster.partitions_for_topic(topic) or ())
            if count:
                self._counts[topic] = count
        return count

    def _count_again(self, cluster: object) -> None:
        """The broker has told aiokafka something new: perhaps of more partitions."""
        del cluster
        self._counts.clear()

    async def _send(self, queue: PartitionQueue) -> None:
        handles: list[PublishHandle] = []
        try:
            while queue.waiting:
                handles = []
                batch, count = fill_batch(self._producer, (record for record, _ in queue.waiting))
                for _ in range(count):
                    record, handle = queue.waiting.popleft()
                    self._waiting -= len(record.value)
                    handles.append(handle)
                await (await self._producer.send_batch(batch, queue.topic, partition=queue.number))
                for handle in handles:
                    handle.acknowledged()
        except BaseException as error:
            # A failed batch leaves a gap in the sequence, and the broker refuses what follows.
            cause = ProducerClosed() if isinstance(error, asyncio.CancelledError) else error
            for handle in handles:
                handle.failed(cause)
            self._fail(queue, cause)
            if not isinstance(error, Exception):
                raise
        finally:
            queue.sender = None

    def _fail(self, queue: PartitionQueue, error: BaseException) -> None:
        for record, handle in queue.waiting:
            self._waiting -= len(record.value)
            handle.failed(error)
        queue.waiting.clear()
