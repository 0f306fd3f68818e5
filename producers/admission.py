"""Which connections have a place: a total, and a share of it for each remote address."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

from producers.clients import Clients
from producers.limits import Limits
from producers.responses import plain_answer
from producers.sampled import SampledLog

TURNED_AWAY = plain_answer(503, "Service Unavailable", "too many connections: try again", "Retry-After: 5")
MOST_TOLD = 64  # refused connections that are kept for a moment, so that they can read why


class Admission:
    """Counts connections by client."""

    def __init__(self, most: int, limits: Limits, clients: Clients, lines: SampledLog) -> None:
        self._left = most
        self._limits = limits
        self._clients = clients
        self._lines = lines
        self._by_client: Counter[str] = Counter()
        self._told: set[TurnedAway] = set()

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

    def turn_away(self) -> asyncio.Protocol:
        """The protocol of a connection that has no place."""
        return TurnedAway(self._told, self._limits.turned_away)


class TurnedAway(asyncio.Protocol):
    """Says 503 and ends. It reads on for a moment: a socket that closes on unread bytes takes its answer back."""

    def __init__(self, told: set[TurnedAway], linger: float) -> None:
        self._told = told
        self._linger = linger

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say it."""
        writer = cast("asyncio.Transport", transport)  # uvloop's are no instances of it
        writer.write(TURNED_AWAY)
        if len(self._told) >= MOST_TOLD:
            writer.close()
            return
        self._told.add(self)
        writer.write_eof()
        asyncio.get_running_loop().call_later(self._linger, writer.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        del exc
        self._told.discard(self)
