"""The embedded servers: they start, survive a crash, and leave nothing behind when their parent ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest

from stream import topics
from stream.domain.errors import StopError
from stream.kafka.clients import open_admin, open_consumer, open_producer
from stream.local.kafka import LocalKafka, download
from stream.local.postgres import LocalPostgres
from stream.ops.alive import is_alive
from stream.ops.topics import create_missing
from stream.settings import Settings, load
from tests.support.waiting import LIMIT
from tests.support.waiting import wait_until as until

NOWHERE = "http://127.0.0.1:9"
pytestmark = pytest.mark.usefixtures("jars")


def is_open(port: int) -> bool:
    """Whether a server listens on the port."""
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def lives(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def of(folder: Path) -> list[psutil.Process]:
    """The processes that work on a folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or ()) and lives(process.pid)
    ]


def settings_of(server: LocalKafka) -> Settings:
    """The settings for a broker."""
    return load({"KAFKA_BOOTSTRAP_SERVERS": server.bootstrap_servers, "TOPIC_PARTITIONS": "2"})


async def test_a_broker_that_crashes_comes_back_with_its_port_and_data(apart: Path) -> None:
    """After SIGKILL and a new start, acknowledged records are there under the same address."""
    with LocalKafka(apart) as server:
        settings = settings_of(server)
        async with open_admin(settings) as admin:
            await create_missing(admin, settings)
        async with open_producer(settings) as producer:
            await producer.send_and_wait(topics.WEBHOOKS.name, b"kept")
        server.kill()
        assert not is_open(server.port)
        server.start()
        async with open_consumer(settings, topics.WEBHOOKS.name, "after") as consumer:
            assert (await consumer.getone()).value == b"kept"
            assert (server.bootstrap_servers, settings.kafka_bootstrap_servers) == (f"127.0.0.1:{server.port}",) * 2


async def test_the_broker_creates_no_topic_by_itself(apart: Path) -> None:
    """A request for an unknown topic does not create it."""
    with LocalKafka(apart) as server:
        settings = settings_of(server)
        async with open_admin(settings) as admin:
            await create_missing(admin, settings)
            await admin.describe_topics(["nobody.made.this"])
            there = {name for name in await admin.list_topics() if not name.startswith("__")}
        assert there == {topic.name for topic in topics.ALL}


def test_a_stopped_broker_is_gone(apart: Path) -> None:
    """Stopping ends the process and frees the port."""
    with LocalKafka(apart) as server:
        pid = server.pid
        assert pid is not None
        assert lives(pid)
    assert not lives(pid)
    assert not is_open(server.port)
    assert not of(apart)


def test_a_broker_that_can_not_start_reports_the_reason(apart: Path) -> None:
    """If its port is in use the error has the end of the log, and no process stays."""
    with LocalKafka(apart) as server:
        server.kill()
        with closing(socket.socket()) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", server.port))
            other.listen()
            with pytest.raises(StopError, match="Kafka did not start") as caught:
                server.start()
    assert "in use" in str(caught.value) or "BindException" in str(caught.value)
    assert not of(apart)


def test_jars_that_are_there_are_not_downloaded_again() -> None:
    """A second start downloads and prints nothing."""
    said: list[str] = []
    assert download(said.append) == download(said.append)
    assert not said


def test_a_registry_that_is_away_is_reported(apart: Path) -> None:
    """Without a network and a cache the error says what to do."""
    code = "from stream.local.kafka import download; download()"
    nowhere = {
        "XDG_CACHE_HOME": str(apart),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    ended = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **nowhere}, capture_output=True, check=False
    )
    assert ended.returncode != 0
    assert "set KAFKA_BOOTSTRAP_SERVERS" in ended.stderr.decode()


