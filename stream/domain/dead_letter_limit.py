"""The dead-letter limit: after a bad release a process stops before it makes every record a dead letter.

Settings and log lines call the limit a fuse (``FUSE_...``). It is exceeded in three ways:

1. ``in_a_row`` dead letters follow each other.
2. More than ``share`` of the records read within a minute became dead letters.
3. The CRM refuses ``in_a_row`` leads and accepts no write in between.

Invalid records between valid ones do not exceed it while they stay below the share. A lead that the CRM refuses while
it accepts others is not counted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class DlqLimit:
    """``share``: of the records read within the window; it applies once ``minimum`` of them are dead letters."""

    in_a_row: int
    share: float
    minimum: int


class DlqLimitState:
    """Counts valid and invalid records. Times are seconds of a monotonic clock."""

    __slots__ = ("_buckets", "_dead", "_limit", "_read", "_refused", "_row", "exceeded")

    def __init__(self, limit: DlqLimit) -> None:
        self._limit = limit
        self._row = self._read = self._dead = self._refused = 0
        self._buckets: deque[list[int]] = deque()  # second, read, dead
        self.exceeded = ""

    def record_valid(self, now: float, count: int = 1) -> None:
        """Count ``count`` valid records in a row."""
        self._row = 0
        self._count(now, count, 0)

    def record_invalid(self, now: float) -> str:
        """Count an invalid record. Returns why the limit is exceeded, "" while it is not. It stays exceeded."""
        self._row += 1
        self._count(now, 1, 1)
        if not self.exceeded:
            self.exceeded = self._reason()
        return self.exceeded

    def record_crm_write(self) -> None:
        """The CRM accepted a write: neither its address nor our requests are at fault."""
        self._refused = 0

    def record_crm_refusal(self) -> str:
        """The CRM refused one lead. Returns the same as ``record_invalid``."""
        self._refused += 1
        if not self.exceeded and self._refused >= self._limit.in_a_row:
            self.exceeded = f"the CRM refused {self._refused} leads and took no write in between"
        return self.exceeded

    def _count(self, now: float, read: int, dead: int) -> None:
        second, buckets = int(now), self._buckets
        if not buckets or buckets[-1][0] != second:
            buckets.append([second, 0, 0])
            while buckets[0][0] <= second - WINDOW_SECONDS:
                _, read_then, dead_then = buckets.popleft()
                self._read -= read_then
                self._dead -= dead_then
        buckets[-1][1] += read
        buckets[-1][2] += dead
        self._read += read
        self._dead += dead

    def _reason(self) -> str:
        limit = self._limit
        if self._row >= limit.in_a_row:
            return f"{self._row} dead letters in a row"
        if self._dead >= limit.minimum and self._dead > limit.share * self._read:
            return f"{self._dead} dead letters of {self._read} records read within {WINDOW_SECONDS} s"
        return ""
