"""``topics`` on a real broker: it creates missing topics, reports differences, and changes no existing topic."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from stream.kafka.clients import open_admin, open_consumer, open_producer
from stream.ops.topics import Difference, create_missing, differences, must_stop
from stream.settings import Settings, load
from stream.topics import ALL, CHANGELOG, DEAD, ENRICHED, RETRIES, RETRY_GROUP, WEBHOOKS, WORKER_GROUP
from tests.support.enriched import command, until


@pytest.fixture
async def admin(broker: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    async with open_admin(broker) as opened:
        yield opened


async def remove(admin: AIOKafkaAdminClient, *names: str) -> None:
    await admin.delete_topics(list(names))

    async def gone() -> bool:
        return not set(names) & set(await admin.list_topics())

    await until(gone)


async def configure(admin: AIOKafkaAdminClient, name: str, **config: str) -> None:
    spelt = {key.replace("_", "."): value for key, value in config.items()}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, spelt)])


async def test_created_topics_have_no_differences(broker: Settings, admin: AIOKafkaAdminClient) -> None:
    """Created topics differ in nothing, and a second run creates none."""
    assert await differences(admin, broker) == []
    assert await create_missing(admin, broker) == []


async def test_missing_topics_are_reported_and_created(broker: Settings, admin: AIOKafkaAdminClient) -> None:
    """Only the missing topics are created, with the configured partitions."""
    await remove(admin, DEAD.name, RETRIES[0].name)
    assert set(map(str, await differences(admin, broker))) == {
        "webhooks.dead: the topic is missing, wanted there",
        "webhooks.retry: the topic is missing, wanted there",
    }
    assert set(await create_missing(admin, broker)) == {DEAD.name, RETRIES[0].name}
    found = {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics([DEAD.name, RETRIES[0].name])}
    assert found == {DEAD.name: 1, RETRIES[0].name: broker.topic_partitions}


async def test_harmful_differences_stop_a_worker(broker: Settings, admin: AIOKafkaAdminClient) -> None:
    """Partitions, clean-up and timestamp type stop it; a retention that an operator chose does not."""
    await admin.create_partitions({CHANGELOG.name: NewPartitions(broker.topic_partitions + 1)})
    await configure(
        admin, WEBHOOKS.name, cleanup_policy="compact", max_message_bytes="1310720", retention_ms="2592000000"
    )
    await configure(admin, ENRICHED.name, cleanup_policy="delete", retention_ms="60000")

    async def said() -> bool:
        return len(await differences(admin, broker)) == 5

    await until(said)
    found = await differences(admin, broker)
    assert Difference(ENRICHED.name, "retention.ms", "604800000", "60000") in found
    assert {(one.topic, one.what, one.found) for one in must_stop(found)} == {
        (CHANGELOG.name, "partitions", "5"),
        (WEBHOOKS.name, "cleanup.policy", "compact"),
        (WEBHOOKS.name, "message.timestamp.type", "CreateTime"),
        (WEBHOOKS.name, "compression.type", "producer"),
    }


async def test_the_broker_decompresses_webhooks(broker: Settings) -> None:
    """A compressed webhook arrives; one that exceeds the size limit only decompressed is refused."""
    async with open_producer(broker, compression_type="gzip") as packing:
        await packing.send_and_wait(WEBHOOKS.name, b"x" * 100_000, key=b"one")
        with pytest.raises(MessageSizeTooLargeError):
            await packing.send_and_wait(WEBHOOKS.name, b"x" * 2_500_000, key=b"bomb")


async def test_the_command_prints_one_object(broker: Settings, admin: AIOKafkaAdminClient) -> None:
    """The object has the created topics and the differences; without a difference the exit code is 0."""
    for _ in range(3):  # what was just created is never taken for missing
        await remove(admin, *(topic.name for topic in ALL))
        code, out, _ = await command(broker, "topics", "--json")
        said = orjson.loads(out)
        assert (code, set(said["created"]), said["differences"]) == (0, {topic.name for topic in ALL}, [])


async def test_the_command_fails_if_a_topic_differs(broker: Settings) -> None:
    """The command names each topic that differs and exits with 1."""
    code, out, _ = await command(broker, "topics", TOPIC_PARTITIONS="6")
    assert code == 1
    assert "differs: webhooks: partitions is 4, wanted 6" in out.splitlines()
    assert "webhooks.dead" not in out


async def test_topics_grow_to_the_configured_count(broker: Settings) -> None:
    """All topics except the dead letters get more partitions, webhooks last; a second run does nothing."""
    code, out, log = await command(broker, "topics", "--grow", "--json", TOPIC_PARTITIONS="6")
    assert code == 0, log
    said = orjson.loads(out)
    assert (code, said["differences"]) == (0, [])
    assert said["grown"][-1] == WEBHOOKS.name
    assert set(said["grown"]) == {topic.name for topic in ALL} - {DEAD.name}
    code, out, _ = await command(broker, "topics", "--grow", TOPIC_PARTITIONS="6")
    assert (code, out.strip()) == (0, "all there")


async def test_an_interrupted_growth_can_be_repeated(broker: Settings, admin: AIOKafkaAdminClient) -> None:
    """Topics that have grown already do not change."""
    await admin.create_partitions({CHANGELOG.name: NewPartitions(6)})
    code, out, _ = await command(broker, "topics", "--grow", TOPIC_PARTITIONS="6")
    assert code == 0
    assert f"grown {WEBHOOKS.name}" in out.splitlines()
    assert CHANGELOG.name not in out


@pytest.mark.parametrize("group", [WORKER_GROUP, RETRY_GROUP])
async def test_no_topic_grows_while_a_worker_runs(broker: Settings, group: str) -> None:
    """The command names the members to stop, and changes no topic."""
    async with open_consumer(broker, WEBHOOKS.name, group) as worker:
        assert worker.assignment()
        code, out, said = await command(broker, "topics", "--grow", TOPIC_PARTITIONS="6")
    assert (code, out) == (1, "")
    assert f"topics: {group} has members; stop them first" in said
    async with open_admin(broker) as admin:
        assert await differences(admin, broker) == []


async def test_fewer_partitions_are_refused(broker: Settings) -> None:
    """The error says which value TOPIC_PARTITIONS needs."""
    code, out, said = await command(broker, "topics", "--grow", TOPIC_PARTITIONS="2")
    assert (code, out) == (1, "")
    assert "set TOPIC_PARTITIONS to 4 or more" in said


async def test_a_broker_that_is_away_is_one_line() -> None:
    """Without a broker the command prints one line and no traceback."""
    code, out, said = await command(load({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}), "topics")
    assert (code, out) == (1, "")
    assert said.splitlines()[-1].startswith("topics: ")
    assert "Traceback" not in said