def test_an_interrupted_download_is_repeated(apart: Path) -> None:
    """Files of an interrupted download are removed, complete ones are kept."""
    from stream.local.kafka import _drop_unfinished  # noqa: PLC0415 - what decides, without 45 MB

    maven, whole = apart / "maven", download()[0]
    maven.mkdir()
    (maven / "whole.jar").write_bytes(whole.read_bytes())
    (maven / "half.jar").write_bytes(whole.read_bytes()[:1000])
    (maven / "half.pom").write_text("<project>")
    _drop_unfinished(apart)
    assert [path.name for path in maven.iterdir()] == ["whole.jar"]


async def test_a_database_that_crashes_comes_back_with_its_data(apart: Path) -> None:
    """After SIGKILL and a new start, committed rows are there under the same address."""
    with LocalPostgres(apart / "data") as server:
        url = server.url
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        server.kill()
        connection.terminate()
        server.start()
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT answer FROM kept") == 42
        await connection.close()
    assert not of(apart)


async def test_a_database_stops_although_clients_are_connected(apart: Path) -> None:
    """Stopping does not wait for connected clients."""
    server = LocalPostgres(apart / "data")
    server.start()
    connection = await asyncpg.connect(server.url)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 30
    assert not of(apart)
    connection.terminate()


def test_a_database_may_have_a_long_path(apart: Path) -> None:
    """A folder whose path is too long for a Unix socket works as well."""
    with LocalPostgres(apart / ("deep" * 20) / ("down" * 10)) as server:
        assert server.pid is not None


@contextmanager
def local(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """``python -m stream local`` with its data under ``folder``."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"):
        environment.pop(name, None)
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "stream", "local", *arguments], env=environment, stdout=out, stderr=err
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ready(folder: Path, process: subprocess.Popen[bytes], mark: str) -> str:
    """What it has printed when the output contains ``mark``."""
    until(lambda: process.poll() is not None or mark in (folder / "out").read_text(), mark)
    assert process.poll() is None, (folder / "err").read_text()
    return (folder / "out").read_text()


def assert_nothing_left(folder: Path) -> None:
    """No process works there, and no data is left."""
    assert not of(folder)
    assert not list(folder.glob("lead-stream-*"))


async def test_local_gives_addresses_that_work_and_leaves_nothing(apart: Path) -> None:
    """It prints one JSON object; topics and tables exist; SIGTERM ends it with 0, and nothing is left."""
    with local(apart, "--json") as process:
        addresses = json.loads(ready(apart, process, "}"))
        settings = load(addresses)
        async with open_admin(settings) as admin:
            assert {topic.name for topic in topics.ALL} <= set(await admin.list_topics())
        connection = await asyncpg.connect(addresses["DATABASE_URL"])
        assert await connection.fetchval("SELECT count(*) FROM core.parties") == 0
        await connection.close()
        async with open_consumer(settings, topics.ENRICHED.name, topics.CRM_GROUP):
            assert await is_alive(settings, topics.CRM_GROUP)
        assert not await is_alive(settings, topics.CRM_GROUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0, (apart / "err").read_text()
    assert_nothing_left(apart)


def test_local_prints_export_lines(apart: Path) -> None:
    """It prints ``export`` lines for every variable, simulators included; a kill leaves no process behind."""
    with local(apart, "--simulators") as process:
        text = ready(apart, process, "C2S_WEBHOOK_TOKEN")
        shown = subprocess.check_output(["sh", "-c", f"{text}\nenv"], env={}).decode()  # noqa: S607 - any shell
        variables = dict(line.split("=", 1) for line in shown.splitlines())
        assert variables["DIRETRIX_BASE_URL"] == variables["C2S_BASE_URL"]
        assert load(variables).kafka_bootstrap_servers.startswith("127.0.0.1:")
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(of(apart)) >= 2
        process.kill()
        process.wait()
        until(lambda: not of(apart) and not any(lives(child.pid) for child in children), "every child's end")


def test_ctrl_c_while_it_starts_cleans_up(apart: Path) -> None:
    """Interrupted during the start, it stops the servers that run and removes its folder."""
    with local(apart) as process:
        until(lambda: bool(of(apart)), "the first process")
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 130, (apart / "err").read_text()
    assert_nothing_left(apart)
