"""A Kafka consumer in memory, and a consumer loop that runs on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer.subscription_state import SubscriptionState
from prometheus_client import REGISTRY

from stream.kafka.clients import positions
from stream.kafka.consumer_loop import ConsumerLoop, ConsumerSpec, RecordHandler

FIRST, SECOND = TopicPartition("events", 0), TopicPartition("events", 1)
SPEC = ConsumerSpec("test", ("events",), commit_every=0.0, grace=0.0)
MARKER = None


class MemoryConsumer:
    """aiokafka's consumer as far as the loop uses it: its own positions on logs that a test writes."""

    def __init__(self, *partitions: TopicPartition) -> None:
        self.logs: dict[TopicPartition, list[ConsumerRecord | None]] = {one: [] for one in partitions}
        self.committed: dict[TopicPartition, int] = {}
        self.commits = 0
        self.commit_error: Exception | None = None
        self.read_error: Exception | None = None
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.is_asked_for_ends = False
        self._subscription = SubscriptionState()

    def subscribe(self, topics: list[str], listener: Any) -> None:
        """Keep the listener."""
        self.topics = topics
        self.listener = listener

    async def assign(self) -> None:
        """Assign all partitions from their committed offsets, as at the end of a rebalance."""
        self._subscription.assign_from_user(set(self.logs))
        for partition in self.logs:
            self._state(partition).seek(self.committed.get(partition, 0))
        await self.listener.on_partitions_assigned(list(self.logs))

    def write(self, partition: TopicPartition, *values: str | None) -> None:
        """Append records, each keyed by the first letter of its value, and markers."""
        for value in values:
            offset, at = len(self.logs[partition]), int(time.time() * 1000)
            self.logs[partition].append(
                None
                if value is None
                else ConsumerRecord(*partition, offset, at, 0, value[:1].encode(), value.encode(), None, 1, 1, ())
            )

    async def getmany(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Read on; wait if there is nothing to read."""
        await self.may_read.wait()
        if self.read_error is not None:
            raise self.read_error
        found: dict[TopicPartition, list[ConsumerRecord]] = {}
        for partition in sorted(self.assignment() - self.paused()):
            state = self._state(partition)
            for entry in self.logs[partition][state.position :]:
                if sum(map(len, found.values())) == max_records:
                    break
                state.consumed_to(state.position + 1)
                if entry is not None:
                    found.setdefault(partition, []).append(entry)
        if not found:
            await asyncio.sleep(min(timeout_ms, 5) / 1000)
        return found

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """Commit offsets when the test allows it."""
        self.commits += 1
        await self.may_commit.wait()
        if self.commit_error is not None:
            raise self.commit_error
        self.committed.update(offsets)

    async def end_offsets(self, partitions: AbstractSet[TopicPartition]) -> dict[TopicPartition, int]:
        """The ends of the logs."""
        self.is_asked_for_ends = True
        return {partition: len(self.logs[partition]) for partition in partitions}

    def last_stable_offset(self, partition: TopicPartition) -> int:
        """None, as for a partition that is not fetched."""
        del partition
        return -1

    def assignment(self) -> AbstractSet[TopicPartition]:
        """All partitions."""
        return self._subscription.assigned_partitions()

    def paused(self) -> AbstractSet[TopicPartition]:
        """The paused partitions."""
        paused: AbstractSet[TopicPartition] = self._subscription.paused_partitions()
        return paused

    def pause(self, *partitions: TopicPartition) -> None:
        """Stop reading these partitions."""
        for partition in partitions:
            self._subscription.pause(partition)

    def resume(self, *partitions: TopicPartition) -> None:
        """Read these partitions again."""
        for partition in partitions:
            self._subscription.resume(partition)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Move to an offset."""
        self._subscription.seek(partition, offset)

    def _state(self, partition: TopicPartition) -> Any:
        return self._subscription.subscription.assignment.state_value(partition)


@asynccontextmanager
async def running(
    consumer: MemoryConsumer, handler: RecordHandler, spec: ConsumerSpec = SPEC
) -> AsyncIterator[tuple[asyncio.Task[None], asyncio.Event]]:
    """A running loop and its stop event. The loop is stopped at the end."""
    stop = asyncio.Event()
    loop: Any = ConsumerLoop(consumer, spec, handler)  # type: ignore[arg-type]
    await consumer.assign()
    task = asyncio.create_task(loop.run(stop))
    try:
        yield task, stop
    finally:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)


def metric(name: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"group": "test"})


def position(consumer: MemoryConsumer, partition: TopicPartition) -> int:
    at: int = positions(consumer)[partition]
    return at
