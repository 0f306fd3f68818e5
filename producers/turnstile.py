"""Lets one waiter pass in each turn of the event loop.

What a stranger makes expensive waits here: requests that are sent before the answers of earlier ones (aiohttp handles
them one after the other; with eager tasks, Python 3.12, without a return to the loop in between), bytes that come
faster than they are read, large forms. They have one turn of the loop each, in the order in which they came; who sends
a request and waits for its answer is served in every turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Turnstile:
    """First come, first served. Its users wait at most once for each connection, which bounds it."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def enter(self, passed: Callable[[], None]) -> None:
        """Call ``passed`` in a later turn of the loop, and nobody else's in that turn."""
        self._waiting.append(passed)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._admit)

    async def wait(self) -> None:
        """Return in a later turn of the loop."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def passed() -> None:
            if not future.done():
                future.set_result(None)

        self.enter(passed)
        await future

    def _admit(self) -> None:
        passed = self._waiting.popleft()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._admit)
        passed()
