"""Brings parked webhooks back: when a record of ``webhooks.retry`` is due, it goes to ``webhooks`` again.

A plain consumer of a group of its own. A partition whose first record is not due is paused until it is,
and that record is read again then: nothing unfinished is held while it waits, so restarts keep it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from stream import topics
from stream.engine.emitter import Emitter
from stream.logs import get_logger

log = get_logger(__name__)

LONGEST_NAP = 1.0  # seconds between looks at what is paused


class RetryReader:
    """Moves due records from the retry topic back to ``webhooks``."""

    def __init__(self, consumer: AIOKafkaConsumer, emitter: Emitter, now: Callable[[], datetime]) -> None:
        self._consumer = consumer
        self._emitter = emitter
        self._now = now
        self._paused: dict[TopicPartition, datetime] = {}

    async def run(self) -> None:
        """Read until cancelled; an unreachable broker only makes it wait."""
        while True:
            try:
                await self._turn()
            except (KafkaError, OSError) as error:
                log.warning("retry reader can't reach the broker", error=type(error).__name__)
                await asyncio.sleep(LONGEST_NAP)

    async def _turn(self) -> None:
        self._resume_due()
        batches = await self._consumer.getmany(timeout_ms=int(LONGEST_NAP * 1000), max_records=100)
        for partition, records in batches.items():
            await self._bring_back(partition, records)

    def _resume_due(self) -> None:
        assigned = self._consumer.assignment()
        now = self._now()
        for partition, due in list(self._paused.items()):
            if partition not in assigned:
                del self._paused[partition]
            elif due <= now:
                del self._paused[partition]
                self._consumer.resume(partition)

    async def _bring_back(self, partition: TopicPartition, records: list[ConsumerRecord]) -> None:
        """Republish what is due, in order, and commit it once the broker has it all."""
        moved: list[asyncio.Future[None]] = []
        last = None
        try:
            for record in records:
                due = not_before(record)
                if due > self._now():
                    self._consumer.pause(partition)
                    self._consumer.seek(partition, record.offset)
                    self._paused[partition] = due
                    break
                moved.append(self._move(record))
                last = record.offset
            await asyncio.gather(*moved)
            if last is not None:
                await self._consumer.commit({partition: last + 1})
        except (CommitFailedError, IllegalStateError):
            log.info(
                "retry partition was taken away; its records will be moved once more", partition=partition.partition
            )

    def _move(self, record: ConsumerRecord) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        headers = [(name, value) for name, value in record.headers if name != "reroute"]
        self._emitter.emit(topics.WEBHOOKS.name, record.key, record.value, headers, lambda: done.set_result(None))
        return done


def not_before(record: ConsumerRecord) -> datetime:
    """When a record is due; one without a readable time is due at once."""
    for name, value in record.headers:
        if name == "not-before":
            try:
                due = datetime.fromisoformat(value.decode())
            except ValueError:
                break
            return due if due.tzinfo is not None else due.replace(tzinfo=UTC)
    return datetime.min.replace(tzinfo=UTC)
