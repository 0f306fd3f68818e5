"""The health pages of a process: /healthz, /readyz, /metrics. None of them contains personal data.

No client can block the pages: a connection serves one request, its duration is limited, and so is the number of
connections.
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

MAX_CONNECTIONS = 64
MAX_CONNECTION_S = 15.0  # from its start to its end, whatever the client does
UNAVAILABLE = 503
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: lead-stream\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)

# The name of each check with what is wrong, "" if nothing is.
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

    ``healthy`` and ``ready``: the checks of /healthz and /readyz; the page is 503 if one of them fails.
    ``degraded``: what a ready process works without. ``waits``: what a healthy process waits for.
    ``degraded_status``: the status of a degraded /readyz; not 200 for a process that does nothing then.
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
        results, degradations = await checks(), degraded()
        failed, is_degraded = any(results.values()), any(degradations.values())
        status = UNAVAILABLE if failed else degraded_status if is_degraded else 200
        body = {
            "status": "unavailable" if failed else "degraded" if is_degraded else "ok",
            "checks": {name: reason or "ok" for name, reason in {**results, **degradations}.items()},
        }
        return web.Response(body=orjson.dumps(body), content_type="application/json", status=status)

    return page


async def _anonymous(request: web.Request, response: web.StreamResponse) -> None:
    """Hide aiohttp's name and version, and close the connection after the response."""
    del request
    response.headers["Server"] = "lead-stream"
    response.headers["Connection"] = "close"
    response.force_close()


async def _metrics(request: web.Request) -> web.Response:
    del request
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


class Pages:
    """A server of the pages, on ``port``."""

    def __init__(self, runner: web.AppRunner, server: asyncio.Server, port: int) -> None:
        self.port = port
        self._runner = runner
        self._server = server

    async def cleanup(self) -> None:
        """Stop serving."""
        self._server.close()
        await self._runner.cleanup()


async def serve(app: web.Application, host: str, port: int, *, fall_back_to_any: bool = False) -> Pages:
    """Serve ``app`` on ``port``; 0 means any free port.

    ``fall_back_to_any``: if another process has the port, serve on any free one instead of raising OSError.
    """
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    limit = _ConnectionLimit(runner)
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(limit.connection, host, port)
    except OSError as error:
        if not fall_back_to_any or error.errno != errno.EADDRINUSE:
            await runner.cleanup()
            raise
        log.warning("the port of the pages is in use; they are served on a free one", host=host, port=port)
        server = await loop.create_server(limit.connection, host, 0)
    served: int = server.sockets[0].getsockname()[1]
    log.info("pages", host=host, port=served)
    return Pages(runner, server, served)


class _ConnectionLimit:
    """Limits the number of connections."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner
        self._open: set[_Connection] = set()

    def connection(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        server = self._runner.server
        if server is None or len(self._open) >= MAX_CONNECTIONS:
            return _RefusedConnection()
        connection = _Connection(server(), self._open.discard)
        self._open.add(connection)
        return connection


class _RefusedConnection(asyncio.Protocol):
    """Answers a connection above the limit with 503."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer and close."""
        assert hasattr(transport, "write")  # uvloop's transports have no asyncio base class
        transport.write(BUSY)
        transport.close()


class _Connection(asyncio.Protocol):
    """Passes everything to aiohttp's protocol, and aborts the connection after ``MAX_CONNECTION_S``."""

    def __init__(self, inner: asyncio.Protocol, on_lost: Callable[[_Connection], None]) -> None:
        self._inner = inner
        self._on_lost = on_lost
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert hasattr(transport, "abort")
        self._timer = asyncio.get_running_loop().call_later(MAX_CONNECTION_S, transport.abort)
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
        if self._timer is not None:
            self._timer.cancel()
        self._on_lost(self)
        self._inner.connection_lost(exc)
