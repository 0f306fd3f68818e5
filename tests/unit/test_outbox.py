"""The producers' batches before a broker that waits and fails on command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from producers.items import Record
from producers.outbox import Outbox, Ticket
from producers.patience import Patience
from stream.kafka import partition_of

LIMIT = 5.0  # seconds
PARTITIONS = 4
SMALL = 500  # bytes a batch


class Producer:
    """Keeps what it was sent; ``gate`` holds acknowledgements back, ``failures`` come first."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, int]] = []  # topic, partition, records
        self.taken: list[tuple[int, int]] = []  # partition, records; acknowledged or not
        self.failures: list[BaseException] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.known: dict[str, set[int]] = {}
        self.leaders: dict[int, int] = {}  # of partitions; broker 0 where nothing is said
        self.changed: list[Callable[[object], None]] = []
        self.client = SimpleNamespace(
            cluster=SimpleNamespace(
                partitions_for_topic=self.known.get,
                leader_for_partition=lambda one: self.leaders.get(one.partition, 0),
                add_listener=self.changed.append,
            )
        )

    def create_batch(self) -> BatchBuilder:
        """An empty batch, a real one."""
        return BatchBuilder(SMALL, 0)

    async def partitions_for(self, topic: str) -> set[int]:
        """Learn a topic, as from the broker."""
        await asyncio.sleep(0)
        self.known[topic] = set(range(PARTITIONS))
        return self.known[topic]

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[None]:
        """Take a batch; what is returned ends with its acknowledgement."""
        self.taken.append((partition, batch.record_count()))
        return asyncio.ensure_future(self._acknowledge(topic, partition, batch.record_count()))

    async def _acknowledge(self, topic: str, partition: int, records: int) -> None:
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append((topic, partition, records))


def keys_by_partition() -> list[bytes]:
    """A key of each partition."""
    found: dict[int, bytes] = {}
    for number in range(100):
        key = f"contact-{number}".encode()
        found.setdefault(partition_of(key, PARTITIONS), key)
    return [found[partition] for partition in range(PARTITIONS)]


async def turns() -> None:
    """Let the loop turn, as often as anything could need."""
    for _ in range(10):
        await asyncio.sleep(0)


async def made() -> tuple[Outbox, Producer]:
    producer: Any = Producer()
    outbox = Outbox(producer)
    assert not outbox.knows([record()])
    await outbox.learn([record()])
    assert outbox.knows([record()])
    return outbox, producer


def record(key: bytes | None = b"+5511987654321", value: bytes = b"x" * 100) -> Record:
    return Record("webhooks", key, value, [], "id")


async def done(ticket: Ticket) -> None:
    async with asyncio.timeout(LIMIT):
        await asyncio.shield(ticket.answer)


async def test_what_several_requests_put_in_one_turn_leaves_in_one_batch() -> None:
    """Requests share batches, and each is told when its own records are there."""
    outbox, producer = await made()
    tickets = [outbox.put([record()]) for _ in range(3)]
    await asyncio.gather(*map(done, tickets))
    assert [records for _, _, records in producer.sent] == [3]


async def test_what_comes_while_the_broker_is_asked_leaves_together() -> None:
    """No batch is closed before it can leave: other partitions of that broker wait too, those of another do not."""
    outbox, producer = await made()
    keys = keys_by_partition()
    producer.leaders = {3: 7}
    producer.gate.clear()
    tickets = [outbox.put([record(keys[0])])]
    await turns()
    for _ in range(3):
        tickets += [outbox.put([record(keys[number])]) for number in (1, 3)]
        await turns()
    assert producer.taken == [(0, 1), (3, 1)]
    producer.gate.set()
    await asyncio.gather(*map(done, tickets))
    assert sorted(producer.taken[2:]) == [(1, 3), (3, 2)]


async def test_a_partition_whose_leader_has_changed_does_not_wait_for_the_old_one() -> None:
    """A broker that is gone holds up nobody who has another one by now."""
    outbox, producer = await made()
    keys = keys_by_partition()
    producer.gate.clear()
    outbox.put([record(keys[0])])
    await turns()
    outbox.put([record(keys[1])])
    await turns()
    producer.leaders = {1: 7}
    producer.changed[0](None)
    await turns()
    assert producer.taken == [(0, 1), (1, 1)]


