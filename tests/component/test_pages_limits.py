"""The limits of the pages' server, on the event loop of production."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from structlog.testing import capture_logs

from stream.health import pages as module
from stream.health.consumer_pages import ConsumerFacts, serving
from stream.health.pages import pages, serve

LIMIT = 20.0  # seconds


async def well() -> dict[str, str]:
    """Nothing is wrong."""
    return {}


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    """Serve the pages of a healthy process; gives their port."""
    site = await serve(pages(well, well, dict), "127.0.0.1", 0)
    try:
        yield site.port
    finally:
        await site.cleanup()


async def asked(port: int, path: str = "/healthz") -> bytes:
    """Return the whole answer to one request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    try:
        return await asyncio.wait_for(reader.read(), LIMIT)
    finally:
        writer.close()


def run(scenario: Callable[[int], Awaitable[None]]) -> None:
    """Run a scenario on uvloop."""

    async def whole() -> None:
        async with served() as port:
            await scenario(port)

    uvloop.run(whole())


def test_a_connection_serves_one_request_and_is_closed() -> None:
    """So no client keeps a connection."""

    async def scenario(port: int) -> None:
        for path in ("/healthz", "/readyz", "/metrics"):
            answer = await asked(port, path)
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert b"Server: lead-stream" in answer

    run(scenario)


def test_a_connection_above_the_limit_gets_503(monkeypatch: pytest.MonkeyPatch) -> None:
    """When another connection ends there is room again."""
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 3)

    async def scenario(port: int) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await _until(port, b"503")
        answer = await asked(port)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable")
        assert b"Retry-After: 1" in answer
        silent[0][1].close()
        await _until(port, b"200")
        for _, writer in silent:
            writer.close()

    run(scenario)


def test_every_connection_is_ended_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent client, an endless head, and a client that reads no answer."""
    monkeypatch.setattr(module, "MAX_CONNECTION_S", 0.3)

    async def scenario(port: int) -> None:
        for said in (b"", b"GET /healthz HTTP/1.1\r\nX: "):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            try:
                ended = await asyncio.wait_for(reader.read(), LIMIT)
            except ConnectionResetError:
                ended = b""
            assert not ended.startswith(b"HTTP/1.1 200")
            writer.close()
        assert (await asked(port)).startswith(b"HTTP/1.1 200 OK")

    run(scenario)


def test_the_port_is_logged_and_a_port_in_use_is_replaced() -> None:
    """Port 0 logs the port it got. A consumer whose port is in use serves on another one."""

    async def scenario() -> None:
        with capture_logs() as logs:
            first = await serve(pages(well, well, dict), "127.0.0.1", 0)
            with pytest.raises(OSError):  # noqa: PT011 - the worker does not start
                await serve(pages(well, well, dict), "127.0.0.1", first.port)
            async with serving(ConsumerFacts(), "127.0.0.1", first.port):
                ports = [one["port"] for one in logs if one["event"] == "pages"]
                answer = await asked(ports[1], "/readyz")
            await first.cleanup()
        assert ports[0] == first.port
        assert ports[1] != first.port
        assert answer.startswith(b"HTTP/1.1 503")
        assert b'"assignment":"the process is starting"' in answer

    uvloop.run(scenario())


def test_a_pause_makes_readyz_degraded() -> None:
    """/readyz is 503 with the reason. /healthz is 200, because a restart would not help."""

    async def scenario() -> None:
        facts = ConsumerFacts(paused=lambda: "c2s: status 401: check C2S_TOKEN")
        site = await serve(pages(facts.healthy, well, facts.degraded, facts.waits, degraded_status=503), "127.0.0.1", 0)
        ready, healthy = await asked(site.port, "/readyz"), await asked(site.port)
        await site.cleanup()
        assert ready.startswith(b"HTTP/1.1 503")
        assert b'"status":"degraded"' in ready
        assert b"paused: c2s: status 401: check C2S_TOKEN" in ready
        assert healthy.startswith(b"HTTP/1.1 200")

    uvloop.run(scenario())


async def _until(port: int, status: bytes) -> None:
    async with asyncio.timeout(LIMIT):
        while status not in (await asked(port))[:20]:
            pass  # each question is a connection of its own
