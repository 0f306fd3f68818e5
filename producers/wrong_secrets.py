"""Counts wrong secrets by client. A right secret is always served: the count limits guesses only."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

WINDOW_SECONDS = 60.0
MAX_CLIENTS = 10_000  # remembered; the least recently seen one is forgotten first


class WrongSecrets:
    """Allows each client ``max_wrong`` wrong secrets in a window."""

    def __init__(self, max_wrong: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_wrong = max_wrong
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, int]] = OrderedDict()  # end of the window, wrong secrets in it

    def count(self, client: str) -> int:
        """Count a wrong secret. Returns the seconds after which the client may try again; 0: at once."""
        now = self._clock()
        end, wrong = self._clients.pop(client, (0.0, 0))
        if now >= end:
            end, wrong = now + WINDOW_SECONDS, 0
        self._clients[client] = end, wrong + 1
        if len(self._clients) > MAX_CLIENTS:
            self._clients.popitem(last=False)
        return math.ceil(end - now) if wrong >= self._max_wrong else 0
