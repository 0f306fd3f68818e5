"""Measures for how long another producer's open transaction has blocked partitions.

A consumer of committed records reads nothing behind the last stable offset, which is the first record of a transaction
that is neither committed nor aborted. The broker aborts it after the producer's ``transaction.timeout.ms``, which is 15
minutes at most unless ``transaction.max.timeout.ms`` is raised. Until then all later records of the partition wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.kafka.clients import positions


class OpenTransactions:
    """Updated after each fetch, in the consumer's thread. ``seconds`` may be called in any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[tuple[TopicPartition, int], float] = {}  # by partition and last stable offset

    def observe(self, consumer: AIOKafkaConsumer, fetched: Container[TopicPartition]) -> None:
        """Note the partitions whose stable records are all read while more records follow.

        ``fetched``: the partitions that are fetched now; the client knows nothing new about others.
        """
        now, blocked = self._clock(), {}
        for partition, position in positions(consumer).items():
            stable, end = consumer.last_stable_offset(partition), consumer.highwater(partition)
            if partition in fetched and stable is not None and end is not None and 0 <= stable <= position < end:
                blocked[partition, stable] = self._since.get((partition, stable), now)
        self._since = blocked

    def seconds(self) -> float:
        """Seconds since the oldest open transaction was first seen; 0 if there is none."""
        since = self._since
        return self._clock() - min(since.values()) if since else 0.0
