"""Shares a limit between sources, so that a flood from one source leaves the others their share.

Half of the limit is reserved, in equal shares, for the sources of the last days. The other half is first come, first
served. ``reserve_call`` in ``store/queries.sql`` applies the same rule to the day's budget
(docs/adr/0014-how-the-budget-is-shared.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Sources:
    """Sources of webhooks. ``seen``: by this process since its last report; ``recent``: by all workers."""

    seen: set[str] = field(default_factory=set)
    recent: frozenset[str] = frozenset()


class SharedLimit:
    """A limit that sources share, and how much of it each source holds. The caller chooses the unit."""

    def __init__(self, limit: int, sources: Callable[[], frozenset[str]]) -> None:
        """``sources``: those that have a share. A source that asks has one as well."""
        self._limit = limit
        self._sources = sources
        self._held: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """How much all sources hold."""
        return self._held.total()

    def add(self, source: str, amount: int) -> None:
        """Add ``amount`` to what ``source`` holds. A negative amount gives it back."""
        self._held[source] += amount

    def is_full_for(self, source: str) -> bool:
        """Whether ``source`` holds as much as it may. The last amount that it took may exceed its share."""
        if not self._is_half_taken:
            return False  # saves the computation: the half that is first come, first served is not used up
        return not may_take(self._limit, self._held, source, self._sources())

    def is_busy_for(self, source: str) -> bool:
        """Whether ``source`` should bring back no parked webhooks: half of the limit and half of its share are taken.

        So the other half of its share is left for new webhooks.
        """
        share = self._limit // 2 // len(self._sources() | {source})
        return self._is_half_taken and 2 * self._held[source] >= share

    @property
    def _is_half_taken(self) -> bool:
        return 2 * self._held.total() >= self._limit


def may_take(limit: int, used: Mapping[str, int], source: str, sources: frozenset[str]) -> bool:
    """Whether ``source`` may take one more of ``limit``. ``used``: by source; ``sources``: those that have a share."""
    total = sum(used.values())
    count = len(sources | {source})
    share = limit // 2 // count
    rest = limit - count * share
    taken_of_rest = total - sum(min(one, share) for one in used.values())
    return total < limit and (used.get(source, 0) < share or taken_of_rest < rest)
