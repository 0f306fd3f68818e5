"""How much each client has used lately. The unit is the caller's."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable

HALF_LIFE_SECONDS = 2.0  # after which an amount counts half
MAX_CLIENTS = 10_000  # remembered; those that used least are forgotten first
REBASE_HALF_LIVES = 40.0  # after which amounts are scaled down; a float could hold far more


class Usage:
    """Amounts by client, which halve every ``HALF_LIFE_SECONDS``.

    Old amounts are not scaled down; new ones are scaled up instead. So the order of two clients changes only when one
    of them uses something.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._used: dict[str, float] = {}

    def add(self, client: str, amount: float) -> None:
        """Add to a client's amount."""
        age = (self._clock() - self._since) / HALF_LIFE_SECONDS
        if age > REBASE_HALF_LIVES:
            self._rebase(age)
            age = 0.0
        self._used[client] = self._used.get(client, 0.0) + amount * 2.0**age
        if len(self._used) > MAX_CLIENTS:
            self._used = dict(heapq.nlargest(MAX_CLIENTS // 2, self._used.items(), key=lambda one: one[1]))

    def of(self, client: str) -> float:
        """A client's amount. Only its comparison with another client's has a meaning."""
        return self._used.get(client, 0.0)

    def __len__(self) -> int:
        return len(self._used)

    def _rebase(self, age: float) -> None:
        self._since = self._clock()
        scaled = ((client, used * 2.0**-age) for client, used in self._used.items())
        self._used = {client: used for client, used in scaled if used > 1e-6}  # noqa: PLR2004 - a microsecond is nothing
