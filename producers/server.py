"""The HTTP server below the routes: aiohttp's low-level server behind connections with limits.

Six fixed paths need no router. Only what aiohttp documents is used; so a security release of it can be taken the day it
comes (ADR 13).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import hdrs, web

from producers.admission import Admission
from producers.clients import UNKNOWN, Clients
from producers.connection import READ_SIZE, Connection, Shared, connection_of
from producers.limits import DEFAULT, Limits
from producers.responses import answer
from producers.sampled import SampledLog
from producers.turnstile import Turnstile
from stream.domain.errors import StopError
from stream.logs import get_logger

log = get_logger(__name__)

LARGEST_LINE = 8_190  # bytes of the request line, and of one header
MOST_HEADERS = 64
BACKLOG = 1_024  # connections that the kernel keeps for us
SWEEP = 0.25  # seconds between looks at all deadlines; less where a limit is shorter

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Server:
    """Accepts connections, passes their requests to ``handler`` and ends what is over its limits."""

    def __init__(self, handler: Handler, most_connections: int, limits: Limits, clients: Clients) -> None:
        self._handler = handler
        self._admission = Admission(most_connections, limits, clients, SampledLog())
        self._turnstile = Turnstile()
        self._shared = Shared(limits, bytearray(READ_SIZE), Turnstile())
        self._connections: set[Connection] = set()
        self._aiohttp = web.Server(
            self._handle,
            logger=_logger,
            access_log=None,  # it would hold the token of the URL
            lingering_time=limits.linger,
            max_line_size=LARGEST_LINE,
            max_field_size=LARGEST_LINE,
            max_headers=MOST_HEADERS,
            read_bufsize=READ_SIZE,
            auto_decompress=False,
        )

    def accept(self) -> asyncio.BaseProtocol:
        """The protocol of a new connection."""
        return _Arrival(self._connect)

    def sweep(self) -> None:
        """End the connections whose deadline has passed."""
        now = asyncio.get_running_loop().time()
        for one in [one for one in self._connections if one.deadline <= now or one.write_deadline <= now]:
            one.expire()

    async def shut_down(self, grace: float) -> None:
        """Let requests end within ``grace`` seconds."""
        self._aiohttp.pre_shutdown()
        # aiohttp waits its time-out twice: for the handlers, and for what they left after they were told to go.
        await self._aiohttp.shutdown(grace / 2)

    def _connect(self, transport: asyncio.Transport) -> asyncio.BaseProtocol:
        peer = transport.get_extra_info("peername")
        address = peer[0] if peer else UNKNOWN
        if self._admission.is_full:
            self._make_room()
        if not self._admission.admit(address):
            return self._admission.turn_away()
        connection = Connection(self._aiohttp(), address, self._shared, self._lost)
        self._connections.add(connection)
        return connection

    def _make_room(self) -> None:
        """A newcomer gets the place of a client that hoards answers, if there is one."""
        for one in self._connections:
            if one.is_hoarding:
                one.expire()
                self._lost(one)
                return

    def _lost(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._admission.leave(connection.address)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            connection = connection_of(request)
        except ConnectionResetError:  # nobody would learn of it: not taken
            return answer(503, {"message": "the connection is closed"})
        is_ahead = connection.begin_answer()
        try:
            if is_ahead:
                await self._turnstile.wait()
            response = await self._handler(request)
            # A body that nobody reads ends its connection. So does a wish to upgrade: we speak HTTP/1.1 only, and
            # aiohttp's parser drops what is pipelined behind it.
            if not request.content.is_eof() or hdrs.UPGRADE in request.headers:
                response.force_close()
            return response
        finally:
            connection.end_answer(is_read=request.content.is_eof())


class _Arrival(asyncio.Protocol):
    """A new connection until its address is known: then it gets the protocol that it keeps."""

    def __init__(self, connect: Callable[[asyncio.Transport], asyncio.BaseProtocol]) -> None:
        self._connect = connect

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Choose."""
        accepted = cast("asyncio.Transport", transport)
        protocol = self._connect(accepted)
        accepted.set_protocol(protocol)
        protocol.connection_made(accepted)


class _ToSampledLog(logging.Filter):
    """Takes aiohttp's lines: they hold tracebacks and what was sent."""

    def __init__(self, lines: SampledLog) -> None:
        super().__init__()
        self._lines = lines

    def filter(self, record: logging.LogRecord) -> bool:
        """Write a line of ours instead."""
        if record.levelno >= logging.WARNING:
            kind = record.exc_info[0] if record.exc_info else None
            name = kind.__name__ if kind else ""
            self._lines.warning("a request failed below the routes", kind=name, error=name)
        return False


_logger = logging.getLogger("producers.http")
_logger.addFilter(_ToSampledLog(SampledLog()))


@asynccontextmanager
async def listen(  # noqa: PLR0913 - an address has two parts
    handler: Handler,
    host: str,
    port: int,
    most_connections: int,
    grace: float,
    *,
    limits: Limits = DEFAULT,
    trusted: Sequence[str] = (),
) -> AsyncIterator[int]:
    """Serve; gives the port (0 takes a free one). At the end: stop accepting, let requests end within ``grace`` s.

    ``trusted``: addresses and networks of proxies. Raises StopError when the address can't be had.
    """
    server = Server(handler, most_connections, limits, Clients(trusted))
    loop = asyncio.get_running_loop()
    try:
        accepting = await loop.create_server(server.accept, host, port, backlog=BACKLOG)
    except OSError as error:
        raise StopError(f"can't listen on {host} port {port}: {error.strerror}") from error
    sweeping = asyncio.create_task(_sweep(server, limits))
    try:
        yield accepting.sockets[0].getsockname()[1]
    finally:
        accepting.close()
        await server.shut_down(grace)
        sweeping.cancel()


async def _sweep(server: Server, limits: Limits) -> None:
    shortest = min(limits.first_byte, limits.head, limits.idle, limits.unread)
    while True:
        await asyncio.sleep(min(SWEEP, shortest / 4))
        server.sweep()
