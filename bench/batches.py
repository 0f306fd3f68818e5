"""The cost of the batch producer for one record, in this process, with a broker that acknowledges in the next tick.

The sides alternate in short chunks. A side's lower quartile counts, because other work on the machine only adds time.
``batches alone`` is the floor: aiokafka's encoding of the same batches, without queue, bound and acknowledgement.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from statistics import quantiles
from time import process_time
from types import SimpleNamespace
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder

from bench.leads import crowd, records, repeats
from bench.result import Options, Row
from producers.records import Record
from stream.kafka.batch_producer import BatchProducer, FailFast, RetryUntilShutdown
from stream.kafka.clients import MAX_BATCH_BYTES, partition_of

GOALS = ("no goal of its own: it explains `hits` and `publisher`",)
COMMAND = "python -m bench batches"
PARTITIONS = 8
TICK = 200  # records that the worker answers in one tick of the loop
SENDERS = 64  # requests in one tick of the producers' loop
CHUNK = 4_000  # records
ROUNDS = 40  # chunks of a side, a round
Side = Callable[[Sequence[Record]], Awaitable[None]]


class InstantProducer:
    """The part of aiokafka's producer that the batch producer uses."""

    def __init__(self) -> None:
        topics = {"webhooks": set(range(PARTITIONS))}
        cluster = SimpleNamespace(partitions_for_topic=topics.get, add_listener=lambda _: None)
        self.client = SimpleNamespace(cluster=cluster)

    def create_batch(self) -> BatchBuilder:
        """Create a real batch of the production size."""
        return BatchBuilder(MAX_BATCH_BYTES, 0)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[None]:
        """Acknowledge in the next tick."""
        del batch, topic, partition
        loop = asyncio.get_running_loop()
        acknowledged = loop.create_future()
        loop.call_soon(acknowledged.set_result, None)
        return acknowledged

    async def partitions_for(self, topic: str) -> set[int]:
        """The partitions, as the metadata would say."""
        return self.client.cluster.partitions_for_topic(topic)


async def sides() -> dict[str, Side]:
    """The ways to publish records, by name."""
    fake: Any = InstantProducer()
    of_worker, of_producers = BatchProducer(fake, RetryUntilShutdown()), BatchProducer(fake, FailFast())
    for one in (of_worker, of_producers):
        await one.load_metadata("webhooks")
    return {
        "worker": lambda chunk: enqueued(of_worker.enqueue, of_worker.flush, chunk),
        "producers": lambda chunk: published(of_producers.has_metadata, of_producers.enqueue_all, chunk),
        "batches alone": lambda chunk: encoded(fake, chunk),
    }


async def enqueued(enqueue: Callable[..., None], flush: Callable[[], Awaitable[None]], chunk: Sequence[Record]) -> None:
    """As the worker's agent: one callback for each record, some hundred records in a tick."""
    left = len(chunk)

    def acknowledged() -> None:
        nonlocal left
        left -= 1

    for tick in _ticks(chunk, TICK):
        for one in tick:
            enqueue("webhooks", one.key, one.value, one.headers, acknowledged)
        await asyncio.sleep(0)
    await flush()
    assert left == 0


async def published(
    knows: Callable[[Sequence[Record]], bool], enqueue_all: Callable[[Sequence[Record]], Any], chunk: Sequence[Record]
) -> None:
    """As the producers' requests: one awaited handle for each record."""
    for tick in _ticks(chunk, SENDERS):
        handles = []
        for one in tick:
            assert knows([one])
            handles.append(enqueue_all([one]))
        for handle in handles:
            await handle.result


async def encoded(producer: InstantProducer, chunk: Sequence[Record]) -> None:
    """The floor: encoding alone."""
    for tick in _ticks(chunk, TICK):
        batches = [producer.create_batch() for _ in range(PARTITIONS)]
        for one in tick:
            assert one.key is not None
            batch = batches[partition_of(one.key, PARTITIONS)]
            batch.append(timestamp=None, key=one.key, value=one.value, headers=one.headers)
        for number, batch in enumerate(batches):
            batch.close()
            await (await producer.send_batch(batch, "webhooks", partition=number))


async def run(options: Options) -> list[Row]:
    """Measure all sides."""
    made = records(repeats(crowd(CHUNK, options.seed), CHUNK, options.seed))
    costs = await in_turns(await sides(), made, options.rounds * max(int(ROUNDS * options.scale), 2))
    return [
        Row(f"a record, batched and acknowledged: {name}", low, "us/record", "", None, COMMAND, f"p10 {lowest:.2f}")
        for name, (lowest, low) in costs.items()
    ]


async def in_turns(sides: dict[str, Side], made: Sequence[Record], times: int) -> dict[str, tuple[float, float]]:
    """Microseconds of processor time for a record: first decile and first quartile of each side's chunks."""
    costs: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    gc.collect()
    gc.freeze()
    for number in range(times):
        for name in names if number % 2 else reversed(names):
            started = process_time()
            await sides[name](made)
            costs[name].append((process_time() - started) * 1e6 / len(made))
    gc.unfreeze()
    return {name: (quantiles(values, n=10)[0], quantiles(values, n=4)[0]) for name, values in costs.items()}


def _ticks(chunk: Sequence[Record], size: int) -> list[Sequence[Record]]:
    return [chunk[first : first + size] for first in range(0, len(chunk), size)]
