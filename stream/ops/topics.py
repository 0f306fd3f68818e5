"""Creates the topics of the map, and says where the broker differs from it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaTimeoutError, for_code

from stream.domain.errors import StopError
from stream.kafka.clients import client_options
from stream.ops.groups import must_be_empty
from stream.settings import Settings
from stream.topics import ALL, RETRY_GROUP, WORKER_GROUP, Topic

TOPIC_EXISTS = 36
METADATA_TIMEOUT_S = 20.0  # seconds
METADATA_POLL_S = 0.05  # seconds
LEADER_TIMEOUT_MS = 60_000
# Counts, clean-up, whose clock stamps records, and whether they can be unpacked.
HARMFUL = frozenset({"the topic", "partitions", "cleanup.policy", "message.timestamp.type", "compression.type"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the map says."""

    topic: str
    what: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, wanted {self.wanted}"


def partitions(topic: Topic, settings: Settings) -> int:
    """How many partitions a topic of the map has."""
    return topic.partitions or settings.topic_partitions


async def create_missing(admin: AIOKafkaAdminClient, settings: Settings) -> list[str]:
    """Create what is missing and wait until it takes records; returns the names.

    Raises StopError when the broker refuses, or when a partition gets no leader.
    """
    there = set(await admin.list_topics())
    missing = [topic for topic in ALL if topic.name not in there]
    if not missing:
        return []
    response = await admin.create_topics(
        [
            NewTopic(
                topic.name, partitions(topic, settings), settings.topic_replication, topic_configs=topic.settings()
            )
            for topic in missing
        ]
    )
    for name, code, *message in response.topic_errors:
        if code not in {0, TOPIC_EXISTS}:
            raise StopError(f"topic {name} can't be created: {message[0] if message else for_code(code).__name__}")
    names = [topic.name for topic in missing]
    await _wait_for_metadata(admin, settings, frozenset(names))
    await _wait_for_leaders(admin, settings, names)
    return names


async def grow(admin: AIOKafkaAdminClient, settings: Settings) -> list[str]:
    """Give topics with fewer partitions than are configured the missing ones; returns the names.

    Raises StopError when a topic has more than that, which Kafka can't undo, or while a worker lives: contacts move to
    other partitions, and a worker must not answer with the count that it has learned at its start.
    """
    counts = [one for one in await differences(admin, settings) if one.what == "partitions"]
    for one in counts:
        if int(one.found) > int(one.wanted):
            raise StopError(f"{one}, and no partition can be taken away: set TOPIC_PARTITIONS to {one.found} or more")
    if counts:
        for group in (WORKER_GROUP, RETRY_GROUP):
            await must_be_empty(admin, group)
    few = {one.topic for one in counts}
    # What the worker reads last: whoever was interrupted calls it again, and nobody has moved yet.
    names = [topic.name for topic in reversed(ALL) if topic.name in few]
    for name in names:
        await admin.create_partitions({name: NewPartitions(settings.topic_partitions)})
    if names:
        await _wait_for_metadata(admin, settings, frozenset(names))
        await _wait_for_leaders(admin, settings, names)
    return names


async def _wait_for_metadata(admin: AIOKafkaAdminClient, settings: Settings, names: frozenset[str]) -> None:
    """Wait a little: a broker hears of what its controller has created a moment later."""
    limit = asyncio.get_running_loop().time() + METADATA_TIMEOUT_S
    while any(one.topic in names for one in await differences(admin, settings)):
        if asyncio.get_running_loop().time() > limit:
            return  # whoever asks what differs is told
        await asyncio.sleep(METADATA_POLL_S)


async def _wait_for_leaders(admin: AIOKafkaAdminClient, settings: Settings, names: list[str]) -> None:
    """Wait until each partition's leader serves it. Raises StopError.

    A broker says who leads a partition a moment before that leader has taken it over, and refuses records until then.
    The question for a partition's end is refused for as long, and leaves nothing behind.
    """
    found = await admin.describe_topics(names)
    parts = [TopicPartition(topic["topic"], one["partition"]) for topic in found for one in topic["partitions"]]
    consumer = AIOKafkaConsumer(
        **client_options(settings), request_timeout_ms=LEADER_TIMEOUT_MS, isolation_level="read_committed"
    )
    try:
        await consumer.start()
        await consumer.end_offsets(parts)
    except KafkaTimeoutError:
        raise StopError(
            f"no leader after {LEADER_TIMEOUT_MS // 1000} s for a partition of {', '.join(names)}"
        ) from None
    finally:
        await consumer.stop()


async def differences(admin: AIOKafkaAdminClient, settings: Settings) -> list[Difference]:
    """Where the broker differs from the map. Retention may be changed by an operator; clean-up and counts may not."""
    there = {topic["topic"]: topic for topic in await admin.describe_topics() if topic["error_code"] == 0}
    found: list[Difference] = []
    for topic in ALL:
        if topic.name not in there:
            found.append(Difference(topic.name, "the topic", "there", "missing"))
            continue
        have, want = len(there[topic.name]["partitions"]), partitions(topic, settings)
        if have != want:
            found.append(Difference(topic.name, "partitions", str(want), str(have)))
    return found + await _config_differences(admin, [topic for topic in ALL if topic.name in there])


async def _config_differences(admin: AIOKafkaAdminClient, wanted: list[Topic]) -> list[Difference]:
    if not wanted:
        return []
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in wanted]
    answers = await admin.describe_configs(resources)
    found = []
    configs = {resource[3]: _values(resource[4]) for answer in answers for resource in answer.resources}
    for topic in wanted:
        for name, value in topic.settings().items():
            have = configs.get(topic.name, {}).get(name, "unknown")
            if have != value:
                found.append(Difference(topic.name, name, value, have))
    return found


def _values(entries: Any) -> dict[str, str]:
    return {entry[0]: entry[1] for entry in entries}


def must_stop(found: list[Difference]) -> list[Difference]:
    """The differences with which a worker would do harm, or be stopped by one record."""
    return [one for one in found if one.what in HARMFUL]
