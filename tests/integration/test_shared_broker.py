"""A shared broker keeps nothing of a test, a demo or a test run that has ended."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from stream.kafka.clients import open_admin, open_producer
from stream.local.processes import Child
from stream.local.stack import Stack
from stream.ops.groups import members
from stream.settings import Settings
from stream.topics import WEBHOOKS, WORKER_GROUP
from tests.integration.test_membership import member, read_until_assigned
from tests.support.broker import lock_broker, recreate_topics
from tests.support.enriched import everything
from tests.support.waiting import until_true


async def who(settings: Settings) -> list[str]:
    """The members of the worker's group."""
    async with open_admin(settings) as admin:
        return await members(admin, WORKER_GROUP)


async def test_a_broker_is_given_to_a_test_without_members_and_records(broker: Settings) -> None:
    """A static member of an earlier test would stay and pass its partitions to the next."""
    async with open_producer(broker) as producer:
        await producer.send_and_wait(WEBHOOKS.name, b"left")
    async with member(broker, WORKER_GROUP, "left") as left:
        await read_until_assigned(left, broker.topic_partitions)
    assert len(await who(broker)) == 1
    await recreate_topics(broker)
    assert await who(broker) == []
    assert await everything(broker, WEBHOOKS.name) == []


async def test_a_stack_leaves_the_group_of_a_broker_that_stays(
    broker: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a stack has stopped its workers are no members, and other members stay."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.kafka_bootstrap_servers)
    stack = Stack(lambda _: None)
    stack.children["worker"] = Child("worker", ["none"], {}, tmp_path)
    stack.children["worker-2"] = Child("worker-2", ["none"], {}, tmp_path)  # was never a member
    async with member(broker, WORKER_GROUP, "another") as another:
        await read_until_assigned(another, broker.topic_partitions)
        async with member(broker, WORKER_GROUP, stack.instance("worker")) as ours:
            half = broker.topic_partitions // 2
            await asyncio.gather(read_until_assigned(ours, half), read_until_assigned(another, half))
        assert len(await who(broker)) == 2
        await asyncio.to_thread(stack.stop)
        (left,) = await who(broker)
    assert left.startswith("another")


async def test_one_test_run_uses_a_broker_at_a_time(broker: Settings) -> None:
    """A second run prints that it waits, and goes on when the first has ended."""
    said: list[str] = []
    address = broker.kafka_bootstrap_servers
    # Of another name: this very run may have its turn.
    take = partial(lock_broker, say=said.append, who=f"test-{uuid4()}")
    first = await asyncio.to_thread(take, address)
    assert said == []
    waiting = asyncio.create_task(asyncio.to_thread(take, address.replace("127.0.0.1", "localhost")))
    await until_true(lambda: bool(said), "the second run to say that it waits")
    assert "another run of the tests uses the broker" in said[0]
    assert not waiting.done()
    first.close()
    (await waiting).close()
    assert "going on" in said[-1]
