"""The HTTP server below the routes: aiohttp's low-level server behind connections with limits.

A few fixed paths need no router. Only what aiohttp documents is used, so a security release of it can be taken the day
it comes (ADR 13).
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
from producers.connection import NEVER, READ_SIZE, Connection, Shared, connection_of
from producers.limits import DEFAULT, Limits
from producers.listener import Listener, listening_sockets
from producers.responses import answer
from producers.sampled import SampledLog
from producers.turnstile import Turnstile

LARGEST_LINE = 8_190  # bytes of the request line, and of one header
MOST_HEADERS = 64
SWEEP = 0.25  # seconds between looks at all deadlines; less where a limit is shorter
CONNECTION_COST = 0.0003  # seconds that setting a connection up takes

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A socket that has a place and waits for its connection to be set up."""

    socket: socket.socket
    address: str
    client: str


class Server:
    """Accepts connections, passes their requests to ``handler`` and ends what is over its limits."""

    def __init__(self, handler: Handler, most_connections: int, limits: Limits, clients: Clients) -> None:
        self._handler = handler
        self._lines = SampledLog()
        self._admission = Admission(most_connections, limits, clients, self._lines)
        self._clients = clients
        self._turnstile = Turnstile()
        self._shared = Shared(limits, bytearray(READ_SIZE), self._turnstile)
        self._limits = limits
        self._numbers = count()
        self._opening: set[asyncio.Task[object]] = set()
        self._arrivals: set[Arrival] = set()
        self._leaving: list[tuple[float, int, Callable[[], bool]]] = []
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

    async def listen(self, host: str, port: int) -> Listener:
        """Accept connections. Raises StopError when the address can't be had."""
        sockets = await listening_sockets(host, port, self._limits.unacknowledged)
        listener = Listener(sockets, self._accepted, self._lines)
        listener.open()
        return listener

    def sweep(self) -> None:
        """End the connections whose deadline has passed."""
        now = asyncio.get_running_loop().time()
        for one in [one for one in self._connections if one.deadline <= now or one.write_deadline <= now]:
            one.expire()

    async def shut_down(self, grace: float) -> None:
        """Let requests end within ``grace`` seconds."""
        for arrival in list(self._arrivals):
            self._drop(arrival)
        self._admission.close()
        self._aiohttp.pre_shutdown()
        # aiohttp waits its time-out twice: for the handlers, and for what they left after they were told to go.
        await self._aiohttp.shutdown(grace / 2)

    def _accepted(self, one: socket.socket, address: str) -> None:
        # All clients of a proxy have its address: there each connection takes turns with the others.
        is_proxy = self._clients.is_trusted(address)
        client = f"{address} {next(self._numbers)}" if is_proxy else self._clients.name(address)
        if self._admission.is_full:
            self._make_room(client)
        if not self._admission.admit(address):
            self._admission.turn_away(one)
            return
        arrival = Arrival(one, address, client)
        if self._turnstile.pass_now():
            self._turnstile.charge(client, CONNECTION_COST)
            self._connect(arrival)
        else:
            self._arrivals.add(arrival)
            self._turnstile.enter(client, partial(self._connect_arrived, arrival), CONNECTION_COST)

    def _connect_arrived(self, arrival: Arrival) -> None:
        if arrival in self._arrivals:
            self._arrivals.discard(arrival)
            self._connect(arrival)

    def _connect(self, arrival: Arrival) -> None:
        connection = Connection(self._aiohttp(), arrival.address, arrival.client, self._shared, self._lost)
        self._connections.add(connection)
        opening = asyncio.create_task(self._open(connection, arrival.socket))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, connection: Connection, one: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, one)
        except OSError as error:
            one.close()
            self._lost(connection)
            self._lines.warning("a connection failed before its first byte", reason=error.strerror)

    def _make_room(self, client: str) -> None:
        """A newcomer gets the place of a client that hoards answers, or of a stranger that used far more than it."""
        if not self._leaving:
            self._leaving = self._who_may_leave()
            asyncio.get_running_loop().call_soon(self._leaving.clear)
        while self._leaving and self._leaving[-1][0] > max(0.0, 2 * self._turnstile.rank(client)):
            _, _, leave = self._leaving.pop()
            if leave():
                return

    def _who_may_leave(self) -> list[tuple[float, int, Callable[[], bool]]]:
        """Strangers, those who used most last; looked for once a turn of the loop."""
        numbers, used = count(), self._turnstile.rank
        places = [
            (NEVER if one.is_hoarding else used(one.client), next(numbers), partial(self._end, one))
            for one in self._connections
            if one.is_hoarding or not one.is_trusted
        ]
        return sorted(
            [*places, *((used(one.client), next(numbers), partial(self._drop, one)) for one in self._arrivals)]
        )

    def _end(self, connection: Connection) -> bool:
        if connection not in self._connections:
            return False
        connection.expire()
        self._lost(connection)
        return True

    def _drop(self, arrival: Arrival) -> bool:
        if arrival not in self._arrivals:
            return False
        self._arrivals.discard(arrival)
        self._admission.leave(arrival.address)
        arrival.socket.close()
        return True

    def _lost(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._admission.leave(connection.address)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            connection = connection_of(request)
        except ConnectionResetError:  # nobody would learn of it: the webhook is not taken
            return answer(503, {"message": "the connection is closed"})
        is_ahead = connection.begin_answer()
        try:
            if is_ahead:
                await self._turnstile.wait(connection.client)
            response = await self._handler(request)
            # A body that nobody reads ends its connection. So does a wish to upgrade: we speak HTTP/1.1 only, and
            # aiohttp's parser drops what is pipelined behind it.
            if not request.content.is_eof() or hdrs.UPGRADE in request.headers:
                response.force_close()
            return response
        finally:
            connection.end_answer(is_read=request.content.is_eof())


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
        await asyncio.sleep(min(SWEEP, shortest / 4))
        server.sweep()
