"""Bounds what strangers cost in one turn of the event loop, and shares it between their clients.

A stranger has not shown a secret yet. Its connections, its bytes and its requests have costs; in one turn of the loop
at most ``per_turn`` of it passes (and always one waiter, whatever it costs), so a turn stays short however many
connections are busy, and new connections are accepted in every turn. Waiting clients take turns: who sends much waits
behind itself, not others behind it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable

Passed = Callable[[], None]


class Turnstile:
    """First come, first served for one client; one client after the other.

    The users bound the queue: a connection waits here at most once with its bytes and once with its request.
    """

    def __init__(self, per_turn: int = 1) -> None:
        """``per_turn``: the cost that passes in one turn of the loop."""
        self._per_turn = self._left = per_turn
        self._waiting: OrderedDict[str, deque[tuple[int, Passed]]] = OrderedDict()  # by client; the first is next
        self._is_scheduled = False

    def pass_now(self, cost: int) -> bool:
        """Pay for passing in this turn of the loop. False: the caller has to ``enter``."""
        if self._waiting or self._left <= 0:
            return False
        self._pay(cost)
        return True

    def enter(self, client: str, cost: int, passed: Passed) -> None:
        """Call ``passed`` in a later turn of the loop."""
        self._waiting.setdefault(client, deque()).append((cost, passed))
        self._schedule()

    async def wait(self, client: str = "", cost: int = 1) -> None:
        """Return in a later turn of the loop."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def passed() -> None:
            if not future.done():
                future.set_result(None)

        self.enter(client, cost, passed)
        await future

    def _pay(self, cost: int) -> None:
        self._left -= cost
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        self._is_scheduled = False
        self._left = self._per_turn
        while self._waiting and self._left > 0:
            client, queue = next(iter(self._waiting.items()))
            cost, passed = queue.popleft()
            if queue:
                self._waiting.move_to_end(client)
            else:
                del self._waiting[client]
            self._pay(cost)
            passed()
