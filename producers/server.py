"""The HTTP server below the routes: aiohttp's low-level server, behind connections with limits.

Only documented interfaces of aiohttp are used, so that its security releases can be installed at once (ADR 13).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count

from aiohttp import hdrs, web

from producers.admission import Admission
from producers.clients import Clients
from producers.connection import NEVER, READ_BYTES, Connection, ConnectionContext, connection_of
from producers.fair_scheduler import FairScheduler
from producers.limits import DEFAULT, Limits
from producers.listener import Listener, listening_sockets
from producers.responses import answer
from producers.sampled import SampledLog

MAX_LINE_BYTES = 8_190  # of the request line, and of one header
MAX_HEADERS = 64
SWEEP_INTERVAL_SECONDS = 0.25  # between two checks of all deadlines; less where a limit is shorter
CONNECTION_SETUP_SECONDS = 0.0003  # processor time of setting one connection up

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, eq=False)
class PendingConnection:
    """An admitted socket that waits for its connection to be set up."""

    socket: socket.socket
    address: str
    client: str


class Server:
    """Accepts connections, passes their requests to ``handler``, and ends connections that exceed a limit."""

    def __init__(self, handler: Handler, max_connections: int, limits: Limits, clients: Clients) -> None:
        self._handler = handler
        self._sampled_log = SampledLog()
        self._admission = Admission(max_connections, limits, clients, self._sampled_log)
        self._clients = clients
        self._scheduler = FairScheduler()
        self._context = ConnectionContext(limits, bytearray(READ_BYTES), self._scheduler)
        self._limits = limits
        self._numbers = count()
        self._setup_tasks: set[asyncio.Task[object]] = set()
        self._pending: set[PendingConnection] = set()
        self._evictable: list[tuple[float, int, Callable[[], bool]]] = []
        self._connections: set[Connection] = set()
        self._aiohttp = web.Server(
            self._handle,
            logger=_logger,
            access_log=None,  # it would hold the token of the URL
            lingering_time=limits.linger,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            read_bufsize=READ_BYTES,
            auto_decompress=False,
        )

    async def listen(self, host: str, port: int) -> Listener:
        """Accept connections. Raises StopError when the address can't be used."""
        sockets = await listening_sockets(host, port, self._limits.unacknowledged)
        listener = Listener(sockets, self._on_accept, self._sampled_log)
        listener.open()
        return listener

    def sweep(self) -> None:
        """End the connections whose deadline has passed."""
        now = asyncio.get_running_loop().time()
        for one in [one for one in self._connections if one.deadline <= now or one.write_deadline <= now]:
            one.expire()

    async def shut_down(self, grace: float) -> None:
        """Let requests end within ``grace`` seconds."""
        for pending in list(self._pending):
            self._drop_pending(pending)
        self._admission.close()
        self._aiohttp.pre_shutdown()
        # aiohttp waits this long twice: for the handlers to return, and once more after it has cancelled them.
        await self._aiohttp.shutdown(grace / 2)

    def _on_accept(self, sock: socket.socket, address: str) -> None:
        # All clients behind a proxy have its address. So each connection of a proxy counts as a client of its own.
        is_proxy = self._clients.is_trusted(address)
        client = f"{address} {next(self._numbers)}" if is_proxy else self._clients.name(address)
        if self._admission.is_full:
            self._evict_for(client)
        if not self._admission.admit(address):
            self._admission.reject(sock)
            return
        pending = PendingConnection(sock, address, client)
        if self._scheduler.can_run_now():
            self._scheduler.charge(client, CONNECTION_SETUP_SECONDS)
            self._connect(pending)
        else:
            self._pending.add(pending)
            self._scheduler.schedule(client, partial(self._connect_pending, pending), CONNECTION_SETUP_SECONDS)

    def _connect_pending(self, pending: PendingConnection) -> None:
        if pending in self._pending:
            self._pending.discard(pending)
            self._connect(pending)

    def _connect(self, pending: PendingConnection) -> None:
        connection = Connection(self._aiohttp(), pending.address, pending.client, self._context, self._on_lost)
        self._connections.add(connection)
        setup = asyncio.create_task(self._set_up(connection, pending.socket))
        self._setup_tasks.add(setup)
        setup.add_done_callback(self._setup_tasks.discard)

    async def _set_up(self, connection: Connection, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
        except OSError as error:
            sock.close()
            self._on_lost(connection)
            self._sampled_log.warning("connection setup failed", reason=error.strerror)

    def _evict_for(self, client: str) -> None:
        """Evict a misbehaving client, or a stranger that used more than twice as much as ``client``, if any."""
        if not self._evictable:
            self._evictable = self._find_evictable()
            asyncio.get_running_loop().call_soon(self._evictable.clear)
        while self._evictable and self._evictable[-1][0] > max(0.0, 2 * self._scheduler.rank(client)):
            _, _, evict = self._evictable.pop()
            if evict():
                return

    def _find_evictable(self) -> list[tuple[float, int, Callable[[], bool]]]:
        """Misbehaving clients and strangers, the one to evict first at the end. Computed at most once in a tick."""
        numbers, used = count(), self._scheduler.rank
        places = [
            (NEVER if one.is_misbehaving else used(one.client), next(numbers), partial(self._evict, one))
            for one in self._connections
            if one.is_misbehaving or not one.has_shown_secret
        ]
        return sorted(
            [*places, *((used(one.client), next(numbers), partial(self._drop_pending, one)) for one in self._pending)]
        )

    def _evict(self, connection: Connection) -> bool:
        if connection not in self._connections:
            return False
        connection.expire()
        self._on_lost(connection)
        return True

    def _drop_pending(self, pending: PendingConnection) -> bool:
        if pending not in self._pending:
            return False
        self._pending.discard(pending)
        self._admission.release(pending.address)
        pending.socket.close()
        return True

    def _on_lost(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._admission.release(connection.address)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            connection = connection_of(request)
        except ConnectionResetError:  # the client has gone and would not see the answer: do not accept the webhook
            return answer(503, {"message": "the connection is closed"})
        is_pipelined = connection.begin_answer()
        try:
            if is_pipelined:
                await self._scheduler.wait(connection.client)
            response = await self._handler(request)
            # A body that was not read closes the connection. So does a request to upgrade: the server speaks HTTP/1.1
            # only, and aiohttp's parser drops what is pipelined behind such a request.
            if not request.content.is_eof() or hdrs.UPGRADE in request.headers:
                response.force_close()
            return response
        finally:
            connection.end_answer(is_read=request.content.is_eof())


class _SampledLogFilter(logging.Filter):
    """Replaces aiohttp's log lines, which hold tracebacks and parts of requests."""

    def __init__(self, sampled_log: SampledLog) -> None:
        super().__init__()
        self._sampled_log = sampled_log

    def filter(self, record: logging.LogRecord) -> bool:
        """Write a line without request data instead."""
        if record.levelno >= logging.WARNING:
            kind = record.exc_info[0] if record.exc_info else None
            name = kind.__name__ if kind else ""
            self._sampled_log.warning("request failed inside aiohttp", kind=name, error=name)
        return False


_logger = logging.getLogger("producers.http")
_logger.addFilter(_SampledLogFilter(SampledLog()))


@asynccontextmanager
async def listen(  # noqa: PLR0913 - an address has two parts
    handler: Handler,
    host: str,
    port: int,
    max_connections: int,
    grace: float,
    *,
    limits: Limits = DEFAULT,
    trusted: Sequence[str] = (),
) -> AsyncIterator[int]:
    """Serve on ``port``, 0 for a free one, and yield the port. At the end let requests end within ``grace`` seconds.

    ``trusted``: addresses and networks of proxies. Raises StopError when the address can't be used.
    """
    server = Server(handler, max_connections, limits, Clients(trusted))
    listener = await server.listen(host, port)
    sweeping = asyncio.create_task(_sweep(server, limits))
    try:
        yield listener.port
    finally:
        listener.close()
        await server.shut_down(grace)
        sweeping.cancel()


async def _sweep(server: Server, limits: Limits) -> None:
    shortest = min(limits.first_byte, limits.head, limits.idle, limits.unread)
    while True:
        await asyncio.sleep(min(SWEEP_INTERVAL_SECONDS, shortest / 4))
        server.sweep()
