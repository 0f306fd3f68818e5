"""The fuse of the dead letters: after a bad release it is better to stop than to pour everything away.

Three ways to blow it: so many dead letters in a row, more than a share of what was read within a minute, or so many
leads in a row that the CRM refuses without taking one write. A stream of rubbish between good webhooks blows none: half
of everything may be rubbish. A lead that the CRM refuses while it takes others counts for nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW = 60  # seconds


@dataclass(frozen=True, slots=True)
class DlqLimit:
    """When the fuse blows. ``share``: of all that was read within the window, once ``minimum`` of it is dead."""

    in_a_row: int
    share: float
    minimum: int


class DlqLimitState:
    """Counts what was understood and what was not. Times in seconds of a clock that only goes forward."""

    __slots__ = ("_buckets", "_dead", "_limit", "_read", "_refused", "_row", "exceeded")

    def __init__(self, rating: DlqLimit) -> None:
        self._limit = rating
        self._row = self._read = self._dead = self._refused = 0
        self._buckets: deque[list[int]] = deque()  # second, read, dead
        self.exceeded = ""

    def record_valid(self, now: float, count: int = 1) -> None:
        """So much was understood, one after the other."""
        self._row = 0
        self._count(now, count, 0)

    def record_invalid(self, now: float) -> str:
        """Count what can never succeed. Gives how the limit is exceeded, "" while it is not; it stays exceeded."""
        self._row += 1
        self._count(now, 1, 1)
        if not self.exceeded:
            self.exceeded = self._reason()
        return self.exceeded

    def written(self) -> None:
        """The CRM took a write: its address is right, and so is what we send."""
        self._refused = 0

    def refused(self) -> str:
        """The CRM refuses one lead. Gives why the fuse is blown, as ``record_invalid`` does."""
        self._refused += 1
        if not self.exceeded and self._refused >= self._limit.in_a_row:
            self.exceeded = f"the CRM refused {self._refused} leads and took no write in between"
        return self.exceeded

    def _count(self, now: float, read: int, dead: int) -> None:
        second, buckets = int(now), self._buckets
        if not buckets or buckets[-1][0] != second:
            buckets.append([second, 0, 0])
            while buckets[0][0] <= second - WINDOW:
                _, read_then, dead_then = buckets.popleft()
                self._read -= read_then
                self._dead -= dead_then
        buckets[-1][1] += read
        buckets[-1][2] += dead
        self._read += read
        self._dead += dead

    def _reason(self) -> str:
        rating = self._limit
        if self._row >= rating.in_a_row:
            return f"{self._row} dead letters in a row"
        if self._dead >= rating.minimum and self._dead > rating.share * self._read:
            return f"{self._dead} dead letters of {self._read} records read within {WINDOW} s"
        return ""
