"""The retry reader: publishes parked webhooks to ``webhooks`` again when they are due.

It is a plain consumer with its own consumer group.

Rule 1: a record that must wait is not kept in memory. Its partition is held (not fetched), and the record is read again
later. So a restart loses nothing.
Rule 2: a record waits until it is due; then until its source has room for look-ups, because without room it would only
be parked again; then until the partner it was parked for can be asked (``PartnerGate``).
Rule 3: partitions do not wait for each other. Each is moved by its own ``Work`` and held until its records are
acknowledged.
Rule 4: a partition waits for what its first waiting record waits for. Each source has its own partitions
(``own_partitions``), so this delays no other source. With fewer partitions than sources, or with records of a release
that had other sources, one source may wait behind another, for the longest delay at most.
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

MAX_POLL_S = 1.0  # so often held partitions are checked
# Records are parked, and come due, milliseconds apart. With a minimum wait they are moved together, not one a fetch.
MIN_WAIT_S = 0.25
MAX_RECORDS_PER_READ = 500
ALWAYS_DUE = datetime.min.replace(tzinfo=UTC)
RETRY_CONSUMER = ConsumerSpec(
    topics.RETRY_GROUP,
    tuple(topic.name for topic in topics.RETRIES),
    commit_every=0.0,
    grace=0.0,  # records whose move is cut short are moved once more; the worker's grace is for look-ups
    read_failed="retry reader can't reach the broker",
    commit_failed="retry reader can't commit; the next commit includes these offsets",
    commit_refused="retry partition revoked; its records will be moved once more",
)


@dataclass(frozen=True, slots=True)
class Wait:
    """What a held partition waits for: the time ``until``, at which its first record is due.

    After that it waits for room for ``source``, or for ``partner``. Each is "" if it is not waited for.
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
        max_delay: timedelta,
        is_busy: Callable[[str], bool],
        gate: PartnerGate | None = None,
    ) -> None:
        """``consumer`` has not subscribed to a topic yet.

        ``max_delay``: a record is due after it at the latest, whatever its header says.
        ``is_busy``: whether a source has no room for look-ups. A due record waits for it for ``max_delay`` at most: no
        topic keeps a record for ever.
        ``gate``: how many webhooks that were parked for a partner may come back.
        """
        self._producer = producer
        self._now = now
        self._max_delay = max_delay
        self._is_busy = is_busy
        self._gate = gate or PartnerGate(lambda _: Availability.AVAILABLE, time.monotonic)
        self._waits: dict[TopicPartition, Wait] = {}
        self._moving: set[TopicPartition] = set()
        self._loop = ConsumerLoop(consumer, RETRY_CONSUMER, self)

    async def run(self) -> None:
        """Read until cancelled. While the broker is unreachable, wait for it."""
        await self._loop.run(asyncio.Event())

    def room(self, under_way: int) -> int:
        """Return 0 while the producer's backlog is full. Moves need no limit: there is one read a partition."""
        del under_way
        return 0 if self._producer.is_full else MAX_RECORDS_PER_READ

    def start(self, fetched: Fetched, attempts: Attempts) -> list[Work]:
        """Start to move the due records of each partition, in order."""
        del attempts  # the producer retries a record until it is acknowledged
        works = []
        for partition, records in fetched.items():
            if partition in self._moving:
                continue  # the partition was revoked and assigned again while its records are still being moved
            if due := self._due_records(partition, records):
                self._moving.add(partition)
                works.append(Work(due, partial(self._move_back, partition, due)))
        return works

    def held(self, assigned: AbstractSet[TopicPartition]) -> AbstractSet[TopicPartition]:
        """Return the partitions whose records are being moved, or whose first record must wait."""
        now = self._now()
        for partition, wait in list(self._waits.items()):
            if partition not in assigned or (wait.until <= now and not self._must_wait(wait)):
                del self._waits[partition]
        return (self._moving | self._waits.keys()) & assigned

    def poll_timeout_ms(self) -> int:
        """Milliseconds until the next record is due, ``MAX_POLL_S`` at most."""
        now = self._now()
        # Records that are due and still wait have no time: whether they may be moved is checked after each read.
        left = [(wait.until - now).total_seconds() for wait in self._waits.values() if wait.until > now]
        return int(min([*left, MAX_POLL_S]) * 1000) + 1

    def _due_records(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> list[ConsumerRecord]:
        """Return the records before the first one that must wait, and hold the partition for that one."""
        now = self._now()
        due: list[ConsumerRecord] = []
        for record in records:
            if wait := self._reason_to_wait(record, now):
                self._waits[partition] = wait
                break
            due.append(record)
        return due

    async def _move_back(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        """Publish records to ``webhooks``, in order. Return when the broker has acknowledged them all."""
        try:
            await asyncio.gather(*(self._move(record) for record in records))
        finally:
            self._moving.discard(partition)

    def _must_wait(self, wait: Wait) -> bool:
        """Whether a record that is due still waits for room or for its partner."""
        if wait.source and self._has_no_room(wait.source, wait.until):
            return True
        return (
            bool(wait.partner) and self._gate.room(wait.partner) == 0 and self._now() < wait.until + self._gate.max_hold
        )

    def _has_no_room(self, source: str, due: datetime) -> bool:
        return self._now() < due + self._max_delay and self._is_busy(source)

    def _reason_to_wait(self, record: ConsumerRecord, now: datetime) -> Wait | None:
        """Return what a record waits for; None if it may be moved. Then it counts as a trial of its partner."""
        due = self._due_at(record)
        if due > now:
            return Wait(max(due, now + timedelta(seconds=MIN_WAIT_S)))
        source = source_in(record.value)
        if self._has_no_room(source, due):
            return Wait(due, source=source)
        partner = partner_of(_header(record, "reason"))
        if not partner or self._gate.take(partner) or now >= due + self._gate.max_hold:
            return None
        return Wait(due, partner=partner)

    def _due_at(self, record: ConsumerRecord) -> datetime:
        """Return when a record is due according to its header. An unreadable header makes it due now."""
        due = instant_of(_header(record, NOT_BEFORE))
        if due is None:
            return ALWAYS_DUE
        return min(due, datetime.fromtimestamp(record.timestamp / 1000, UTC) + self._max_delay)

    def _move(self, record: ConsumerRecord) -> asyncio.Future[None]:
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        headers = [(name, value) for name, value in record.headers if name != REROUTE]
        self._producer.enqueue(topics.WEBHOOKS.name, record.key, record.value, headers, lambda: _resolve(acknowledged))
        return acknowledged


def _header(record: ConsumerRecord, name: str) -> str:
    """Return the first header of that name as text, "" if it is missing or has no value."""
    text = next((value for key, value in record.headers if key == name), b"")
    return (text or b"").decode("utf-8", "replace")


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
