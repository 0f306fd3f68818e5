"""How what is limited is shared between sources, so that a flood from one leaves the others their part.

Half of the limit is reserved, in equal shares, for the sources of the last days; the rest goes to whoever comes first.
``reserve_call`` in ``store/queries.sql`` holds the same rule for the day's budget
(docs/adr/0014-how-the-budget-is-shared.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Sources:
    """Sources of webhooks: ``seen`` by this process since it last said so; ``recent``: those of the fleet."""

    seen: set[str] = field(default_factory=set)
    recent: frozenset[str] = frozenset()


def may_take(limit: int, used: Mapping[str, int], source: str, sources: frozenset[str]) -> bool:
    """Whether ``source`` may take one more of ``limit``. ``used``: by source; ``sources``: who else has a share."""
    total = sum(used.values())
    count = len(sources | {source})
    share = limit // 2 // count
    rest = limit - count * share
    taken_of_rest = total - sum(min(one, share) for one in used.values())
    return total < limit and (used.get(source, 0) < share or taken_of_rest < rest)
