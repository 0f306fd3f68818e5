"""Brings parked webhooks back: when a record of a retry topic is due, it goes to ``webhooks`` again.

A plain consumer of a group of its own. A partition whose first record is not due is held until it is, and that record
is given back and read again then: nothing uncompleted stays in memory while it waits, so restarts keep it. Partitions
do not wait for each other, be they of one topic or of two: each is moved by a work of its own, and held meanwhile.

While the worker has more to look up of a source than it can, what is due of it stays here: moved, it would only be
parked once more. So does what was parked for a partner that is down, until the partner can be asked again (see
``PartnerGate``). Either way a partition waits for what its first due record waits for. That holds up no other source:
each is parked on partitions of its own (``own_partitions``); only where there are fewer partitions than sources, or in
records of a release that had other sources, one may wait behind another, by the longest delay at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from stream import topics
from stream.domain.availability import Availability, PartnerGate, partner_of
from stream.domain.headers import NOT_BEFORE, REROUTE
from stream.domain.leads import source_in
from stream.domain.parking import instant_of
from stream.kafka.attempts import Attempts
from stream.kafka.batch_producer import BatchProducer
from stream.kafka.consumer_loop import ConsumerLoop, ConsumerSpec, Fetched, RecordHandler, Work

LONGEST_POLL_S = 1.0  # between looks at what is held
# Records are parked milliseconds apart, and come due so: they are moved together, not with a fetch each.
SHORTEST_WAIT_S = 0.25
MOST_AT_ONCE = 500  # records
AT_ONCE = datetime.min.replace(tzinfo=UTC)
RETRY_CONSUMER = ConsumerSpec(
    topics.RETRY_GROUP,
    tuple(topic.name for topic in topics.RETRIES),
    commit_every=0.0,
    grace=0.0,  # what is cut is moved once more; the worker's own grace is for look-ups
    read_failed="retry reader can't reach the broker",
    commit_failed="retry reader can't commit; the next commit will",
    commit_refused="a retry partition was taken away; its records will be moved once more",
)


@dataclass(frozen=True, slots=True)
class Wait:
    """What a held partition waits for: the time ``until``, when its first record is due.

    Then room for its ``source``, or its ``partner``; "" for none.
    """

    until: datetime
    source: str = ""
    partner: str = ""


class RetryReader(RecordHandler):
    """Moves due records from the retry topics back to ``webhooks``."""

    def __init__(  # noqa: PLR0913 - the reader's parts
        self,
        consumer: AIOKafkaConsumer,
        producer: BatchProducer,
        now: Callable[[], datetime],
        longest: timedelta,
        busy: Callable[[str], bool],
        gate: PartnerGate | None = None,
    ) -> None:
        """``consumer`` has no topic yet. ``longest``: no record waits longer, whatever its header says.

        ``busy``: of a source by its name. What is due of it waits meanwhile, by ``longest`` at most: no topic keeps a
        record for ever.
        ``gate``: what was parked for a partner waits for it, for as long as the gate says.
        """
        self._producer = producer
        self._now = now
        self._longest = longest
        self._busy = busy
        self._gate = gate or PartnerGate(lambda _: Availability.AVAILABLE, time.monotonic)
        self._waits: dict[TopicPartition, Wait] = {}
        self._moving: set[TopicPartition] = set()
        self._loop = ConsumerLoop(consumer, RETRY_CONSUMER, self)

    async def run(self) -> None:
        """Read until cancelled; an unreachable broker only makes it wait."""
        await self._loop.run(asyncio.Event())

    def room(self, under_way: int) -> int:
        """None while the worker has too much to deliver. The bound of what is under way is one read a partition."""
        del under_way
        return 0 if self._producer.is_full else MOST_AT_ONCE

    def start(self, fetched: Fetched, attempts: Attempts) -> list[Work]:
        """Take of each partition what is due, in order."""
        del attempts  # the producer delivers a record however long it takes
        works = []
        for partition, records in fetched.items():
            if partition in self._moving:
                continue  # taken away and given back while its records are still on their way
            if due := self._due_records(partition, records):
                self._moving.add(partition)
                works.append(Work(due, partial(self._move_back, partition, due)))
        return works

    def held(self, assigned: AbstractSet[TopicPartition]) -> AbstractSet[TopicPartition]:
        """The partitions whose records are on their way, or whose first record has to wait."""
        now = self._now()
        for partition, wait in list(self._waits.items()):
            if partition not in assigned or (wait.until <= now and not self._must_wait(wait)):
                del self._waits[partition]
        return (self._moving | self._waits.keys()) & assigned

    def poll_timeout_ms(self) -> int:
        """Milliseconds until something is due, or partitions may have come or gone."""
        now = self._now()
        # What is due and still waits, waits for room or for its partner: that is looked at after each read.
        left = [(wait.until - now).total_seconds() for wait in self._waits.values() if wait.until > now]
        return int(min([*left, LONGEST_POLL_S]) * 1000) + 1

    def _due_records(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> list[ConsumerRecord]:
        """The records before the first that has to wait, which the partition then waits for."""
        now = self._now()
        due: list[ConsumerRecord] = []
        for record in records:
            if wait := self._why_not(record, now):
                self._waits[partition] = wait
                break
            due.append(record)
        return due

    async def _move_back(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        """Publish records to ``webhooks``, in order; returns once the broker has them all."""
        try:
            await asyncio.gather(*(self._move(record) for record in records))
        finally:
            self._moving.discard(partition)

    def _must_wait(self, wait: Wait) -> bool:
        """Whether what is due waits still: for room, or for its partner."""
        if wait.source and self._has_no_room(wait.source, wait.until):
            return True
        return (
            bool(wait.partner) and self._gate.room(wait.partner) == 0 and self._now() < wait.until + self._gate.max_hold
        )

    def _has_no_room(self, source: str, due: datetime) -> bool:
        return self._now() < due + self._longest and self._busy(source)

    def _why_not(self, record: ConsumerRecord, now: datetime) -> Wait | None:
        """What a record waits for; None when it may be moved, which counts for its partner."""
        due = self._due(record)
        if due > now:
            return Wait(max(due, now + timedelta(seconds=SHORTEST_WAIT_S)))
        source = source_in(record.value)
        if self._has_no_room(source, due):
            return Wait(due, source=source)
        partner = partner_of(_header(record, "reason"))
        if not partner or self._gate.take(partner) or now >= due + self._gate.max_hold:
            return None
        return Wait(due, partner=partner)

    def _due(self, record: ConsumerRecord) -> datetime:
        """When a record is due: as its header says; at once when that can't be read."""
        due = instant_of(_header(record, NOT_BEFORE))
        if due is None:
            return AT_ONCE
        return min(due, datetime.fromtimestamp(record.timestamp / 1000, UTC) + self._longest)

    def _move(self, record: ConsumerRecord) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        headers = [(name, value) for name, value in record.headers if name != REROUTE]
        self._producer.enqueue(topics.WEBHOOKS.name, record.key, record.value, headers, lambda: _set(done))
        return done


def _header(record: ConsumerRecord, name: str) -> str:
    """A header's text, "" when it is not there or has no value."""
    said = next((value for key, value in record.headers if key == name), b"")
    return (said or b"").decode("utf-8", "replace")


def _set(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
