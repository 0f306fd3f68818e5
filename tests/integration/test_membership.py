"""Static members that are removed when the deployment scales down, on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from aiokafka import AIOKafkaConsumer

from stream.kafka.clients import client_options, open_admin
from stream.kafka.static_members import remove_members
from stream.settings import Settings
from stream.topics import WEBHOOKS, WORKER_GROUP
from tests.support.enriched import command, until

SESSION = 240.0  # seconds; far above what the tests wait


@asynccontextmanager
async def member(settings: Settings, group: str, name: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A static member of a group, which stays a member after its end."""
    consumer = AIOKafkaConsumer(
        WEBHOOKS.name,
        **client_options(settings),
        group_id=group,
        group_instance_id=name,
        enable_auto_commit=False,
        session_timeout_ms=int(SESSION * 1000),
        heartbeat_interval_ms=200,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read_until_assigned(consumer: AIOKafkaConsumer, partitions: int) -> None:
    async def assigned() -> bool:
        await consumer.getmany(timeout_ms=50)
        return len(consumer.assignment()) == partitions

    await until(assigned)


async def test_a_removed_member_loses_its_partitions_at_once(broker: Settings, group: str) -> None:
    """An ended static member keeps its partitions; after its removal another member has all of them."""
    async with member(broker, group, "stays") as stays:
        await read_until_assigned(stays, 4)
        async with member(broker, group, "goes") as goes:
            await asyncio.gather(read_until_assigned(stays, 2), read_until_assigned(goes, 2))
        async with open_admin(broker) as admin:
            assert await remove_members(admin, group, ["goes", "nobody"]) == {"goes": True, "nobody": False}
        async with asyncio.timeout(SESSION / 2):
            await read_until_assigned(stays, 4)


async def test_a_removed_member_that_runs_joins_again(broker: Settings, group: str) -> None:
    """Removing a running worker by mistake costs a rebalance and nothing else."""
    async with member(broker, group, "alive") as alive, open_admin(broker) as admin:
        await read_until_assigned(alive, 4)
        assert await remove_members(admin, group, ["alive"]) == {"alive": True}

        async def is_member_again() -> bool:
            await alive.getmany(timeout_ms=50)
            (answer,) = await admin.describe_consumer_groups([group])
            return bool(answer.groups[0][5]) and len(alive.assignment()) == 4

        await until(is_member_again)


async def test_the_command_reports_each_name(broker: Settings) -> None:
    """The command prints the status of each name, and exits with 1 if one is no member."""
    async with member(broker, WORKER_GROUP, "worker-3") as goes:
        await read_until_assigned(goes, 4)
    assert await command(broker, "leave", "worker-3") == (0, "worker-3: left\n", "")
    code, said, _ = await command(broker, "leave", "worker-3", "--json")
    assert (code, orjson.loads(said)) == (1, {"worker-3": False})
