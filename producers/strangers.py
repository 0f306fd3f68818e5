"""Requests that are read before their sender has shown a secret: each client has a share of them.

Connections are limited by remote address. Behind a trusted proxy all clients come from one: there this is their limit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from producers.http_error import HttpError


class Strangers:
    """Counts requests by client, while they are read."""

    def __init__(self, most: int) -> None:
        """``most``: requests of one client at once."""
        self._most = most
        self._reading: Counter[str] = Counter()

    @contextmanager
    def hold(self, client: str) -> Iterator[None]:
        """Take a place for as long as the ``with`` lasts. Raises HttpError when the client has too many."""
        if self._reading[client] >= self._most:
            raise HttpError(429, "too many requests at once", {"Retry-After": "1"})
        self._reading[client] += 1
        try:
            yield
        finally:
            self._reading[client] -= 1
            if not self._reading[client]:
                del self._reading[client]
