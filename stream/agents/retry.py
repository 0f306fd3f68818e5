"""Brings parked webhooks back: when a record of a retry topic is due, it goes to ``webhooks`` again.

A plain consumer of a group of its own. A partition whose first record is not due is paused until it is, and
that record is read again then: nothing unfinished is held while it waits, so restarts keep it. Partitions do
not wait for each other, be they of one topic or of two: each is moved by a task of its own.

While the worker has more to look up of a source than it can, what is due of it stays here: moved, it would only be
parked once more. So does what was parked for a partner that is down, until the partner can be asked again (see
``PartnerGate``). Either way a partition waits for what its first due record waits for. That holds up no other source:
each is parked on partitions of its own (``own_partitions``); only where there are fewer partitions than sources, or in
records of a release that had other sources, one may wait behind another, by the longest delay at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from stream import topics
from stream.batch_producer import BatchProducer
from stream.domain.availability import Availability, PartnerGate, partner_of
from stream.domain.headers import NOT_BEFORE, REROUTE
from stream.domain.leads import source_in
from stream.domain.parking import instant_of
from stream.kafka import positions, reached
from stream.logs import get_logger
from stream.outages import broker_failed

log = get_logger(__name__)

LONGEST_NAP = 1.0  # seconds between looks at what is paused
# Records are parked milliseconds apart, and come due so: they are moved together, not with a fetch each.
SHORTEST_WAIT = 0.25  # seconds
MOST_AT_ONCE = 500  # records
AT_ONCE = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wait:
    """What a paused partition waits for: the time ``until``, when its first record is due.

    Then room for its ``source``, or its ``partner``; "" for none.
    """

    until: datetime
    source: str = ""
    partner: str = ""


class RetryReader:
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
        self._consumer = consumer
        self._producer = producer
        self._now = now
        self._longest = longest
        self._busy = busy
        self._gate = gate or PartnerGate(lambda _: Availability.AVAILABLE, time.monotonic)
        self._waiting: dict[TopicPartition, Wait] = {}
        self._moving: dict[TopicPartition, asyncio.Task[None]] = {}
        consumer.subscribe([topic.name for topic in topics.RETRIES])

    async def run(self) -> None:
        """Read until cancelled; an unreachable broker only makes it wait."""
        try:
            while True:
                try:
                    await self._turn()
                except (KafkaError, OSError) as error:
                    broker_failed(log, "retry reader can't reach the broker", error)
                    await asyncio.sleep(LONGEST_NAP)
        finally:
            for task in self._moving.values():
                task.cancel()
            await asyncio.gather(*self._moving.values(), return_exceptions=True)

    async def _turn(self) -> None:
        self._collect()
        self._wake()
        await self._producer.wait_for_capacity()
        if self._moving:  # whatever was moved first lets its partition go on
            await asyncio.wait(self._moving.values(), timeout=SHORTEST_WAIT / 5, return_when=asyncio.FIRST_COMPLETED)
        nap = 0 if self._moving else self._nap()
        before = positions(self._consumer)
        batches = await self._consumer.getmany(timeout_ms=nap, max_records=MOST_AT_ONCE)
        for partition, position in reached(self._consumer, before, batches).items():
            try:
                self._begin(partition, batches.get(partition, []), position)
            except IllegalStateError:
                log.info("a retry partition was taken away while it was read", partition=str(partition))

    def _begin(self, partition: TopicPartition, records: list[ConsumerRecord], position: int) -> None:
        """Move the records; ``position``: the offset behind them, and behind what is no record, such as a marker."""
        if partition in self._moving:  # taken away and given back while its records are still on their way
            if records:
                self._wait(partition, records[0].offset, Wait(self._now()))
            return
        self._consumer.pause(partition)
        self._moving[partition] = asyncio.create_task(self._bring_back(partition, records, position))

    def _nap(self) -> int:
        """Milliseconds until something is due, or partitions may have come or gone."""
        now = self._now()
        # What is due and still waits, waits for room or for its partner: that is looked at after each nap.
        left = [(wait.until - now).total_seconds() for wait in self._waiting.values() if wait.until > now]
        return int(min([*left, LONGEST_NAP]) * 1000) + 1

    def _collect(self) -> None:
        """Let partitions go on whose records were moved. Raises what nobody foresaw."""
        for partition, task in list(self._moving.items()):
            if task.done():
                del self._moving[partition]
                task.result()
                self._waiting.setdefault(partition, Wait(self._now()))

    def _wake(self) -> None:
        assigned, now = self._consumer.assignment(), self._now()
        for partition, wait in list(self._waiting.items()):
            if partition not in assigned:
                del self._waiting[partition]
            elif wait.until <= now and not self._is_held(wait):
                del self._waiting[partition]
                self._consumer.resume(partition)

    def _is_held(self, wait: Wait) -> bool:
        """Whether what is due waits still: for room, or for its partner."""
        if wait.source and self._has_no_room(wait.source, wait.until):
            return True
        return (
            bool(wait.partner) and self._gate.room(wait.partner) == 0 and self._now() < wait.until + self._gate.longest
        )

    def _has_no_room(self, source: str, due: datetime) -> bool:
        return self._now() < due + self._longest and self._busy(source)

    def _why_not(self, record: ConsumerRecord, now: datetime) -> Wait | None:
        """What a record waits for; None when it may be moved, which counts for its partner."""
        due = self._due(record)
        if due > now:
            return Wait(max(due, now + timedelta(seconds=SHORTEST_WAIT)))
        source = source_in(record.value)
        if self._has_no_room(source, due):
            return Wait(due, source=source)
        partner = partner_of(_header(record, "reason"))
        if not partner or self._gate.take(partner) or now >= due + self._gate.longest:
            return None
        return Wait(due, partner=partner)

    async def _bring_back(self, partition: TopicPartition, records: list[ConsumerRecord], position: int) -> None:
        """Republish what is due, in order, and commit it once the broker has it all."""
        now = self._now()
        due: list[ConsumerRecord] = []
        try:
            for record in records:
                if wait := self._why_not(record, now):
                    self._wait(partition, record.offset, wait)
                    break
                due.append(record)
            await asyncio.gather(*(self._move(record) for record in due))
            if len(due) == len(records):
                await self._consumer.commit({partition: position})
            elif due:
                await self._consumer.commit({partition: due[-1].offset + 1})
        except (CommitFailedError, IllegalStateError):
            log.info("a retry partition was taken away; its records will be moved once more", partition=str(partition))
        except (KafkaError, OSError) as error:
            broker_failed(log, "retry reader can't commit; the next commit will", error)

    def _wait(self, partition: TopicPartition, offset: int, wait: Wait) -> None:
        self._consumer.pause(partition)
        self._consumer.seek(partition, offset)
        self._waiting[partition] = wait

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
