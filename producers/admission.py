"""Which connections have a place: a total, and a share of it for each remote address."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import suppress

from producers.clients import Clients
from producers.limits import Limits
from producers.responses import plain_answer
from producers.sampled import SampledLog

TURNED_AWAY = plain_answer(503, "Service Unavailable", "too many connections: try again", "Retry-After: 5")
MOST_TOLD = 64  # refused connections that are kept for a moment, so that they can read why
MOST_UNREAD = 65_536  # bytes of a refused client that are read away before its socket is closed


class Admission:
    """Counts connections by client."""

    def __init__(self, most: int, limits: Limits, clients: Clients, lines: SampledLog) -> None:
        self._left = most
        self._limits = limits
        self._clients = clients
        self._lines = lines
        self._by_client: Counter[str] = Counter()
        self._told: set[socket.socket] = set()

    @property
    def is_full(self) -> bool:
        """Whether all places are taken."""
        return self._left <= 0

    def admit(self, address: str) -> bool:
        """Take a place for a new connection; False: there is none."""
        client = self._clients.name(address)
        reason = ""
        if self.is_full:
            reason = "all connections are taken"
        elif self._by_client[client] >= self._limits.per_address and not self._clients.is_trusted(address):
            reason = "too many connections of one address"
        if reason:
            self._lines.warning("connection refused", kind=reason, reason=reason, remote=client)
            return False
        self._left -= 1
        self._by_client[client] += 1
        return True

    def leave(self, address: str) -> None:
        """Give a place back."""
        client = self._clients.name(address)
        self._left += 1
        self._by_client[client] -= 1
        if self._by_client[client] <= 0:
            del self._by_client[client]

    def turn_away(self, one: socket.socket) -> None:
        """Say 503 and end, a moment later: a socket that closes on unread bytes takes its answer back."""
        with suppress(OSError):
            one.send(TURNED_AWAY)
            one.shutdown(socket.SHUT_WR)
        if len(self._told) >= MOST_TOLD:
            one.close()
            return
        self._told.add(one)
        asyncio.get_running_loop().call_later(self._limits.turned_away, self._close, one)

    def close(self) -> None:
        """Close what was turned away a moment ago."""
        for one in self._told:
            one.close()

    def _close(self, one: socket.socket) -> None:
        self._told.discard(one)
        with suppress(OSError):
            one.recv(MOST_UNREAD)
        one.close()
