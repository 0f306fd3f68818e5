"""Accepts connections: as many as wait, up to a bound, in each turn of the loop.

The server of the loop (uvloop's) accepts one connection a turn: when others keep the loop busy, a thousand newcomers
would wait for a thousand turns.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

from producers.sampled import SampledLog
from stream.domain.errors import StopError

BACKLOG = 1_024  # connections that the kernel keeps for us
MOST_A_TURN = 64  # connections that are accepted in a turn
PAUSE = 1.0  # seconds without accepting, when the system has no more files or memory
SEND_BUFFER = 8_192  # bytes of answers that wait in the kernel for a client; the kernel takes twice as many

Accepted = Callable[[socket.socket, str], None]


class Listener:
    """Passes each new socket, which does not block, and its remote address to ``accepted``."""

    def __init__(self, sockets: Sequence[socket.socket], accepted: Accepted, lines: SampledLog) -> None:
        self._sockets = sockets
        self._accepted = accepted
        self._lines = lines
        self._loop = asyncio.get_running_loop()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._sockets[0].getsockname()[1]
        return port

    def open(self) -> None:
        """Begin to accept."""
        for listening in self._sockets:
            self._resume(listening)

    def close(self) -> None:
        """Stop accepting; what waits in the kernel is reset by it."""
        for listening in self._sockets:
            if listening.fileno() >= 0:
                self._loop.remove_reader(listening)
                listening.close()

    def _resume(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(MOST_A_TURN):
            try:
                one, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:  # gone before we came to it
                continue
            except OSError as error:
                self._lines.warning("connections can't be accepted", kind=error.errno, reason=error.strerror)
                self._loop.remove_reader(listening)
                self._loop.call_later(PAUSE, self._resume, listening)
                return
            one.settimeout(0)
            self._accepted(one, address[0])


async def listening_sockets(host: str, port: int, unacknowledged: float) -> list[socket.socket]:
    """Sockets that listen on all addresses of ``host``. Raises StopError.

    ``unacknowledged``: seconds after which the kernel ends a connection whose client takes no bytes: small answers wait
    in the kernel, out of our sight. Accepted sockets inherit the options that are set here.
    """
    sockets: list[socket.socket] = []
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            if port == 0 and sockets:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])  # noqa: PLW2901 - one port for all
            listening = socket.create_server(address, family=family, backlog=BACKLOG)
            sockets.append(listening)
            listening.settimeout(0)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unacknowledged * 1_000))
    except OSError as error:
        for one in sockets:
            one.close()
        raise StopError(f"can't listen on {host} port {port}: {error.strerror}") from error
    return sockets
