"""The broker that tests share: emptied of what a test has left there, and used by one run of the tests at a time."""

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
ASK_LIMIT = 20.0  # seconds in which a broker that is given must answer
OUR_GROUPS = (*GROUPS, RETRY_GROUP)


def settings_of(servers: str, partitions: int = PARTITIONS) -> Settings:
    """Settings for a broker."""
    return load({"KAFKA_BOOTSTRAP_SERVERS": servers, "TOPIC_PARTITIONS": str(partitions)})


async def make_topics(settings: Settings) -> None:
    """All topics of ours, ready to take records; those that are there are left as they are."""
    async with open_admin(settings) as admin:
        await create_missing(admin, settings)


async def make_anew(settings: Settings) -> None:
    """All topics of ours, empty and ready to take records, and no member in any group of ours."""
    async with emptied(settings) as admin:
        await create_missing(admin, settings)


@asynccontextmanager
async def emptied(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A broker that holds nothing of ours: no member, no topic, no committed offset."""
    async with open_admin(settings) as admin:
        for group in OUR_GROUPS:
            await remove_everybody(admin, group)
        await remove_topics(admin)
        yield admin


@stamina.retry(on=GroupCoordinatorNotAvailableError, timeout=LIMIT, attempts=None)
async def remove_everybody(admin: AIOKafkaAdminClient, group: str) -> None:
    """Take out of a group whoever a test has left there.

    A worker that was killed, or that has a name of its own, stays a member until its session ends. Who joins meanwhile
    waits for that, and who joins under its name gets the partitions that it had, of topics that have gone since.
    """
    (answer,) = await admin.describe_consumer_groups([group])
    members = [(member[0], None) for one in answer.groups for member in one[5]]
    if members:
        await leave(admin, group, members)


async def remove_topics(admin: AIOKafkaAdminClient) -> None:
    """Delete all topics of ours; the broker forgets with them what groups have committed."""
    ours = {topic.name for topic in ALL}

    async def are_gone() -> bool:
        there = ours & set(await admin.list_topics())
        if there:
            await admin.delete_topics(list(there))
        return not there

    await until(are_gone, "the topics to be gone")


def take_turn(servers: str, say: Callable[[str], None], who: str = "tests") -> TextIO:
    """Wait until no other run of the tests on this machine uses the broker; it is ours until the file is closed.

    Names of topics and groups are the product's: two runs at once would delete each other's.
    """
    path = Path(tempfile.gettempdir()) / f"lead-stream-{who}-{asyncio.run(_name_of(servers))}.lock"
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"another run of the tests uses the broker at {servers}: waiting for its end (it holds {path})")
        fcntl.flock(lock, fcntl.LOCK_EX)
        say(f"the broker at {servers} is free: going on")
    return lock


async def _name_of(servers: str) -> str:
    """The cluster's id, however its address is written; the address when the broker does not answer."""
    try:
        async with asyncio.timeout(ASK_LIMIT), open_admin(settings_of(servers)) as admin:
            name = str((await admin.describe_cluster())["cluster_id"])
    except (KafkaError, OSError):  # a TimeoutError is an OSError
        name = servers
    return re.sub(r"[^\w-]", "_", name)
