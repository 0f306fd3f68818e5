"""Accepts connections: up to MAX_ACCEPTS_PER_TICK in one tick.

uvloop's own server accepts one connection in a tick. While others keep the loop busy, the last of a thousand new
connections would wait for a thousand ticks.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from producers.sampled import SampledLog
from stream.domain.errors import StopError

BACKLOG_CONNECTIONS = 1_024  # wait in the kernel to be accepted
MAX_ACCEPTS_PER_TICK = 64
ACCEPT_PAUSE_SECONDS = 1.0  # when the system has no more files or memory
SEND_BUFFER_BYTES = 8_192  # answers that wait in the kernel for one client; the kernel allows twice as many

OnAccept = Callable[[socket.socket, str], None]


class Listener:
    """Passes each new non-blocking socket and its remote address to ``on_accept``."""

    def __init__(self, sockets: Sequence[socket.socket], on_accept: OnAccept, sampled_log: SampledLog) -> None:
        self._sockets = sockets
        self._on_accept = on_accept
        self._sampled_log = sampled_log
        self._loop = asyncio.get_running_loop()

    @property
    def port(self) -> int:
        """The port of the first socket."""
        port: int = self._sockets[0].getsockname()[1]
        return port

    def open(self) -> None:
        """Begin to accept."""
        for listening in self._sockets:
            self._resume(listening)

    def close(self) -> None:
        """Stop accepting. The kernel resets the connections that wait."""
        for listening in self._sockets:
            if listening.fileno() >= 0:
                self._loop.remove_reader(listening)
                listening.close()

    def _resume(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(MAX_ACCEPTS_PER_TICK):
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:  # the client has gone already
                continue
            except OSError as error:
                self._sampled_log.warning("connections can't be accepted", kind=error.errno, reason=error.strerror)
                self._loop.remove_reader(listening)
                self._loop.call_later(ACCEPT_PAUSE_SECONDS, self._resume, listening)
                return
            sock.settimeout(0)
            self._on_accept(sock, address[0])


async def listening_sockets(host: str, port: int, unacknowledged: float) -> list[socket.socket]:
    """Sockets that listen on all addresses of ``host``. Raises StopError.

    ``unacknowledged``: seconds after which the kernel ends a connection whose client acknowledges nothing. This process
    can't see that: small answers wait in the kernel. Accepted sockets inherit the options that are set here.
    """
    sockets: list[socket.socket] = []
    try:
        addresses = await asyncio.get_running_loop().getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in addresses):
            if port == 0 and sockets:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])  # noqa: PLW2901 - one port for all
            listening = socket.create_server(address, family=family, backlog=BACKLOG_CONNECTIONS)
            sockets.append(listening)
            listening.settimeout(0)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unacknowledged * 1_000))
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise StopError(
            f"can't listen on {host} port {port}: {error.strerror}. See PRODUCER_HOST, PRODUCER_PORT and"
            " PRODUCER_INTERNAL_HOST, PRODUCER_INTERNAL_PORT"
        ) from error
    return sockets
