"""The insides of aiokafka that the producers lean on are the ones that ``producers/drain.py`` was written for."""

# ruff: noqa: SLF001 - the insides are the subject

from __future__ import annotations

import inspect

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.producer.sender import Sender


async def test_the_insides_are_where_they_are_looked_for() -> None:
    """A producer has one accumulator, which its sender drains; the sender knows to whom requests are under way."""
    producer = AIOKafkaProducer(enable_idempotence=True)
    accumulator, sender = producer._message_accumulator, producer._sender
    assert sender._message_accumulator is accumulator
    assert sender._in_flight == set()
    assert accumulator._exception is None
    assert not accumulator.waiter().done()
    assert list(inspect.signature(MessageAccumulator.drain_by_nodes).parameters) == [
        "self",
        "ignore_nodes",
        "muted_partitions",
    ]
    assert list(inspect.signature(MessageAccumulator._append_batch).parameters) == ["self", "builder", "tp"]
    producer._closed = True  # it was never started


def test_the_sender_asks_for_batches_whenever_a_request_has_ended() -> None:
    """Nobody wakes the sender while a broker is busy: it must come by itself, and nobody else may send."""
    routine = inspect.getsource(Sender._sender_routine)
    assert "self._message_accumulator.drain_by_nodes(\n" in routine
    assert "ignore_nodes=self._in_flight" in routine
    assert "muted_partitions=muted_partitions" in routine
    assert "waiters |= tasks" in routine
    assert "waiters.add(self._message_accumulator.waiter())" in routine
    assert "self._in_flight.remove(node_id)" in inspect.getsource(Sender._send_produce_req)


def test_a_batch_tells_its_end_and_the_end_of_the_sender_is_told() -> None:
    """The future of a batch ends on acknowledgement and on failure, also when the sender itself has failed."""
    for method in (MessageBatch.done, MessageBatch.failure):
        assert "self.future.set_" in inspect.getsource(method)
    assert "self._exception = exception" in inspect.getsource(MessageAccumulator.fail_all)
    assert "_message_accumulator.fail_all(" in inspect.getsource(Sender._fail_all)
    assert "set_producer_state(" in inspect.getsource(MessageAccumulator._pop_batch)
