"""The retry reader on a real broker while a provider is down: webhooks parked for it wait, others come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiokafka import AIOKafkaConsumer

from stream import topics
from stream.domain.availability import MAX_HOLD, Availability, PartnerGate
from stream.domain.parking import Parking
from stream.kafka.batch_producer import BatchProducer, RetryUntilShutdown
from stream.kafka.clients import open_consumer, open_producer
from stream.settings import Settings
from stream.worker.retry_reader import RetryReader
from tests.integration.test_retry import FIRST, LONGEST, Clock, back, stands, until_back, waits
from tests.support.enriched import until

NAMES = [f"w{number}" for number in range(30)]


class World:
    """Providers in the state that a test sets."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.down: dict[str, Availability] = {"diretrix": Availability.UNAVAILABLE}
        self.seconds = 0.0
        self.gate = PartnerGate(self._availability, lambda: self.seconds)

    def _availability(self, name: str) -> Availability:
        return self.down.get(name, Availability.AVAILABLE)


@pytest.fixture
def world() -> World:
    return World(Clock())


async def park(settings: Settings, world: World, reason: str, names: list[str] = NAMES) -> None:
    """Park webhooks that are due in half a minute, each named by its key."""
    async with open_producer(settings) as producer:
        for name in names:
            headers = Parking(1, world.clock(), world.clock() + timedelta(seconds=30), 0).headers(reason)
            await producer.send_and_wait(FIRST.name, name.encode(), key=name.encode(), headers=headers)


@asynccontextmanager
async def reader(settings: Settings, world: World) -> AsyncIterator[AIOKafkaConsumer]:
    """A running reader behind the gate; yields its consumer."""
    async with open_producer(settings) as kafka_producer, open_consumer(settings, None, topics.RETRY_GROUP) as consumer:
        producer = BatchProducer(kafka_producer, RetryUntilShutdown())
        await producer.load_metadata(topics.WEBHOOKS.name)
        one = RetryReader(consumer, producer, world.clock, LONGEST, lambda _: False, world.gate)
        running = asyncio.create_task(one.run())
        try:
            yield consumer
            assert not running.done(), running.exception()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await producer.close()


async def looked(world: World) -> None:
    """Wait until the reader has checked the waiting webhooks a few times."""
    looks = 0
    room = world.gate.room

    def counted(partner: str) -> int | None:
        nonlocal looks
        looks += 1
        return room(partner)

    world.gate.room = counted  # type: ignore[method-assign]

    async def often() -> bool:
        return looks > 10

    await until(often)
    world.gate.room = room  # type: ignore[method-assign]


async def test_one_webhook_tries_a_provider_before_the_others(broker: Settings, world: World) -> None:
    """While the provider is down none moves; then one comes back, and after an answer of the provider all of them."""
    await park(broker, world, "diretrix: the breaker is open")
    async with reader(broker, world) as consumer:
        await waits(consumer, 4)
        world.clock.at += timedelta(seconds=31)
        await looked(world)
        assert (await back(broker), await stands(broker)) == ([], 0)
        world.down["diretrix"] = Availability.TRIAL
        assert len(await until_back(broker, 1)) == 1
        await looked(world)
        assert len(await back(broker)) == 1
        world.down.clear()
        assert await until_back(broker, len(NAMES)) == sorted(NAMES)
        assert len(consumer.assignment()) == len(topics.RETRIES) * 4  # it has been a member all the while


async def test_webhooks_parked_for_other_reasons_come_back(broker: Settings, world: World) -> None:
    """A provider that is down delays webhooks parked for it, and those behind them in their partition."""
    for number, reason in enumerate(("work: status 500", "database: OSError", "queue", "deadline")):
        await park(broker, world, reason, NAMES[number::4])
    async with reader(broker, world) as consumer:
        await waits(consumer, 4)
        world.clock.at += timedelta(seconds=31)
        assert await until_back(broker, len(NAMES)) == sorted(NAMES)


async def test_a_webhook_does_not_wait_for_a_provider_forever(broker: Settings, world: World) -> None:
    """It comes back while its retry headers are still trusted, so that its age can end it."""
    await park(broker, world, "diretrix: status 503")
    async with reader(broker, world) as consumer:
        await waits(consumer, 4)
        world.clock.at += timedelta(seconds=31)
        await looked(world)
        assert await back(broker) == []
        world.clock.at += MAX_HOLD
        assert await until_back(broker, len(NAMES)) == sorted(NAMES)


async def test_a_restart_finds_waiting_webhooks(broker: Settings, world: World) -> None:
    """Waiting webhooks are not committed, and a stop does not wait for the provider."""
    await park(broker, world, "diretrix: the breaker is open")
    async with reader(broker, world) as consumer:
        await waits(consumer, 4)
        world.clock.at += timedelta(seconds=31)
        await looked(world)
    world.down.clear()
    async with reader(broker, world):
        assert await until_back(broker, len(NAMES)) == sorted(NAMES)
