"""Reads, redrives and drops dead letters.

The topic has one partition, so one read from its beginning finds the open letters. A redrive publishes the letter, and
publishes its marker only after the broker has acknowledged it. If the process is killed in between, the letter stays
open; a second redrive publishes the same identity again, which consumers drop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from stream.domain.dead_letters import (
    DeadLetter,
    DeadLetterFilter,
    DeadLetterStatus,
    marker,
    read_dead_letter,
    read_marker,
)
from stream.domain.errors import PoisonError, StopError
from stream.domain.redrive import RedrivenRecord, redriven_record
from stream.kafka.clients import consumer_options, open_producer, start_client
from stream.settings import Settings
from stream.topics import DEAD

PARTITION = TopicPartition(DEAD.name, 0)
PUBLISH_BATCH_RECORDS = 200  # records that are published before their acknowledgements are awaited
POLL_TIMEOUT_MS = 200
STALL_TIMEOUT_S = 30.0  # without a record; after it the broker counts as away


@dataclass(frozen=True, slots=True)
class RedrivePlan:
    """What a redrive would do, or did. ``hopeless``: offsets of letters that would fail again, and why."""

    letters: tuple[DeadLetter, ...]
    hopeless: dict[int, str]

    @property
    def redriven(self) -> tuple[DeadLetter, ...]:
        """The letters that are published."""
        return tuple(letter for letter in self.letters if letter.offset not in self.hopeless)


class DeadLetterQueue:
    """The topic of dead letters."""

    def __init__(self, settings: Settings, denied_aliases: frozenset[str], now: Callable[[], datetime]) -> None:
        """``denied_aliases``: as ``parse_denylist`` returns them. ``now``: the clock for the markers."""
        self._settings = settings
        self._denied_aliases = denied_aliases
        self._area_code = settings.default_area_code
        self._now = now

    async def find(self, selected: DeadLetterFilter) -> list[DeadLetter]:
        """The letters that the filter selects, oldest first, each with its status."""
        letters: dict[int, DeadLetter] = {}
        async for record in _records(self._settings):
            closed = read_marker(record.headers)
            if closed is None:
                letters[record.offset] = letter_of(record)
            elif closed[0] in letters:
                letters[closed[0]] = replace(letters[closed[0]], status=closed[1])
        return [letter for letter in letters.values() if selected.matches(letter)]

    async def values(self, letters: Sequence[DeadLetter]) -> AsyncIterator[tuple[DeadLetter, bytes | None]]:
        """Each letter with its bytes, one at a time, because all of them may not fit into memory."""
        by_offset = {letter.offset: letter for letter in letters}
        if not by_offset:
            return
        async for record in _records(self._settings, min(by_offset), max(by_offset)):
            if record.offset in by_offset:
                yield by_offset[record.offset], record.value

    async def plan(self, letters: Sequence[DeadLetter]) -> RedrivePlan:
        """Find out what a redrive of ``letters`` would do."""
        hopeless = {}
        async for letter, value in self.values(letters):
            try:
                redriven_record(letter, value, self._denied_aliases, self._area_code)
            except PoisonError as error:
                hopeless[letter.offset] = str(error)
        return RedrivePlan(tuple(letters), hopeless)

    async def redrive(self, plan: RedrivePlan) -> None:
        """Carry a plan out: publish each letter, then its marker."""
        async with open_producer(self._settings) as producer:
            waiting: list[tuple[DeadLetter, RedrivenRecord]] = []
            async for letter, value in self.values(plan.redriven):
                waiting.append((letter, redriven_record(letter, value, self._denied_aliases, self._area_code)))
                if len(waiting) == PUBLISH_BATCH_RECORDS:
                    await self._publish(producer, waiting)
                    waiting = []
            await self._publish(producer, waiting)

    async def _publish(self, producer: AIOKafkaProducer, revived: Sequence[tuple[DeadLetter, RedrivenRecord]]) -> None:
        publishing = []
        for _, one in revived:
            partition = await _original_partition(producer, one)
            publishing.append(
                await producer.send(one.topic, value=one.value, key=one.key, headers=one.headers, partition=partition)
            )
        await asyncio.gather(*publishing)
        await self._close(producer, [letter for letter, _ in revived], DeadLetterStatus.REDRIVEN)

    async def drop(self, letters: Sequence[DeadLetter]) -> None:
        """Close letters for good. Their bytes stay until retention removes them."""
        async with open_producer(self._settings) as producer:
            await self._close(producer, letters, DeadLetterStatus.DROPPED)

    async def _close(self, producer: AIOKafkaProducer, letters: Iterable[DeadLetter], status: DeadLetterStatus) -> None:
        at = self._now()
        publishing = [
            await producer.send(DEAD.name, value=b"", headers=marker(letter.offset, status, at), partition=0)
            for letter in letters
        ]
        await asyncio.gather(*publishing)


def letter_of(record: ConsumerRecord) -> DeadLetter:
    """Read a record of ``webhooks.dead`` as a letter."""
    written = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    return read_dead_letter(record.offset, record.key, record.value, record.headers, written)


async def _original_partition(producer: AIOKafkaProducer, one: RedrivenRecord) -> int | None:
    """The letter's original partition if the topic still has it, otherwise None: its key selects one."""
    partitions = await producer.partitions_for(one.topic)
    return one.partition if one.partition in partitions else None


async def _records(settings: Settings, first: int = 0, last: int | None = None) -> AsyncIterator[ConsumerRecord]:
    """The records of ``webhooks.dead`` from ``first`` to ``last``, or to its present end.

    Raises StopError if the topic is missing or the broker returns no record for ``STALL_TIMEOUT_S``.
    """
    async with _open_reader(settings) as consumer:
        begin = max(first, (await consumer.beginning_offsets([PARTITION]))[PARTITION])
        end = (await consumer.end_offsets([PARTITION]))[PARTITION]
        end = end if last is None else min(end, last + 1)
        consumer.seek(PARTITION, begin)
        position, moved_at = begin, time.monotonic()
        while position < end:
            batch = (await consumer.getmany(timeout_ms=POLL_TIMEOUT_MS)).get(PARTITION, [])
            previous, position = position, await consumer.position(PARTITION)
            if position != previous:  # it also moves past transaction markers and aborted records
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > STALL_TIMEOUT_S:
                raise StopError(f"the broker gave no record of {DEAD.name} for {STALL_TIMEOUT_S:.0f} s")
            for record in batch:
                if record.offset >= end:
                    return
                yield record


@asynccontextmanager
async def _open_reader(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(**consumer_options(settings), enable_auto_commit=False)
    try:
        await start_client(consumer, settings)
        if DEAD.name not in await consumer.topics():
            raise StopError(f"there is no topic {DEAD.name}. Run: python -m stream topics")
        consumer.assign([PARTITION])
        yield consumer
    finally:
        await consumer.stop()
