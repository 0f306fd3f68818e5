"""How what is limited is shared between sources, so that a flood from one leaves the others their part.

Half of the limit is reserved, in equal shares, for the sources of the last days; the rest goes to whoever comes first.
``reserve_call`` in ``store/queries.sql`` holds the same rule for the day's budget
(docs/adr/0014-how-the-budget-is-shared.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Sources:
    """Sources of webhooks: ``seen`` by this process since it last said so; ``recent``: those of the fleet."""

    seen: set[str] = field(default_factory=set)
    recent: frozenset[str] = frozenset()


class SharedLimit:
    """A limit that sources share, and how much of it each of them holds. Units are the caller's."""

    def __init__(self, limit: int, sources: Callable[[], frozenset[str]]) -> None:
        """``sources``: those that have a share, beside whoever asks."""
        self._limit = limit
        self._sources = sources
        self._held: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """How much all of them hold."""
        return self._held.total()

    def add(self, source: str, amount: int) -> None:
        """Take ``amount``, or give it back where it is negative."""
        self._held[source] += amount

    def is_full_for(self, source: str) -> bool:
        """Whether ``source`` holds as much as it may. What it takes last may be larger than what is left."""
        if not self._is_half_taken:
            return False  # spares the arithmetic: the half that is for whoever comes first is not used up
        return not may_take(self._limit, self._held, source, self._sources())

    def is_busy_for(self, source: str) -> bool:
        """Whether ``source`` had better bring no more by itself: half of the limit is taken, and half of its share.

        So the other half of its share is for what comes anew, and no other source can keep it from its own.
        """
        share = self._limit // 2 // len(self._sources() | {source})
        return self._is_half_taken and 2 * self._held[source] >= share

    @property
    def _is_half_taken(self) -> bool:
        return 2 * self._held.total() >= self._limit


def may_take(limit: int, used: Mapping[str, int], source: str, sources: frozenset[str]) -> bool:
    """Whether ``source`` may take one more of ``limit``. ``used``: by source; ``sources``: who else has a share."""
    total = sum(used.values())
    count = len(sources | {source})
    share = limit // 2 // count
    rest = limit - count * share
    taken_of_rest = total - sum(min(one, share) for one in used.values())
    return total < limit and (used.get(source, 0) < share or taken_of_rest < rest)
