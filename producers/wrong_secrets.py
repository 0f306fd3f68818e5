"""Counts wrong secrets by client. A right secret is always served: nothing here is asked about one."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

WINDOW = 60.0  # seconds
MOST_CLIENTS = 10_000  # remembered, the least recently seen out first


class WrongSecrets:
    """At most ``most`` within a window are answered with 401."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, int]] = OrderedDict()  # end of the window, wrong secrets in it

    def count(self, client: str) -> int:
        """Count one. Returns the seconds after which the client may try again; 0: it may do so now."""
        now = self._clock()
        end, wrong = self._clients.pop(client, (0.0, 0))
        if now >= end:
            end, wrong = now + WINDOW, 0
        self._clients[client] = end, wrong + 1
        if len(self._clients) > MOST_CLIENTS:
            self._clients.popitem(last=False)
        return math.ceil(end - now) if wrong >= self._most else 0
