"""The lag of a consumer group: records that are written and not completed.

The client learns the end of a partition from its fetches, but it does not fetch a paused partition. So the lag is
measured from the broker's end offsets as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream import metrics
from stream.kafka.clients import positions
from stream.kafka.offset_tracker import Trackers

END_OFFSETS_EVERY_S = 5.0


class ConsumerLag:
    """The lag of the partitions that are assigned to one consumer."""

    def __init__(self, consumer: AIOKafkaConsumer, trackers: Trackers) -> None:
        self._consumer = consumer
        self._trackers = trackers
        self._ends: dict[TopicPartition, int] = {}  # last stable offsets, from the broker's last answer

    async def measure_for_ever(self) -> None:
        """Request the end offsets every ``END_OFFSETS_EVERY_S``; keep the known ones while the broker is away."""
        while True:
            with suppress(KafkaError, OSError):  # the consumer loop logs that the broker is away
                if assigned := self._consumer.assignment():
                    self._ends = await self._consumer.end_offsets(assigned)
            await asyncio.sleep(END_OFFSETS_EVERY_S)

    def records(self) -> int:
        """Number of offsets from the first record that is not completed to the end; transaction markers count."""
        return sum(self._behind(partition, position) for partition, position in positions(self._consumer).items())

    def _behind(self, partition: TopicPartition, position: int) -> int:
        tracker = self._trackers.of((partition.topic, partition.partition))
        at = tracker.watermark if tracker is not None else None
        end = max(self._ends.get(partition, 0), self._consumer.last_stable_offset(partition) or 0)
        return max(end - (position if at is None else at), 0)

    @contextmanager
    def published(self, group: str, oldest_age: Callable[[], float]) -> Iterator[None]:
        """Publish the metrics of ``group`` within the context. ``oldest_age`` returns seconds."""
        metrics.CONSUMER_LAG.labels(group).set_function(self.records)
        metrics.CONSUMER_OLDEST.labels(group).set_function(oldest_age)
        try:
            yield
        finally:
            metrics.CONSUMER_LAG.remove(group)
            metrics.CONSUMER_OLDEST.remove(group)
