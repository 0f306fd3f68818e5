"""A worker whose database is not there when it starts."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from stream.local.kafka import free_port
from stream.local.processes import Child
from tests.support.system import answer, said
from tests.support.waiting import LIMIT

SECRETS = dict.fromkeys(("DIRETRIX_USER", "DIRETRIX_PASSWORD", "WORK_API_TOKEN"), "x") | {"DIRETRIX_DAILY_BUDGET": "0"}


def worker(folder: Path, database_url: str, port: int) -> Child:
    """A worker that finds no broker either; it looks at the database first."""
    more = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", "DATABASE_URL": database_url, "STREAM_WEB_PORT": str(port)}
    return Child("worker", ["stream", "worker"], {**SECRETS, **more}, folder)


def test_a_worker_waits_for_a_database_that_is_away(tmp_path: Path) -> None:
    """As for a broker: healthy, degraded and not ready, and told to stop it ends with 0."""
    port = free_port()
    one = worker(tmp_path, f"postgresql://127.0.0.1:{free_port()}/leads", port)
    one.start()
    try:
        one.wait_for(f"http://127.0.0.1:{port}/healthz", LIMIT)
        said(one, "the database is away")
        status, health = answer(f"http://127.0.0.1:{port}/healthz")
        assert (status, health["status"]) == (200, "degraded")
        assert health["checks"]["database"].startswith("away for")
        assert answer(f"http://127.0.0.1:{port}/readyz")[0] == 503
        one.signal(signal.SIGTERM)
        assert one.wait(LIMIT) == 0
    finally:
        one.kill()


def test_a_worker_that_its_database_refuses_leaves_at_once(tmp_path: Path, database_url: str) -> None:
    """A user that does not exist is no absence."""
    parts = urlsplit(database_url)
    stranger = urlunsplit(parts._replace(netloc=f"nobody@{parts.netloc.rpartition('@')[2]}"))
    one = worker(tmp_path, stranger, 0)
    one.start()
    assert one.wait(LIMIT) == 1
    assert "the database refuses us" in one.tail()


def test_a_port_in_use_is_reported_with_its_variable(tmp_path: Path, database_url: str) -> None:
    """The second process on a port ends with exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = worker(tmp_path, database_url, port)
        one.start()
        assert one.wait(LIMIT) == 1
    assert f"port {port}" in one.tail()
    assert "STREAM_WEB_PORT" in one.tail()
