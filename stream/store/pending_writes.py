"""Keeps writes that failed because PostgreSQL was away, and retries them until they are stored.

A paid answer must not be lost when the database fails between the call and the write, because another partition or
worker would pay for it again. The caller gets the error all the same: its webhook needs the database too.

Every write must be idempotent and carry its own time, because it may run twice and late: newer data stays. The writes
are kept in memory, so a process that is killed loses them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from stream import metrics
from stream.domain.errors import TransientError
from stream.logs import get_logger

log = get_logger(__name__)

MAX_WRITES = 10_000  # that wait; some hold a whole answer of the Work API
OVERLOAD_SHARE = 0.1  # of the capacity; above it no call is made, and calls in progress still have room
MAX_CONCURRENT_WRITES = 4  # the pool keeps connections for look-ups
# Short: when the database is back, another worker may pay for the same contact until the write is stored.
RETRY_PAUSES_S = (0.05, 0.1, 0.2, 0.5)  # after failed rounds; the last pause is repeated

Write = Callable[[], Awaitable[None]]


class _Entry(NamedTuple):
    key: str
    write: Write


class PendingWrites:
    """Runs writes, and keeps those that failed because the database was away, under the alias that each is about."""

    def __init__(self, capacity: int = MAX_WRITES) -> None:
        self._capacity = capacity
        self._waiting: deque[_Entry] = deque()
        self._keys: Counter[str] = Counter()
        self._changed = asyncio.Condition()
        self._writer: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return self._keys.total()

    def __contains__(self, key: str) -> bool:
        """Whether a write of ``key`` waits."""
        return key in self._keys

    @property
    def is_overloaded(self) -> bool:
        """Whether so many writes wait that no further call should be paid for."""
        return len(self) >= self._capacity * OVERLOAD_SHARE

    async def write(self, key: str, write: Write) -> None:
        """Run a write. If it raises TransientError, keep it for a retry and raise the error."""
        try:
            await write()
        except TransientError:
            self._keep(_Entry(key, write))
            raise

    async def wait_until_stored(self, key: str) -> None:
        """Wait until no write of ``key`` waits."""
        async with self._changed:
            await self._changed.wait_for(lambda: key not in self)

    async def wait_until_all_stored(self) -> None:
        """Wait until no write waits."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._keys)

    def _keep(self, entry: _Entry) -> None:
        self._waiting.append(entry)
        self._keys[entry.key] += 1
        if len(self._waiting) > self._capacity:
            self._forget(self._waiting.popleft())
            metrics.PENDING_WRITES_DROPPED.inc()
            log.error("pending write dropped: too many wait", waiting=len(self))
        metrics.PENDING_WRITES.set(len(self))
        if self._writer is None:
            log.warning("write failed: it is kept and retried until the database stores it")
            self._writer = asyncio.create_task(self._write_all())

    def _forget(self, entry: _Entry) -> None:
        self._keys[entry.key] -= 1
        if not self._keys[entry.key]:
            del self._keys[entry.key]
        metrics.PENDING_WRITES.set(len(self))

    async def _write_all(self) -> None:
        failures = stored = 0
        try:
            while self._waiting:
                count = min(MAX_CONCURRENT_WRITES if not failures else 1, len(self._waiting))
                results = await asyncio.gather(*(self._try(self._waiting.popleft()) for _ in range(count)))
                stored += sum(results)
                async with self._changed:
                    self._changed.notify_all()
                failures = 0 if all(results) else failures + 1
                if failures:
                    await asyncio.sleep(RETRY_PAUSES_S[min(failures, len(RETRY_PAUSES_S)) - 1])
            log.info("all pending writes are stored", writes=stored)
        finally:
            self._writer = None

    async def _try(self, entry: _Entry) -> bool:
        """Run a pending write. If the database is still away, it goes to the end of the queue."""
        try:
            await entry.write()
        except TransientError:
            self._waiting.append(entry)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is
            # Another attempt would fail too. The text of the error may hold values, so only its class is logged.
            metrics.PENDING_WRITES_DROPPED.inc()
            log.error("pending write dropped: the database refuses it", error=type(error).__name__)  # noqa: TRY400
        self._forget(entry)
        return True
