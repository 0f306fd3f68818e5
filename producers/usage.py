"""How much each client has used lately; the unit is the caller's."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable

HALF_LIFE = 2.0  # seconds after which what was used counts half
MOST_CLIENTS = 10_000  # remembered; those who used least are forgotten first
REBASE = 40.0  # half-lives; a float holds far more


class Usage:
    """Amounts by client, halved every ``HALF_LIFE``.

    What is older counts less by making what is newer count more: so the order of two clients changes only when one of
    them uses something.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._used: dict[str, float] = {}

    def add(self, client: str, amount: float) -> None:
        """Count what a client has used."""
        age = (self._clock() - self._since) / HALF_LIFE
        if age > REBASE:
            self._rebase(age)
            age = 0.0
        self._used[client] = self._used.get(client, 0.0) + amount * 2.0**age
        if len(self._used) > MOST_CLIENTS:
            self._used = dict(heapq.nlargest(MOST_CLIENTS // 2, self._used.items(), key=lambda one: one[1]))

    def of(self, client: str) -> float:
        """What a client has used, to be compared with what others have."""
        return self._used.get(client, 0.0)

    def __len__(self) -> int:
        return len(self._used)

    def _rebase(self, age: float) -> None:
        self._since = self._clock()
        scaled = ((client, used * 2.0**-age) for client, used in self._used.items())
        self._used = {client: used for client, used in scaled if used > 1e-6}  # noqa: PLR2004 - a microsecond is nothing
