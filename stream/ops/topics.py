"""Creates the topics of ``stream.topics`` and reports where the broker's topics differ from it."""

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
METADATA_TIMEOUT_S = 20.0
METADATA_POLL_S = 0.05
LEADER_TIMEOUT_MS = 60_000
# With a difference in one of these the worker must not start; others may be an operator's choice.
HARMFUL = frozenset({"the topic", "partitions", "cleanup.policy", "message.timestamp.type", "compression.type"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One property of a topic that differs from ``stream.topics``."""

    topic: str
    what: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, wanted {self.wanted}"


def partitions(topic: Topic, settings: Settings) -> int:
    """How many partitions ``topic`` must have."""
    return topic.partitions or settings.topic_partitions


async def create_missing(admin: AIOKafkaAdminClient, settings: Settings) -> list[str]:
    """Create the missing topics, wait until they accept records, and return their names.

    Raises StopError if the broker refuses or a partition gets no leader.
    """
    existing = set(await admin.list_topics())
    missing = [topic for topic in ALL if topic.name not in existing]
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
    """Add the missing partitions to topics that have fewer than configured; return the topics' names.

    Raises StopError if a topic has more partitions than configured, because Kafka can't remove partitions. Raises it
    also while a worker runs: contacts move to other partitions, and a worker reads the number of partitions once, at
    its start.
    """
    counts = [one for one in await differences(admin, settings) if one.what == "partitions"]
    for one in counts:
        if int(one.found) > int(one.wanted):
            raise StopError(f"{one}, and Kafka can't remove partitions: set TOPIC_PARTITIONS to {one.found} or more")
    if counts:
        for group in (WORKER_GROUP, RETRY_GROUP):
            await must_be_empty(admin, group)
    few = {one.topic for one in counts}
    # `webhooks` last: contacts move only then, so an interrupted call can be repeated.
    names = [topic.name for topic in reversed(ALL) if topic.name in few]
    for name in names:
        await admin.create_partitions({name: NewPartitions(settings.topic_partitions)})
    if names:
        await _wait_for_metadata(admin, settings, frozenset(names))
        await _wait_for_leaders(admin, settings, names)
    return names


async def _wait_for_metadata(admin: AIOKafkaAdminClient, settings: Settings, names: frozenset[str]) -> None:
    """Wait until the broker knows the topics as configured: it learns of changes a moment after the controller."""
    limit = asyncio.get_running_loop().time() + METADATA_TIMEOUT_S
    while any(one.topic in names for one in await differences(admin, settings)):
        if asyncio.get_running_loop().time() > limit:
            return  # the command reports the differences
        await asyncio.sleep(METADATA_POLL_S)


async def _wait_for_leaders(admin: AIOKafkaAdminClient, settings: Settings, names: list[str]) -> None:
    """Wait until the leader of each partition accepts requests. Raises StopError after ``LEADER_TIMEOUT_MS``.

    The metadata names a leader a moment before it takes over, and until then it refuses records. It also refuses
    requests for end offsets, which write nothing.
    """
    found = await admin.describe_topics(names)
    topic_partitions = [
        TopicPartition(topic["topic"], one["partition"]) for topic in found for one in topic["partitions"]
    ]
    consumer = AIOKafkaConsumer(
        **client_options(settings), request_timeout_ms=LEADER_TIMEOUT_MS, isolation_level="read_committed"
    )
    try:
        await consumer.start()
        await consumer.end_offsets(topic_partitions)
    except KafkaTimeoutError:
        raise StopError(
            f"no leader after {LEADER_TIMEOUT_MS // 1000} s for a partition of {', '.join(names)}"
        ) from None
    finally:
        await consumer.stop()


async def differences(admin: AIOKafkaAdminClient, settings: Settings) -> list[Difference]:
    """The differences between the broker's topics and ``stream.topics``; ``must_stop`` selects the harmful ones."""
    existing = {topic["topic"]: topic for topic in await admin.describe_topics() if topic["error_code"] == 0}
    found: list[Difference] = []
    for topic in ALL:
        if topic.name not in existing:
            found.append(Difference(topic.name, "the topic", "there", "missing"))
            continue
        actual, expected = len(existing[topic.name]["partitions"]), partitions(topic, settings)
        if actual != expected:
            found.append(Difference(topic.name, "partitions", str(expected), str(actual)))
    return found + await _config_differences(admin, [topic for topic in ALL if topic.name in existing])


async def _config_differences(admin: AIOKafkaAdminClient, wanted: list[Topic]) -> list[Difference]:
    if not wanted:
        return []
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in wanted]
    answers = await admin.describe_configs(resources)
    found = []
    configs = {resource[3]: _values(resource[4]) for answer in answers for resource in answer.resources}
    for topic in wanted:
        for name, value in topic.settings().items():
            actual = configs.get(topic.name, {}).get(name, "unknown")
            if actual != value:
                found.append(Difference(topic.name, name, value, actual))
    return found


def _values(entries: Any) -> dict[str, str]:
    return {entry[0]: entry[1] for entry in entries}


def must_stop(found: list[Difference]) -> list[Difference]:
    """The differences with which a worker would give wrong results or be stopped by one record."""
    return [one for one in found if one.what in HARMFUL]
