"""Limits the connections: in total, and for each remote address."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import suppress

from producers.clients import Clients
from producers.limits import Limits
from producers.responses import raw_answer
from producers.sampled import SampledLog

TOO_MANY_CONNECTIONS = raw_answer(503, "Service Unavailable", "too many connections: try again", "Retry-After: 5")
MAX_REJECTED_SOCKETS = 64  # kept open for a moment, so that their clients can read the answer
MAX_DISCARDED_BYTES = 65_536  # of a rejected client, read right before its socket is closed


class Admission:
    """Counts connections by client."""

    def __init__(self, max_connections: int, limits: Limits, clients: Clients, sampled_log: SampledLog) -> None:
        self._free = max_connections
        self._limits = limits
        self._clients = clients
        self._sampled_log = sampled_log
        self._by_client: Counter[str] = Counter()
        self._rejected: set[socket.socket] = set()

    @property
    def is_full(self) -> bool:
        """Whether the maximum of connections is reached."""
        return self._free <= 0

    def admit(self, address: str) -> bool:
        """Count a new connection. False: it must be rejected."""
        client = self._clients.name(address)
        reason = ""
        if self.is_full:
            reason = "all connections are taken"
        elif self._by_client[client] >= self._limits.connections_per_address and not self._clients.is_trusted(address):
            reason = "too many connections of one address"
        if reason:
            self._sampled_log.warning("connection refused", kind=reason, reason=reason, remote=client)
            return False
        self._free -= 1
        self._by_client[client] += 1
        return True

    def release(self, address: str) -> None:
        """Count a connection that has ended."""
        client = self._clients.name(address)
        self._free += 1
        self._by_client[client] -= 1
        if self._by_client[client] <= 0:
            del self._by_client[client]

    def reject(self, sock: socket.socket) -> None:
        """Answer 503 and close the socket a moment later.

        A socket that is closed with unread bytes resets the connection, and its client never sees the answer.
        """
        with suppress(OSError):
            sock.send(TOO_MANY_CONNECTIONS)
            sock.shutdown(socket.SHUT_WR)
        if len(self._rejected) >= MAX_REJECTED_SOCKETS:
            sock.close()
            return
        self._rejected.add(sock)
        asyncio.get_running_loop().call_later(self._limits.reject_linger, self._close, sock)

    def close(self) -> None:
        """Close the rejected sockets that are still open."""
        for sock in self._rejected:
            sock.close()

    def _close(self, sock: socket.socket) -> None:
        self._rejected.discard(sock)
        with suppress(OSError):
            sock.recv(MAX_DISCARDED_BYTES)
        sock.close()
