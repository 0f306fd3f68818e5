"""Real servers for the tests: what the environment names, else a Docker engine's, else out of packages."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from testcontainers.community.kafka import KafkaContainer

from stream.domain.errors import StopError
from stream.local.kafka import LocalKafka, download
from stream.settings import Settings
from tests.support import containers
from tests.support.broker import PARTITIONS, lock_broker, recreate_topics, remove_topics, settings_of
from tests.support.containers import can_run, note, running

__all__ = ["PARTITIONS", "remove_topics"]  # tests import them from here as well

# A busy machine is no fault of what is tested.
hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("patient")

# A shell starts its background jobs deaf to Ctrl-C, and every process that they start inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent
FOLDERS = ("e2e", "integration", "component", "unit")  # by how long a file of theirs takes
MOST_AT_ONCE = 4  # processes that test; each has servers of its own
GIVEN = os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS", "")
KAFKA_IMAGE = "confluentinc/cp-kafka:7.9.2"  # testcontainers knows how to start this one
# What the embedded broker is set to as well: no topic comes by itself, and a lost member is missed soon.
KAFKA_VARIABLES = {"KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false", "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000"}


@pytest.fixture(autouse=True)
def loggers_as_they_were_made() -> Iterator[None]:
    """A module's logger keeps the set-up under which it first wrote: forget it, so that no test depends on another."""
    yield
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in {"stream", "producers"}:
            log = getattr(module, "log", None)
            if log is not None and "bind" in getattr(log, "__dict__", {}):
                del log.__dict__["bind"]


def pytest_configure(config: pytest.Config) -> None:
    """Let notes through, and refuse processes that would delete each other's topics on the broker that is given."""
    containers.capture = config.pluginmanager.getplugin("capturemanager")
    if GIVEN and (config.getoption("numprocesses", None) or 0) > 1:
        raise pytest.UsageError("TEST_KAFKA_BOOTSTRAP_SERVERS is one broker for one process: leave -n away, or say -n0")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """How many processes test at once: tests mostly wait. A part of the tests, or a broker to share, has one."""
    option = config.option
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not option.keyword
    if not whole or option.capture == "no" or GIVEN:
        return 0
    return min((os.cpu_count() or 1) + 1, MOST_AT_ONCE)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes test, the longest files come first: who gets the last one is not waited for long."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: FOLDERS.index(item.path.relative_to(ROOT).parts[0]))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Do what may take long before any test's time runs: wait for the broker that is given, download one."""
    config = session.config
    is_controller = bool(config.getoption("numprocesses", None)) and not hasattr(config, "workerinput")
    if is_controller or config.option.collectonly or not any(map(_needs_a_broker, session.items)):
        return
    if GIVEN:
        lock = lock_broker(GIVEN, note)
        config.add_cleanup(lock.close)
    elif not can_run(KAFKA_IMAGE):
        with suppress(StopError):  # each test that needs it says why it is not there
            download(note)


def _needs_a_broker(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    return bool(fixtures & {"kafka", "jars"}) or item.path.parent.name == "e2e"


@pytest.fixture(scope="session")
def jars() -> list[Path]:
    """Kafka's jars; a download, the first time, is seen although output is captured."""
    return download(note)


@pytest.fixture(scope="session")
def kafka_container() -> Iterator[str]:
    """The bootstrap servers of a Docker engine's broker; "" where none can run one."""
    with running(KAFKA_IMAGE, _container) as container:
        yield container.get_bootstrap_server() if container is not None else ""


def _container() -> KafkaContainer:
    container = KafkaContainer(KAFKA_IMAGE).with_kraft()
    for name, value in KAFKA_VARIABLES.items():
        container.with_env(name, value)
    return container


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap servers of a real broker."""
    found = GIVEN or request.getfixturevalue("kafka_container")
    if found:
        yield found
        return
    request.getfixturevalue("jars")
    with LocalKafka(tmp_path_factory.mktemp("kafka")) as server:
        yield server.bootstrap_servers


@pytest.fixture
async def broker(kafka: str) -> Settings:
    """Settings for a real broker whose topics are all there, empty and ready, and in whose groups nobody is."""
    settings = settings_of(kafka)
    await recreate_topics(settings)
    return settings


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
