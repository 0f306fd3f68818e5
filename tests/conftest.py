"""Real servers for the tests: what the environment names, else a Docker engine's, else out of packages."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from collections.abc import Iterator
from uuid import uuid4

import docker
import docker.errors
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from testcontainers.community.kafka import KafkaContainer

from stream.kafka import open_admin
from stream.local.kafka import LocalKafka
from stream.ops.topics import create_missing
from stream.settings import Settings, load
from stream.topics import ALL

PARTITIONS = 4
CLEAN_LIMIT = 20.0  # seconds


def docker_answers() -> bool:
    """Whether a Docker engine is at hand."""
    with warnings.catch_warnings():
        # The library leaves the socket that found no engine to the collector, which warns.
        warnings.simplefilter("ignore", ResourceWarning)
        answers = _ping()
        gc.collect()
    return answers


def _ping() -> bool:
    try:
        client = docker.from_env()
    except docker.errors.DockerException:
        return False
    client.close()
    return True


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap servers of a real broker."""
    given = os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS", "")
    if given:
        yield given
    elif docker_answers():
        with KafkaContainer("confluentinc/cp-kafka:7.9.2").with_kraft() as container:
            yield container.get_bootstrap_server()
    else:
        with LocalKafka(tmp_path_factory.mktemp("kafka")) as server:
            yield server.bootstrap_servers


@pytest.fixture
async def broker(kafka: str) -> Settings:
    """Settings for a real broker whose topics are all there and empty."""
    settings = load({"KAFKA_BOOTSTRAP_SERVERS": kafka, "TOPIC_PARTITIONS": str(PARTITIONS)})
    async with open_admin(settings) as admin:
        await _remove_topics(admin)
        await create_missing(admin, settings)
    return settings


async def _remove_topics(admin: AIOKafkaAdminClient) -> None:
    ours = {topic.name for topic in ALL}
    async with asyncio.timeout(CLEAN_LIMIT):
        while there := ours & set(await admin.list_topics()):
            await admin.delete_topics(list(there))
            await asyncio.sleep(0.05)


@pytest.fixture
def group() -> str:
    """A consumer group that nobody used before."""
    return f"test-{uuid4()}"
