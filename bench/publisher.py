"""The cost of publishing for the producers: their publisher and aiokafka's ``send``, in this process, on a real broker.

There is no HTTP, so nothing hides the cost. 64 senders each publish their next webhooks as soon as the broker has the
previous ones. The result is this process's processor time for a webhook; the sides alternate.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from statistics import median

from bench.leads import crowd, records, repeats
from bench.result import Options, Row
from bench.sides import stage
from producers.publisher import PRODUCER_OPTIONS, BrokerUnavailableError, open_publisher
from producers.records import Record
from stream.kafka.clients import open_producer
from stream.settings import Settings

GOALS = ("no goal of its own: it explains the receiver",)
COMMAND = "python -m bench publisher"
WEBHOOKS = 20_000
PEOPLE = 5_000
SENDERS = 64
SIZES = (1, 100)  # webhooks a body
Publish = Callable[[Sequence[Record]], Awaitable[None]]


async def run(options: Options) -> list[Row]:
    """Publish everything once for each round and side."""
    count = int(WEBHOOKS * options.scale)
    made = records(repeats(crowd(min(PEOPLE, count), options.seed), count, options.seed))
    costs: dict[tuple[int, str], list[float]] = {}
    async with stage() as stack:
        for number in range(options.rounds):
            for size in SIZES:
                for name, side in (("producers", ours), ("send and gather", plain)):
                    async with side(stack.settings()) as publish:
                        cost = await _cost(publish, made, size)
                    costs.setdefault((size, name), []).append(cost)
                    print(f"round {number + 1}: {name}, {size} a body: {cost:.1f} us", file=sys.stderr)
    return [
        Row(
            f"publish, {size} a body: {name}",
            median(values),
            "us/webhook",
            "",
            None,
            COMMAND,
            f"{min(values):.1f}..{max(values):.1f} in {len(values)} rounds",
        )
        for (size, name), values in costs.items()
    ]


async def _cost(publish: Publish, made: list[Record], size: int) -> float:
    await publish(made[:size])  # connected, topics known
    bodies = iter([made[begin : begin + size] for begin in range(0, len(made), size)])

    async def sender() -> None:
        for body in bodies:
            await publish(body)

    before = time.process_time()
    await asyncio.gather(*(sender() for _ in range(SENDERS)))
    return (time.process_time() - before) * 1e6 / len(made)


@asynccontextmanager
async def ours(settings: Settings) -> AsyncIterator[Publish]:
    """The producers' publisher, once it is connected."""
    async with open_publisher(settings, 5) as publisher:

        async def publish(body: Sequence[Record]) -> None:
            while True:
                try:
                    return await publisher.publish(body)
                except BrokerUnavailableError:
                    await asyncio.sleep(0.1)

        yield publish


@asynccontextmanager
async def plain(settings: Settings) -> AsyncIterator[Publish]:
    """``send`` for each record, all awaited together; the same producer."""
    async with open_producer(settings, **PRODUCER_OPTIONS) as producer:

        async def publish(body: Sequence[Record]) -> None:
            sent = [
                await producer.send(one.topic, value=one.value, key=one.key, headers=list(one.headers)) for one in body
            ]
            await asyncio.gather(*sent)

        yield publish
