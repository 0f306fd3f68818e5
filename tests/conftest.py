"""Real servers for the tests: what the environment names, else a Docker engine's, else out of packages."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import docker
import docker.errors
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from testcontainers.community.kafka import KafkaContainer

from stream.kafka import open_admin
from stream.local.kafka import LocalKafka, download
from stream.ops.topics import create_missing
from stream.settings import Settings, load
from stream.topics import ALL

# A busy machine is no fault of what is tested.
hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("patient")

# A shell starts its background jobs deaf to Ctrl-C, and every process that they start inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent
FOLDERS = ("e2e", "integration", "component", "unit")  # by how long a file of theirs takes
MOST_AT_ONCE = 4  # processes that test; each has servers of its own
PARTITIONS = 4
CLEAN_LIMIT = 20.0  # seconds
KAFKA_IMAGE = "confluentinc/cp-kafka:7.9.2"  # testcontainers knows how to start this one
# What the embedded broker is set to as well: no topic comes by itself, and a lost member is missed soon.
KAFKA_VARIABLES = {"KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false", "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000"}


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes test at once: tests mostly wait. A part of the tests, or a broker to share, has one."""
    option = config.option
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not option.keyword
    if not whole or option.capture == "no" or os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS"):
        return 0
    return min((os.cpu_count() or 1) + 1, MOST_AT_ONCE)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes test, the longest files come first: who gets the last one is not waited for long."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: FOLDERS.index(item.path.relative_to(ROOT).parts[0]))


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
def jars(pytestconfig: pytest.Config) -> list[Path]:
    """Kafka's jars; a download, the first time, is seen although output is captured."""
    capture: Any = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        # Standard error: a process of several that test at once has no other way to the terminal.
        return download(partial(print, file=sys.stderr, flush=True))


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap servers of a real broker."""
    given = os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS", "")
    if given:
        yield given
    elif docker_answers():
        image = KafkaContainer(KAFKA_IMAGE).with_kraft()
        for name, value in KAFKA_VARIABLES.items():
            image.with_env(name, value)
        with image as container:
            yield container.get_bootstrap_server()
    else:
        request.getfixturevalue("jars")
        with LocalKafka(tmp_path_factory.mktemp("kafka")) as server:
            yield server.bootstrap_servers


@pytest.fixture
async def broker(kafka: str) -> Settings:
    """Settings for a real broker whose topics are all there and empty."""
    settings = load({"KAFKA_BOOTSTRAP_SERVERS": kafka, "TOPIC_PARTITIONS": str(PARTITIONS)})
    async with open_admin(settings) as admin:
        await remove_topics(admin)
        await create_missing(admin, settings)
    return settings


async def remove_topics(admin: AIOKafkaAdminClient) -> None:
    """Delete all topics of ours; the broker forgets with them what groups have committed."""
    ours = {topic.name for topic in ALL}
    async with asyncio.timeout(CLEAN_LIMIT):
        while there := ours & set(await admin.list_topics()):
            await admin.delete_topics(list(there))
            await asyncio.sleep(0.05)


@pytest.fixture
def apart() -> Iterator[Path]:
    """A folder that is not below pytest's, for PostgreSQL: as root it runs as another user.

    The start of any other pytest closes pytest's folder to others for a moment.
    """
    with TemporaryDirectory(prefix="lead-stream-apart-") as folder:
        yield Path(folder)


@pytest.fixture
def group() -> str:
    """A consumer group that nobody used before."""
    return f"test-{uuid4()}"
