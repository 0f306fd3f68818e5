"""Writes that PostgreSQL did not take: kept, and made again until they hold.

What was paid for must not be lost with a database that dies between a call and its storing: another partition or worker
would pay for it again. The caller fails all the same, since its webhook needs the database too; the write stays here.

Every write given here is idempotent and says itself how old it is, so that it may come twice, and late: what is newer
stays. They live in memory: a process that is killed while they wait loses them.
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

MAX_WRITES = 10_000  # writes, some with a whole answer of the Work API
OVERLOAD_SHARE = (
    0.1  # share of the capacity from which nothing more is to be paid for; what is under way still has room
)
MAX_CONCURRENT_WRITES = 4  # writes; the pool has connections left for look-ups
# Short: from the moment in which the database is back until a write holds, another worker may pay for the same.
RETRY_PAUSES_S = (0.05, 0.1, 0.2, 0.5)  # seconds between rounds that failed; the last one is repeated

Write = Callable[[], Awaitable[None]]


class _Entry(NamedTuple):
    key: str
    write: Write


class PendingWrites:
    """Makes writes; keeps those for which the database was away, each under the alias that it is about."""

    def __init__(self, capacity: int = MAX_WRITES) -> None:
        self._capacity = capacity
        self._waiting: deque[_Entry] = deque()
        self._keys: Counter[str] = Counter()
        self._changed = asyncio.Condition()
        self._writer: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return self._keys.total()

    def __contains__(self, key: str) -> bool:
        """Whether something of ``key`` is not stored yet."""
        return key in self._keys

    @property
    def is_overloaded(self) -> bool:
        """Whether so much waits that nothing more should be paid for."""
        return len(self) >= self._capacity * OVERLOAD_SHARE

    async def write(self, key: str, write: Write) -> None:
        """Make a write. Raises its TransientError when it can't be made now: then it is kept, and made later."""
        try:
            await write()
        except TransientError:
            self._keep(_Entry(key, write))
            raise

    async def wait_until_stored(self, key: str) -> None:
        """Wait until nothing of ``key`` waits any more."""
        async with self._changed:
            await self._changed.wait_for(lambda: key not in self)

    async def wait_until_all_stored(self) -> None:
        """Wait until nothing waits any more."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._keys)

    def _keep(self, entry: _Entry) -> None:
        self._waiting.append(entry)
        self._keys[entry.key] += 1
        if len(self._waiting) > self._capacity:
            self._forget(self._waiting.popleft())
            metrics.PENDING_WRITES_DROPPED.inc()
            log.error("a write that the database did not take is dropped: too many wait", waiting=len(self))
        metrics.PENDING_WRITES.set(len(self))
        if self._writer is None:
            log.warning("the database did not take a write; it is kept and made again")
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
            log.info("all writes that waited for the database are made", writes=stored)
        finally:
            self._writer = None

    async def _try(self, entry: _Entry) -> bool:
        """Make one that waited; behind the others again when the database is still away."""
        try:
            await entry.write()
        except TransientError:
            self._waiting.append(entry)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is
            # No later try would end otherwise. The text of the error may hold values; its class says enough.
            metrics.PENDING_WRITES_DROPPED.inc()
            log.error("a write that waited can't be made and is dropped", error=type(error).__name__)  # noqa: TRY400
        self._forget(entry)
        return True
