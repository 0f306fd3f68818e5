"""For how long another producer's open transaction has held partitions back.

A reader of committed records gets nothing behind the last stable offset: the first record of a transaction that is
neither committed nor aborted. The broker aborts it after the producer's ``transaction.timeout.ms``, 15 minutes at most
unless ``transaction.max.timeout.ms`` says otherwise. Until then all later records of the partition wait, whoever
wrote them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.kafka.clients import positions


class OpenTransactions:
    """Looked at after each fetch, in the consumer's thread; ``seconds`` may be asked for in any."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[tuple[TopicPartition, int], float] = {}  # by partition and last stable offset

    def observe(self, consumer: AIOKafkaConsumer, fetched: Container[TopicPartition]) -> None:
        """Note the partitions of which all stable records are read, and more lie behind them.

        ``fetched``: the partitions that are fetched now; of others the client has no news.
        """
        now, blocked = self._clock(), {}
        for partition, position in positions(consumer).items():
            stable, end = consumer.last_stable_offset(partition), consumer.highwater(partition)
            if partition in fetched and stable is not None and end is not None and 0 <= stable <= position < end:
                blocked[partition, stable] = self._since.get((partition, stable), now)
        self._since = blocked

    def seconds(self) -> float:
        """Seconds since the oldest one was first seen; 0 while none is open."""
        since = self._since
        return self._clock() - min(since.values()) if since else 0.0
