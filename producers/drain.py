"""Where aiokafka takes batches from us: at the moment at which a broker is free for them, and no earlier.

``send_batch`` wants a batch whole and closed; its acknowledgement comes back through a shield, and the next one needs
a task to be made. Each of these is a turn of the loop that also reads what the sockets hold, while the broker stands
idle. So aiokafka's sender is given batches where it looks for them. Of its insides this is all that we touch; the
version is pinned, and tests/unit/test_aiokafka_pin.py holds this file to it (ADR 9).
"""

# ruff: noqa: SLF001 - the insides are the subject

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from copy import copy
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

NOTHING: frozenset[TopicPartition] = frozenset()
# Hands over (``Drain.put``) what may leave now: to no broker of the first, of no partition of the second.
Fill = Callable[[Collection[int], Collection[TopicPartition]], None]


class Drain:
    """The sender of one producer, which asks ``fill`` before it looks for batches."""

    def __init__(self, producer: AIOKafkaProducer, fill: Fill) -> None:
        self._accumulator: Any = producer._message_accumulator
        self._in_flight: Collection[int] = producer._sender._in_flight
        self._fill = fill
        self._take = self._accumulator.drain_by_nodes
        self._accumulator.drain_by_nodes = self._drain

    def check(self) -> None:
        """Raise a KafkaError where the sender has ended by one: nobody will come for batches."""
        if self._accumulator._exception is not None:
            raise copy(self._accumulator._exception)

    def is_free(self, broker: int | None) -> bool:
        """Whether nothing is under way to a broker: then the sender must be woken, else it comes by itself."""
        return broker not in self._in_flight

    def wake(self) -> None:
        """Let the sender look for batches; in the next turns of the loop."""
        waiter = self._accumulator.waiter()
        if not waiter.done():
            waiter.set_result(None)

    def put(self, batch: BatchBuilder, partition: TopicPartition) -> asyncio.Future[object]:
        """Hand over a batch; what is returned ends when the broker has it or refuses it."""
        future: asyncio.Future[object] = self._accumulator._append_batch(batch, partition).future
        return future

    def _drain(
        self, ignore_nodes: Collection[int], muted_partitions: Collection[TopicPartition] = NOTHING
    ) -> tuple[dict[int, Any], bool]:
        self._fill(ignore_nodes, muted_partitions)
        taken: tuple[dict[int, Any], bool] = self._take(ignore_nodes, muted_partitions)
        return taken
