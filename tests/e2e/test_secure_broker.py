"""The whole system through a listener that asks for TLS and SCRAM, and no way around either."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import trustme
from aiokafka.errors import AuthenticationFailedError
from click.testing import CliRunner

from stream.cli import main
from stream.kafka.clients import open_admin, open_consumer, open_producer
from stream.local.people import population
from stream.local.stack import Stack
from stream.ops.topics import create_missing
from stream.settings import Settings, load
from stream.topics import WEBHOOKS
from tests.support.secure_kafka import PASSWORD, SecureKafka
from tests.support.system import crm, events_until, ids, lead, post, teach, wait_until
from tests.support.waiting import until_true

LIMIT = 60.0  # seconds
pytestmark = pytest.mark.usefixtures("jars")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """The broker."""
    with SecureKafka(tmp_path_factory.mktemp("secure")) as server:
        yield server


@pytest.fixture
def stack(secure: SecureKafka, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """Every process of ours on that broker; the password comes out of a file."""
    password = secure.cafile.parent / "password"
    password.write_text(PASSWORD + "\n")
    extra = {**secure.environment(), "KAFKA_SASL_PASSWORD": "", "KAFKA_SASL_PASSWORD_FILE": str(password)}
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", secure.bootstrap_servers)
    with Stack(print, scale=0.05, extra={**extra, "LOG_LEVEL": "DEBUG"}) as started:
        started.start_servers()
        started.start_simulators()
        started.start_ours("producers", "worker", "crm-sync", "journal")
        yield started


def test_every_process_speaks_tls_and_scram(stack: Stack) -> None:
    """A webhook goes from the producers through the worker's Faust app to the CRM; the password shows nowhere."""
    people = population(3, 17)
    teach(stack, people)
    post(stack, [lead(f"lead-{n}", one) for n, one in enumerate(people)])
    events = events_until(stack, lambda events: len(ids(events)) == len(people))
    assert {event.outcome for event in events} == {"enriched"}
    wait_until(lambda: len(crm(stack)["messages"]) == len(people), "the CRM's messages")

    for child in stack.children.values():
        assert PASSWORD not in child.log.read_text(errors="replace")
        assert PASSWORD not in " ".join(psutil.Process(child.pid).cmdline())


def other(secure: SecureKafka, **variables: str) -> Settings:
    """Settings that are right but for ``variables``."""
    return load({**secure.environment(), **variables})


async def opens(settings: Settings) -> int:
    """Open each kind of client; the partitions of a new topic of ours that they see."""
    async with asyncio.timeout(LIMIT):
        async with open_admin(settings) as admin:
            await create_missing(admin, settings)
        async with open_producer(settings) as producer, open_consumer(settings, None, "test"):
            return len(await producer.partitions_for(WEBHOOKS.name))


async def test_the_right_credentials_open_every_client(secure: SecureKafka) -> None:
    """Admin, producer and consumer connect."""
    settings = other(secure)
    assert await opens(settings) == settings.topic_partitions


@pytest.fixture
async def closed_connections(secure: SecureKafka) -> AsyncIterator[None]:
    """Afterwards, wait until TLS has closed every connection of this process to the broker.

    aiokafka closes a refused connection without waiting for it. A process would simply end here.
    """
    yield
    port = int(secure.bootstrap_servers.split(":")[1])
    connections = psutil.Process().net_connections
    await until_true(lambda: not any(one.raddr and one.raddr.port == port for one in connections("tcp")))


@pytest.mark.usefixtures("closed_connections")
@pytest.mark.parametrize(
    "wrong", [{"KAFKA_SASL_PASSWORD": "another"}, {"KAFKA_SASL_USERNAME": "nobody"}, {"KAFKA_SASL_MECHANISM": "PLAIN"}]
)
async def test_wrong_credentials_open_nothing(secure: SecureKafka, wrong: dict[str, str]) -> None:
    """A wrong password, user or mechanism is refused, and does not look like a broker that is away."""
    with pytest.raises(AuthenticationFailedError, match="KAFKA_SASL"):
        await opens(other(secure, **wrong))


@pytest.mark.usefixtures("closed_connections")
async def test_a_broker_that_another_authority_vouches_for_is_not_spoken_to(
    secure: SecureKafka, tmp_path: Path
) -> None:
    """The certificate is checked against KAFKA_SSL_CAFILE before any credential is sent."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with pytest.raises(AuthenticationFailedError, match="certificate"):
        await opens(other(secure, KAFKA_SSL_CAFILE=str(tmp_path / "other.pem")))


@pytest.mark.usefixtures("closed_connections")
async def test_a_wrong_host_is_not_spoken_to(secure: SecureKafka) -> None:
    """The certificate must name the host that is asked: it names 127.0.0.1 and not localhost."""
    port = secure.bootstrap_servers.split(":")[1]
    with pytest.raises(AuthenticationFailedError, match="certificate"):
        await opens(other(secure, KAFKA_BOOTSTRAP_SERVERS=f"localhost:{port}"))


def test_an_operator_with_a_wrong_password_is_told_so(secure: SecureKafka) -> None:
    """A command ends with 1 and a reason in which no password is."""
    environment = {**secure.environment(), "KAFKA_SASL_PASSWORD": "wrong-password-71"}
    result = CliRunner().invoke(main, ["topics"], env=environment)
    assert result.exit_code == 1, result.output
    assert "wrong-password-71" not in result.output + result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("process", ["worker", "crm-sync"])
def test_a_process_with_a_wrong_password_leaves_at_once(secure: SecureKafka, database_url: str, process: str) -> None:
    """It waits for no broker, since that one is there, and says what to look at."""
    secrets = dict.fromkeys(("DIRETRIX_USER", "DIRETRIX_PASSWORD", "WORK_API_TOKEN", "C2S_TOKEN"), "x")
    secrets["DIRETRIX_DAILY_BUDGET"] = "unlimited"
    environment = {**os.environ, **secrets, **secure.environment(), "DATABASE_URL": database_url}
    environment |= {"KAFKA_SASL_PASSWORD": "wrong-password-71", "STREAM_WEB_PORT": "0"}
    command = [sys.executable, "-m", "stream", process]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT * 2, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "Check KAFKA_SASL_*" in ended.stderr
    assert "wrong-password-71" not in ended.stderr