async def test_a_topic_that_has_grown_is_used_whole() -> None:
    """Keys go where everybody else's partitioner puts them, from the moment the broker tells of more partitions."""
    outbox, producer = await made()
    producer.known["webhooks"] = set(range(2 * PARTITIONS))
    producer.changed[0](None)
    keys = [f"contact-{number}".encode() for number in range(40)]
    await done(outbox.put([record(key) for key in keys]))
    assert {partition for partition, _ in producer.taken} == {partition_of(key, 2 * PARTITIONS) for key in keys}


async def test_a_ticket_is_done_when_every_partition_has_its_records() -> None:
    """A body of several contacts is answered when the last of its batches is acknowledged, however many there are."""
    outbox, producer = await made()
    keys = [f"contact-{number}".encode() for number in range(40)]
    ticket = outbox.put([record(key) for key in keys])
    await done(ticket)
    assert sum(records for _, _, records in producer.sent) == len(keys)
    assert {partition for _, partition, _ in producer.sent} == {partition_of(key, PARTITIONS) for key in keys}


async def test_a_record_larger_than_a_batch_is_sent_alone() -> None:
    """Whether a record is too large is for the broker to say."""
    outbox, producer = await made()
    await done(outbox.put([record(), record(value=b"x" * 10 * SMALL), record()]))
    assert [records for _, _, records in producer.sent] == [1, 1, 1]


async def test_without_an_acknowledgement_nobody_is_told_done() -> None:
    """A ticket waits as long as the broker does."""
    outbox, producer = await made()
    producer.gate.clear()
    ticket = outbox.put([record()])
    await turns()
    assert not ticket.answer.done()
    producer.gate.set()
    await done(ticket)


async def test_a_refused_batch_fails_what_is_in_it_and_what_waits_behind_it() -> None:
    """The broker refuses what follows a gap: everybody behind it is told at once, other partitions go on."""
    outbox, producer = await made()
    producer.gate.clear()
    first = outbox.put([record()])
    await turns()
    behind = outbox.put([record()])
    producer.failures.append(KafkaError())
    producer.gate.set()
    for ticket in (first, behind):
        with pytest.raises(KafkaError):
            await done(ticket)
    await done(outbox.put([record()]))
    assert [records for _, _, records in producer.sent] == [1]


async def test_what_is_taken_back_is_not_sent_and_not_kept() -> None:
    """While the broker is away, who was told 503 leaves no record behind that has not left yet."""
    outbox, producer = await made()
    producer.gate.clear()
    under_way = outbox.put([record()])
    await turns()
    waiting = outbox.put([record(), record()])
    outbox.take_back(waiting)
    await done(waiting)
    assert not under_way.answer.done()
    producer.gate.set()
    await done(under_way)
    assert [records for _, _, records in producer.sent] == [1]


async def test_patience_ends_for_the_sender_and_the_records_go_on() -> None:
    """Who is told 503 learns no more of it; that it is over is known when the broker answers at last."""
    outbox, producer = await made()
    producer.gate.clear()
    ticket = outbox.put([record()])
    await turns()
    over: list[Ticket] = []
    ticket.afterwards = over.append
    ticket.expire()
    with pytest.raises(TimeoutError):
        await done(ticket)
    assert not ticket.is_over
    producer.gate.set()
    await done(outbox.put([record()]))
    assert over == [ticket]


async def test_patience_ends_only_where_its_time_is_over() -> None:
    """Of those who wait for the broker each has its own time, and nobody is looked at after the last has gone."""
    patience, now = Patience(), asyncio.get_running_loop().time()
    tickets = [Ticket(1) for _ in range(3)]
    for ticket, seconds in zip(tickets, (0.0, 60.0, 0.0), strict=True):
        patience.begin(ticket, now + seconds)
    patience.end(tickets[2])
    with pytest.raises(TimeoutError):
        await done(tickets[0])
    assert not tickets[1].answer.done()
    assert not tickets[2].answer.done()
