"""Records on their way to the broker, in batches: what comes while a batch is under way leaves in the next one.

aiokafka's ``send`` costs a future, a look at the metadata and two tasks' turns for each record; ``send_batch`` costs
that once a batch. One batch of a partition is under way at a time, so a key's records keep their order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

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


@dataclass(slots=True)
class Lane:
    """Records of one partition that wait for a batch."""

    waiting: deque[tuple[Record, Ticket]] = field(default_factory=deque)
    sender: asyncio.Task[None] | None = None


class Outbox:
    """What one producer has to send."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._lanes: dict[tuple[str, int], Lane] = {}

    def knows(self, records: Sequence[Record]) -> bool:
        """Whether the broker has told us of the records' topics."""
        return all(self._partitions(topic) for topic in {record.topic for record in records})

    async def learn(self, records: Sequence[Record]) -> None:
        """Ask the broker for the records' topics; waits while they are not there."""
        for topic in {record.topic for record in records}:
            await self._producer.partitions_for(topic)

    def put(self, records: Sequence[Record]) -> Ticket:
        """Queue records of topics that are known."""
        ticket = Ticket(len(records))
        counts = {topic: self._partitions(topic) for topic in {record.topic for record in records}}
        for record in records:
            key, topic = record.key, record.topic
            partition = 0 if key is None else partition_of(key, counts[topic])
            lane = self._lanes.get((topic, partition))
            if lane is None:
                lane = self._lanes[topic, partition] = Lane()
            lane.waiting.append((record, ticket))
            if lane.sender is None:
                lane.sender = asyncio.create_task(self._send(topic, partition, lane))
        return ticket

    def _partitions(self, topic: str) -> int:
        return len(self._producer.client.cluster.partitions_for_topic(topic) or ())

    def take_back(self, ticket: Ticket) -> None:
        """Do not send what has not left yet: its sender was told so, and a broker that is away must not fill us."""
        for lane in self._lanes.values():
            kept = deque(entry for entry in lane.waiting if entry[1] is not ticket)
            gone = len(lane.waiting) - len(kept)
            if gone:
                lane.waiting = kept
                ticket.ended(gone)

    async def _send(self, topic: str, partition: int, lane: Lane) -> None:
        tickets: list[Ticket] = []
        try:
            while lane.waiting:
                batch, tickets = self._batch(lane.waiting)
                await (await self._producer.send_batch(batch, topic, partition=partition))
                for ticket in tickets:
                    ticket.ended()
        except Exception as error:  # noqa: BLE001 - whatever it was: senders must not wait for it
            # A failed batch leaves a gap in the sequence: the broker refuses what follows.
            for ticket in (*tickets, *(entry[1] for entry in lane.waiting)):
                ticket.failed(error)
            lane.waiting.clear()
        finally:
            lane.sender = None

    def _batch(self, waiting: deque[tuple[Record, Ticket]]) -> tuple[BatchBuilder, list[Ticket]]:
        """Take from ``waiting`` what fits one batch."""
        batch, count = fill_batch(self._producer, (record for record, _ in waiting))
        return batch, [waiting.popleft()[1] for _ in range(count)]
