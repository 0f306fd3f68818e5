"""The pages of a process: /healthz, /readyz, /metrics. None of them holds an identifier.

Whoever reaches the port can hold nothing up: a connection serves one request, within a limit of time, and there are
only so many at once.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from stream.logs import get_logger

log = get_logger(__name__)

MOST_CONNECTIONS = 64
LONGEST_CONNECTION = 15.0  # seconds from its begin to its end, whatever it does meanwhile
UNAVAILABLE = 503
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: lead-stream\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)

# Names of checks with what is wrong, "" where all is well.
Checks = Callable[[], Awaitable[dict[str, str]]]


def pages(
    healthy: Checks,
    ready: Checks,
    degraded: Callable[[], dict[str, str]],
    waits: Callable[[], dict[str, str]] = dict,
    *,
    degraded_status: int = 200,
) -> web.Application:
    """Build the application of the three pages.

    ``degraded``: what is done without, while hits go on; ``waits``: what a healthy process waits for.
    ``degraded_status``: of /readyz then; not 200 where nothing goes on.
    """
    app = web.Application()
    app.on_response_prepare.append(_anonymous)
    app.router.add_get("/healthz", _page(healthy, waits))
    app.router.add_get("/readyz", _page(ready, degraded, degraded_status))
    app.router.add_get("/metrics", _metrics)
    return app


def _page(
    checks: Checks, degraded: Callable[[], dict[str, str]], degraded_status: int = 200
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def page(request: web.Request) -> web.Response:
        del request
        found = await checks()
        without = degraded()
        bad, lame = any(found.values()), any(without.values())
        status = UNAVAILABLE if bad else degraded_status if lame else 200
        body = {
            "status": "unavailable" if bad else "degraded" if lame else "ok",
            "checks": {name: reason or "ok" for name, reason in {**found, **without}.items()},
        }
        return web.Response(body=orjson.dumps(body), content_type="application/json", status=status)

    return page


async def _anonymous(request: web.Request, response: web.StreamResponse) -> None:
    """Keep aiohttp from naming itself and its version, and the client from holding the connection."""
    del request
    response.headers["Server"] = "lead-stream"
    response.headers["Connection"] = "close"
    response.force_close()


async def _metrics(request: web.Request) -> web.Response:
    del request
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


class Pages:
    """What serves the pages; ``port`` is where."""

    def __init__(self, runner: web.AppRunner, server: asyncio.Server, port: int) -> None:
        self.port = port
        self._runner = runner
        self._server = server

    async def cleanup(self) -> None:
        """Serve no more."""
        self._server.close()
        await self._runner.cleanup()


async def serve(app: web.Application, host: str, port: int, *, or_any: bool = False) -> Pages:
    """Serve ``app``. ``port`` 0 takes a free one; ``or_any``: so does one that somebody has."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    places = _Places(runner)
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(places.connection, host, port)
    except OSError as error:
        if not or_any or error.errno != errno.EADDRINUSE:
            await runner.cleanup()
            raise
        log.warning("somebody has the port of the pages; they are served on a free one", host=host, port=port)
        server = await loop.create_server(places.connection, host, 0)
    served: int = server.sockets[0].getsockname()[1]
    log.info("pages", host=host, port=served)
    return Pages(runner, server, served)


class _Places:
    """So many connections at once."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner
        self._open: set[_Connection] = set()

    def connection(self) -> asyncio.Protocol:
        """What handles a new connection."""
        server = self._runner.server
        if server is None or len(self._open) >= MOST_CONNECTIONS:
            return _TurnedAway()
        connection = _Connection(server(), self._open.discard)
        self._open.add(connection)
        return connection


class _TurnedAway(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so and close."""
        assert hasattr(transport, "write")  # uvloop's transports are of no class of asyncio
        transport.write(BUSY)
        transport.close()


class _Connection(asyncio.Protocol):
    """Hands everything to aiohttp's own protocol, and ends the connection when its time is over."""

    def __init__(self, inner: asyncio.Protocol, gone: Callable[[_Connection], None]) -> None:
        self._inner = inner
        self._gone = gone
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert hasattr(transport, "abort")
        self._limit = asyncio.get_running_loop().call_later(LONGEST_CONNECTION, transport.abort)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._limit is not None:
            self._limit.cancel()
        self._gone(self)
        self._inner.connection_lost(exc)
