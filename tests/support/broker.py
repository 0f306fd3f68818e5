"""The broker that tests share: each test gets it empty, and one test run uses it at a time."""

from __future__ import annotations

import asyncio
import fcntl
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

import stamina
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from stream.kafka.clients import open_admin
from stream.kafka.static_members import leave
from stream.ops.topics import create_missing
from stream.settings import Settings, load
from stream.topics import ALL, GROUPS, RETRY_GROUP
from tests.support.waiting import LIMIT, until

PARTITIONS = 4
CLUSTER_ID_TIMEOUT_S = 20.0  # seconds in which a broker that is given must answer
OUR_GROUPS = (*GROUPS, RETRY_GROUP)


def settings_of(servers: str, partitions: int = PARTITIONS) -> Settings:
    """Settings for a broker."""
    return load({"KAFKA_BOOTSTRAP_SERVERS": servers, "TOPIC_PARTITIONS": str(partitions)})


async def make_topics(settings: Settings) -> None:
    """Create our topics and wait until they accept records; existing ones do not change."""
    async with open_admin(settings) as admin:
        await create_missing(admin, settings)


async def recreate_topics(settings: Settings) -> None:
    """Create all our topics empty, with no member in any of our groups."""
    async with emptied(settings) as admin:
        await create_missing(admin, settings)


@asynccontextmanager
async def emptied(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A broker without members, topics and committed offsets of ours."""
    async with open_admin(settings) as admin:
        for group in OUR_GROUPS:
            await remove_all_members(admin, group)
        await remove_topics(admin)
        yield admin


@stamina.retry(on=GroupCoordinatorNotAvailableError, timeout=LIMIT, attempts=None)
async def remove_all_members(admin: AIOKafkaAdminClient, group: str) -> None:
    """Remove the members that earlier tests have left in a group.

    A killed worker and a static member stay members until their session ends. A process that joins meanwhile waits for
    that, and one that joins under the same name gets the old partitions, of topics that no longer exist.
    """
    (answer,) = await admin.describe_consumer_groups([group])
    members = [(member[0], None) for one in answer.groups for member in one[5]]
    if members:
        await leave(admin, group, members)


async def remove_topics(admin: AIOKafkaAdminClient) -> None:
    """Delete all our topics; the broker then forgets the groups' committed offsets."""
    ours = {topic.name for topic in ALL}

    async def are_gone() -> bool:
        there = ours & set(await admin.list_topics())
        if there:
            await admin.delete_topics(list(there))
        return not there

    await until(are_gone, "the topics to be gone")


def lock_broker(servers: str, say: Callable[[str], None], who: str = "tests") -> TextIO:
    """Wait until no other test run on this machine uses the broker, and lock it until the returned file is closed.

    All runs use the product's names of topics and groups, so concurrent runs would delete each other's.
    """
    path = Path(tempfile.gettempdir()) / f"lead-stream-{who}-{asyncio.run(_cluster_id(servers))}.lock"
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"another run of the tests uses the broker at {servers}: waiting for its end (it holds {path})")
        fcntl.flock(lock, fcntl.LOCK_EX)
        say(f"the broker at {servers} is free: going on")
    return lock


async def _cluster_id(servers: str) -> str:
    """The cluster's id, independent of how its address is written; the address if the broker does not answer."""
    try:
        async with asyncio.timeout(CLUSTER_ID_TIMEOUT_S), open_admin(settings_of(servers)) as admin:
            name = str((await admin.describe_cluster())["cluster_id"])
    except (KafkaError, OSError):  # a TimeoutError is an OSError
        name = servers
    return re.sub(r"[^\w-]", "_", name)
