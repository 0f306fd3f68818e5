"""Limits the processor time of strangers in one tick, and shares it fairly between their clients.

A stranger is a client that has not shown a secret. Each of its connections, reads and requests is a piece of work.

- A piece is charged to its client by the time that it took, or by an estimate where that can't be measured. The
  number of its bytes says little about its cost.
- In one tick, strangers get ``seconds_per_tick``; only the last piece may exceed it. So a tick stays short however many
  connections are busy, and every tick accepts new connections.
- The client that used least lately runs first. A new client waits for one piece, not for a thousand connections of
  somebody else.
- A client that has shown a right secret lately gets a larger share, also for its next connections.
- An expensive piece counts more than in proportion. Otherwise cheap requests would wait while hundreds of addresses
  each spend their share on expensive ones.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import count

from producers.usage import Usage

Run = Callable[[], None]
SECONDS_PER_TICK = 0.002
FAVOURED_SHARE = 0.05  # of its usage counts against a client that has shown a right secret
MAX_FAVOURED_CLIENTS = 1_000  # the one that showed a secret longest ago is forgotten first
ORDINARY_SECONDS = 0.0003  # a piece of this length counts once, one of twice the length four times


class FairScheduler:
    """The client that used least runs first; the pieces of one client run in the order in which they came.

    The queue is bounded by its users: a connection has at most one read and one request in it.
    """

    def __init__(self, seconds_per_tick: float = SECONDS_PER_TICK) -> None:
        """``seconds_per_tick``: processor time of strangers in one tick."""
        self._seconds_per_tick = self._seconds_left = seconds_per_tick
        self._usage = Usage()
        self._waiting: dict[str, deque[tuple[float, Run]]] = {}
        self._queue_order: list[tuple[float, int, str]] = []  # a heap: rank, order of arrival, client
        self._arrivals = count()
        self._favoured: OrderedDict[str, None] = OrderedDict()
        self._is_scheduled = False

    def can_run_now(self) -> bool:
        """Whether this tick has time left and nobody waits; otherwise the caller must use ``schedule``."""
        return self._seconds_left > 0 and not self._waiting

    def charge(self, client: str, seconds: float) -> None:
        """Take a client's work off this tick and add it to the client's usage."""
        self._seconds_left -= seconds
        self._usage.add(client, seconds * seconds / ORDINARY_SECONDS)
        self._schedule_tick()

    def favour(self, client: str) -> None:
        """Give a client, which has shown a right secret, a larger share from now on."""
        self._favoured[client] = None
        self._favoured.move_to_end(client)
        if len(self._favoured) > MAX_FAVOURED_CLIENTS:
            self._favoured.popitem(last=False)

    def schedule(self, client: str, run: Run, expected: float = 0.0) -> None:
        """Call ``run`` in a later tick. ``expected``: seconds of the work that follows, charged right before it."""
        queue = self._waiting.get(client)
        if queue is None:
            queue = self._waiting[client] = deque()
            self._push(client)
        queue.append((expected, run))
        self._schedule_tick()

    async def wait(self, client: str, expected: float = SECONDS_PER_TICK) -> None:
        """Return in a later tick."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def run() -> None:
            if not future.done():
                future.set_result(None)

        self.schedule(client, run, expected)
        await future

    def rank(self, client: str) -> float:
        """What counts against a client: the lowest rank runs first. Clients with a right secret start below zero."""
        used = self._usage.of(client)
        return used * FAVOURED_SHARE - ORDINARY_SECONDS if client in self._favoured else used

    def _push(self, client: str) -> None:
        heapq.heappush(self._queue_order, (self.rank(client), next(self._arrivals), client))

    def _schedule_tick(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._run_tick)

    def _run_tick(self) -> None:
        self._is_scheduled = False
        self._seconds_left = self._seconds_per_tick
        while self._queue_order and self._seconds_left > 0:
            _, _, client = heapq.heappop(self._queue_order)
            queue = self._waiting[client]
            expected, run = queue.popleft()
            try:
                self.charge(client, expected)
                run()
            finally:
                if queue:
                    self._push(client)
                else:
                    del self._waiting[client]
        if self._queue_order:
            self._schedule_tick()
