"""How tests wait: for a condition, up to a limit that a busy machine does not reach. None of them sleeps for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

LIMIT = 120.0  # seconds; costs nothing where the condition comes true
EVERY = 0.05  # seconds


def wait_until(condition: Callable[[], bool], what: str, limit: float = LIMIT) -> None:
    """Wait for a condition; fails with ``what`` after ``limit`` seconds."""
    until = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < until, f"waited {limit:.0f} s for {what}"
        time.sleep(EVERY)


async def until(holds: Callable[[], Awaitable[bool]], what: str = "", limit: float = LIMIT) -> None:
    """Wait for a condition that another process or the broker brings about; fails after ``limit`` seconds."""
    try:
        async with asyncio.timeout(limit):
            while not await holds():  # noqa: ASYNC110 - another process sets no event
                await asyncio.sleep(EVERY)
    except TimeoutError:
        name = what or getattr(holds, "__qualname__", repr(holds))
        raise AssertionError(f"waited {limit:.0f} s for {name}") from None


async def until_true(holds: Callable[[], bool], what: str = "", limit: float = LIMIT) -> None:
    """Wait in the loop for a condition that other tasks bring about; fails after ``limit`` seconds."""

    async def check() -> bool:
        return holds()

    await until(check, what or getattr(holds, "__qualname__", repr(holds)), limit)
