"""Limits, for each client, the requests that are read before their sender has shown a secret.

Connections are limited by remote address. Behind a trusted proxy all clients have the same one, so there only this
limit applies to a single client.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from producers.http_error import HttpError


class Strangers:
    """Counts by client the requests that are being read."""

    def __init__(self, max_requests: int) -> None:
        """``max_requests``: concurrent requests of one client."""
        self._max_requests = max_requests
        self._reading: Counter[str] = Counter()

    @contextmanager
    def admit(self, client: str) -> Iterator[None]:
        """Count a request for as long as the ``with`` lasts. Raises HttpError when the client has too many."""
        if self._reading[client] >= self._max_requests:
            raise HttpError(429, "too many concurrent requests", {"Retry-After": "1"})
        self._reading[client] += 1
        try:
            yield
        finally:
            self._reading[client] -= 1
            if not self._reading[client]:
                del self._reading[client]
