"""Records on their way to the broker, in batches: what comes while a batch is under way leaves in the next one.

aiokafka's ``send`` costs a future, a look at the metadata and a task's turns for each record; a batch costs that once.
One batch of a partition is under way at a time, so a key's records keep their order. aiokafka has one request to a
broker under way at a time: a batch is made when that has ended, and holds whatever has come until then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerClosed

from producers.drain import Drain
from producers.items import Record
from stream.kafka import fill_batch, partition_of


class Ticket:
    """For the records of one publication.

    ``answer`` is what its sender awaits: done when the broker has all records, failed when it has refused one or when
    patience has ended. ``is_over``: nothing of it is under way any more; then ``afterwards`` is called.
    """

    __slots__ = ("_left", "afterwards", "answer", "is_over")

    def __init__(self, count: int) -> None:
        self._left = count
        self.is_over = False
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.afterwards: Callable[[Ticket], None] | None = None

    def ended(self, count: int = 1) -> None:
        """Count records that the broker has, or that are not sent any more."""
        self._left -= count
        if self._left <= 0:
            self._settle(None)

    def failed(self, error: BaseException) -> None:
        """Say that a record was refused."""
        self._settle(error)

    def expire(self) -> None:
        """End the sender's patience; the records may arrive all the same."""
        if not self.answer.done():
            self.answer.set_exception(TimeoutError())

    def _settle(self, error: BaseException | None) -> None:
        if self.is_over:
            return
        self.is_over = True
        if self.answer.done():
            pass
        elif error is None:
            self.answer.set_result(None)
        else:
            self.answer.set_exception(error)
        if self.afterwards is not None:
            self.afterwards(self)


class Lane:
    """Records of one partition that wait for a batch; one batch is under way at a time."""

    __slots__ = ("is_busy", "partition", "waiting")

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.waiting: deque[tuple[Record, Ticket]] = deque()
        self.is_busy = False


class Outbox:
    """What one producer has to send."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._cluster = producer.client.cluster
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._due: dict[Lane, None] = {}  # in the order in which they became so; none of them is busy
        self._counts: dict[str, int] = {}  # partitions of the topics that are known
        self._is_closed = False
        self._drain = Drain(producer, self._fill)
        self._cluster.add_listener(self._look_again)

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

    def put(self, records: Sequence[Record]) -> Ticket:
        """Queue records of topics that are known. Raises KafkaError where nobody will come for them any more."""
        if self._is_closed:
            raise ProducerClosed
        self._drain.check()
        ticket = Ticket(len(records))
        for record in records:
            lane = self._lane(record)
            lane.waiting.append((record, ticket))
            if not lane.is_busy and lane not in self._due:
                self._make_due(lane)
        return ticket

    def _lane(self, record: Record) -> Lane:
        topic, key = record.topic, record.key
        number = 0 if key is None else partition_of(key, self._partitions(topic))
        lane = self._lanes.get((topic, number))
        if lane is None:
            lane = self._lanes[topic, number] = Lane(TopicPartition(topic, number))
        return lane

    def _partitions(self, topic: str) -> int:
        count = self._counts.get(topic, 0)
        if not count:
            count = len(self._cluster.partitions_for_topic(topic) or ())
            if count:
                self._counts[topic] = count
        return count

    def _look_again(self, cluster: object) -> None:
        """The broker has told aiokafka something new: of partitions, or of who leads them."""
        del cluster
        self._counts.clear()
        self._drain.wake()

    def take_back(self, ticket: Ticket) -> None:
        """Do not send what has not left yet: its sender was told so, and a broker that is away must not fill us."""
        for lane in self._lanes.values():
            kept = deque(entry for entry in lane.waiting if entry[1] is not ticket)
            gone = len(lane.waiting) - len(kept)
            if gone:
                lane.waiting = kept
                ticket.ended(gone)

    def close(self) -> None:
        """Take no more records, and fail those that have not left: nobody will come for them."""
        self._is_closed = True
        self._due.clear()
        for lane in self._lanes.values():
            _fail(lane, ProducerClosed())

    def _make_due(self, lane: Lane) -> None:
        self._due[lane] = None
        if self._drain.is_free(self._cluster.leader_for_partition(lane.partition)):
            self._drain.wake()

    def _fill(self, busy: Collection[int], muted: Collection[TopicPartition]) -> None:
        """Make a batch of each partition whose broker is free; one without a leader is aiokafka's to find it one."""
        for lane in list(self._due):
            if lane.partition in muted or self._cluster.leader_for_partition(lane.partition) in busy:
                continue
            del self._due[lane]
            if lane.waiting:
                self._leave(lane)

    def _leave(self, lane: Lane) -> None:
        try:
            batch, count = fill_batch(self._producer, (record for record, _ in lane.waiting))
            future = self._drain.put(batch, lane.partition)
        except Exception as error:  # noqa: BLE001 - whatever it was: senders must not wait for it, nor aiokafka end
            _fail(lane, error)
            return
        lane.is_busy = True
        tickets = [lane.waiting.popleft()[1] for _ in range(count)]
        future.add_done_callback(partial(self._arrived, lane, tickets))

    def _arrived(self, lane: Lane, tickets: list[Ticket], future: asyncio.Future[object]) -> None:
        lane.is_busy = False
        error = future.exception()
        for ticket in tickets:
            if error is None:
                ticket.ended()
            else:
                ticket.failed(error)
        if error is not None:
            _fail(lane, error)  # a failed batch leaves a gap in the sequence: the broker refuses what follows
        elif lane.waiting:
            self._make_due(lane)


def _fail(lane: Lane, error: BaseException) -> None:
    for _, ticket in lane.waiting:
        ticket.failed(error)
    lane.waiting.clear()
