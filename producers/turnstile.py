"""Bounds the processor time that strangers have in one turn of the event loop, and shares it between their clients.

A stranger has not shown a secret yet. Its connections, its bytes and its requests are charged to it by the time that
they took, measured, or expected where it can't be measured: bytes say little of it. In one turn of the loop strangers
get ``per_turn`` seconds (one piece of work may pass it), so a turn stays short however many connections are busy, and
new connections are accepted in every turn. Whoever used least lately passes first: a newcomer waits for the piece that
is under way, not for a thousand connections of somebody else. Whoever has shown a right secret lately gets a larger
share, also for its next connections. Expensive pieces count more than in proportion, so that cheap requests do not wait
for a share of what hundreds of addresses spend on expensive ones.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import count

from producers.usage import Usage

Passed = Callable[[], None]
PER_TURN = 0.002  # seconds
FAVOUR = 0.05  # of what a client used counts once it has shown a right secret
MOST_FAVOURED = 1_000  # clients; those who showed a secret longest ago are forgotten first
ORDINARY = 0.0003  # seconds of a piece that counts as it is; one of twice as long counts four times as much


class Turnstile:
    """Who used least passes first; one client's waiters pass in the order in which they came.

    The users bound the queue: a connection waits here at most once with its bytes and once with its request.
    """

    def __init__(self, per_turn: float = PER_TURN) -> None:
        """``per_turn``: seconds of strangers' work in one turn of the loop."""
        self._per_turn = self._left = per_turn
        self._usage = Usage()
        self._waiting: dict[str, deque[tuple[float, Passed]]] = {}
        self._order: list[tuple[float, int, str]] = []  # a heap: what a client had used, when it came, the client
        self._numbers = count()
        self._favoured: OrderedDict[str, None] = OrderedDict()
        self._is_scheduled = False

    def pass_now(self) -> bool:
        """Whether there is time left in this turn of the loop and nobody waits; else the caller has to ``enter``."""
        return self._left > 0 and not self._waiting

    def charge(self, client: str, seconds: float) -> None:
        """Take what a client's work took off this turn."""
        self._left -= seconds
        self._usage.add(client, seconds * seconds / ORDINARY)
        self._schedule()

    def favour(self, client: str) -> None:
        """Give a client that has shown a right secret a larger share from now on."""
        self._favoured[client] = None
        self._favoured.move_to_end(client)
        if len(self._favoured) > MOST_FAVOURED:
            self._favoured.popitem(last=False)

    def enter(self, client: str, passed: Passed, expected: float = 0.0) -> None:
        """Call ``passed`` in a later turn of the loop. ``expected``: seconds of work that follow it, charged then."""
        queue = self._waiting.get(client)
        if queue is None:
            queue = self._waiting[client] = deque()
            self._line_up(client)
        queue.append((expected, passed))
        self._schedule()

    async def wait(self, client: str, expected: float = PER_TURN) -> None:
        """Return in a later turn of the loop."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def passed() -> None:
            if not future.done():
                future.set_result(None)

        self.enter(client, passed, expected)
        await future

    def rank(self, client: str) -> float:
        """What a client has used, as it counts here: who has least passes first. Below zero with a right secret."""
        used = self._usage.of(client)
        return used * FAVOUR - ORDINARY if client in self._favoured else used

    def _line_up(self, client: str) -> None:
        heapq.heappush(self._order, (self.rank(client), next(self._numbers), client))

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        self._is_scheduled = False
        self._left = self._per_turn
        while self._order and self._left > 0:
            _, _, client = heapq.heappop(self._order)
            queue = self._waiting[client]
            expected, passed = queue.popleft()
            try:
                self.charge(client, expected)
                passed()
            finally:
                if queue:
                    self._line_up(client)
                else:
                    del self._waiting[client]
        if self._order:
            self._schedule()
