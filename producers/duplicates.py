"""Which deliveries the broker has had before: a bounded memory, for nothing but the answer to the sender.

A second delivery is published like the first. Consumers drop it by its (event_id, revision), and must be
able to in any case: a sender repeats what was answered 503 though the broker had it, and another producer
knows nothing of this one's memory. Were it left out here, a webhook posted again on purpose (its first
delivery lies in the dead letters, say) would be swallowed for as long as it is remembered, in this process
and not in the next one.

It also makes the count simple: of deliveries at once, the one that the broker acknowledges first is
*processed* and the others are *duplicates*. One that fails to be published is never remembered, so that
nobody is told "duplicate" of a webhook that the broker does not have.
"""

from __future__ import annotations

from collections import OrderedDict


class Duplicates:
    """The last ``capacity`` deliveries that were acknowledged, the least recently seen out first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        # In the order in which they were seen last. A plain dict finds its first after passing all that were deleted
        # before it: at 100,000 that was 34 us for each delivery, a fifth of the whole.
        self._seen: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, delivery: str) -> bool:
        return delivery in self._seen

    def acknowledged(self, delivery: str) -> bool:
        """Remember that the broker has a delivery; False when it is remembered from before."""
        if delivery in self._seen:
            self._seen.move_to_end(delivery)
            return False
        self._seen[delivery] = None
        if len(self._seen) > self._capacity:
            self._seen.popitem(last=False)
        return True
