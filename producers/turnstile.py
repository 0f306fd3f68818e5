"""Lets one waiter pass in each turn of the event loop.

Requests that a client sends before it has its answers ("pipelining") are handled by aiohttp one after the other; with
eager tasks (Python 3.12) without returning to the loop in between. Whoever sends ahead waits here: all connections that
do so get one request a turn between them, and the others are served in every turn.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turnstile:
    """First come, first served. At most one waiter for each connection."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Return in a later turn of the loop, alone."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(future)
        if len(self._waiting) == 1:
            loop.call_soon(self._admit)
        await future

    def _admit(self) -> None:
        while self._waiting:
            # The head of the queue stays until the next turn, so that ``wait`` schedules one call only.
            if self._waiting[0].done():
                self._waiting.popleft()
                continue
            self._waiting[0].set_result(None)
            break
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._admit)
