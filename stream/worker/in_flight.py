"""The webhooks that are being looked up or wait for it, by partition and offset, in order of arrival."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from stream.kafka.offset_tracker import Tracker
from stream.worker.pending_webhook import PendingWebhook


class InFlight:
    """From the start of a look-up until the webhook's records are acknowledged."""

    def __init__(self) -> None:
        self._by_offset: dict[Tracker, dict[int, PendingWebhook]] = {}

    def __iter__(self) -> Iterator[PendingWebhook]:
        """All of them; they may end meanwhile."""
        return iter([one for partition in self._by_offset.values() for one in partition.values()])

    def add(self, delivery: PendingWebhook) -> None:
        """Keep a webhook until its message is finished."""
        message = delivery.message
        self._by_offset.setdefault(message.tracker, {})[message.offset] = delivery
        message.on_completed = partial(self._remove, message.tracker, message.offset)

    def oldest(self, tracker: Tracker) -> PendingWebhook | None:
        """The one that came first of a partition."""
        return next(iter(self._by_offset.get(tracker, {}).values()), None)

    def oldest_age(self) -> float:
        """Seconds for which the oldest look-up has been at work; waiting for a slot does not count."""
        now = time.monotonic()
        return now - min((one.started for one in self if one.started is not None), default=now)

    def abandon_waiting(self) -> None:
        """Begin no look-up that has not begun: whoever gets its partition reads the webhook again, and would pay."""
        for delivery in self:
            if delivery.started is None:
                delivery.ended = True
                self._forget(delivery.message.tracker, delivery.message.offset)

    def _remove(self, tracker: Tracker, offset: int) -> None:
        delivery = self._forget(tracker, offset)
        if delivery is not None:
            delivery.message.let_go()

    def _forget(self, tracker: Tracker, offset: int) -> PendingWebhook | None:
        partition = self._by_offset.get(tracker, {})
        delivery = partition.pop(offset, None)
        if delivery is not None and not partition:
            del self._by_offset[tracker]
        return delivery
