"""Where real servers come from when a Docker engine answers that can't run any: from packages, and a note says so."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from testcontainers.core.container import DockerContainer

from tests.support import containers
from tests.support.containers import can_run, running

IMAGE = "confluentinc/cp-kafka:7.9.2"


class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A Docker engine as far as it is asked here: it answers, and has what ``images`` names."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Whoever asked has gone: nothing to say."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.images: set[str] = set()
        self.pull: tuple[int, list[dict[str, str]]] = (500, [{"message": "no route to the registry"}])
        self.lasts = threading.Event()  # a pull lasts until it is set
        self.lasts.set()
        self.is_silent = False
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """Its answers."""

    server: Engine
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Version, ping, and whether an image is there."""
        path = self._path()
        if path.endswith(("/version", "/_ping", "/info")):
            self._answer(200, {"ApiVersion": "1.41", "Version": "24.0", "Os": "linux"})
        elif "/images/" in path and any(f"/images/{image}/json" in path for image in self.server.images):
            self._answer(200, {"Id": "sha256:1", "RepoTags": sorted(self.server.images)})
        else:
            self._answer(404, {"message": "no such image"})

    def do_POST(self) -> None:
        """Pulls; nothing can be created."""
        if "/images/create" in self._path():
            status, lines = self.server.pull
            if not self.server.lasts.is_set():
                self._begin(status)
                while not self.server.lasts.wait(0.05):
                    if not self.server.is_silent:
                        self._chunk({"status": "Downloading"})
            else:
                self._begin(status)
            for line in lines:
                self._chunk(line)
            self.wfile.write(b"0\r\n\r\n")
        else:
            self._answer(500, {"message": "no space left on device"})

    def address_string(self) -> str:
        """A Unix socket's client has none."""
        return "client"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _path(self) -> str:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        return path

    def _begin(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, line: dict[str, str]) -> None:
        body = json.dumps(line).encode() + b"\r\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        self.wfile.flush()

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def engine(apart: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine without images and without a registry, which the environment names."""
    path = apart / "docker.sock"
    with Engine(path) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        can_run.cache_clear()
        yield server
        can_run.cache_clear()
        server.lasts.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said."""
    said: list[str] = []
    monkeypatch.setattr(containers, "note", said.append)
    return said


def never() -> DockerContainer:
    """No container may be made."""
    raise AssertionError("an image that is not there was started")


@pytest.mark.parametrize(
    "pull",
    [
        (500, [{"message": "no route to the registry"}]),
        (404, [{"message": "manifest unknown"}]),
        (200, [{"status": "Pulling"}, {"error": "no route to the registry"}]),
        (200, [{"status": "Pulling"}]),
    ],
    ids=["refused", "unknown", "breaks off", "ends without the image"],
)
def test_an_engine_without_a_registry_is_not_used(
    engine: Engine, notes: list[str], pull: tuple[int, list[dict[str, str]]]
) -> None:
    """However a pull fails, there is no container, and a note names the image."""
    engine.pull = pull
    with running(IMAGE, never) as container:
        assert container is None
    assert any(path.endswith("/images/create") for path in engine.asked)
    assert "out of packages" in notes[-1]
    assert IMAGE in notes[-1]


@pytest.mark.parametrize("silent", [False, True])
def test_a_pull_that_does_not_end_is_given_up(
    engine: Engine, notes: list[str], monkeypatch: pytest.MonkeyPatch, *, silent: bool
) -> None:
    """It has a limit, whether the engine says all the time that it goes on or nothing at all."""
    monkeypatch.setattr(containers, "PULL_LIMIT", 0.5)
    engine.is_silent = silent
    engine.lasts.clear()
    assert not can_run(IMAGE)
    assert "not there after" in notes[-1]


def test_an_image_that_is_there_needs_no_registry(engine: Engine, notes: list[str]) -> None:
    """Nothing is pulled, and nothing said."""
    engine.images = set(containers._needed(IMAGE))  # noqa: SLF001 - what else the engine must have
    assert can_run(IMAGE)
    assert notes == []
    assert not any("/images/create" in path for path in engine.asked)


def test_a_container_that_cant_be_started_is_no_end(engine: Engine, notes: list[str]) -> None:
    """The image is there and the engine has no room for it: a note says so."""
    engine.images = set(containers._needed(IMAGE))  # noqa: SLF001
    with running(IMAGE, lambda: DockerContainer(IMAGE)) as container:
        assert container is None
    assert "can't run" in notes[-1]
    assert "out of packages" in notes[-1]


def test_where_no_engine_is_nothing_is_said(apart: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Most machines have none."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{apart / 'nobody'}")
    can_run.cache_clear()
    assert not can_run(IMAGE)
    can_run.cache_clear()
    assert notes == []
