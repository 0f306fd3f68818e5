"""The webhooks that are looked up or wait for it, by partition and offset, in order of arrival."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from stream.kafka.offset_tracker import Tracker
from stream.worker.pending_webhook import PendingWebhook


class InFlight:
    """Holds a webhook from the submission of its look-up until it is completed."""

    def __init__(self) -> None:
        self._by_offset: dict[Tracker, dict[int, PendingWebhook]] = {}

    def __iter__(self) -> Iterator[PendingWebhook]:
        """Iterate over a copy: webhooks may be completed meanwhile."""
        return iter([one for partition in self._by_offset.values() for one in partition.values()])

    def add(self, pending: PendingWebhook) -> None:
        """Hold a webhook until it is completed."""
        record = pending.record
        self._by_offset.setdefault(record.tracker, {})[record.offset] = pending
        record.on_completed = partial(self._remove, record.tracker, record.offset)

    def oldest(self, tracker: Tracker) -> PendingWebhook | None:
        """Return the webhook of a partition that arrived first, None if there is none."""
        return next(iter(self._by_offset.get(tracker, {}).values()), None)

    def oldest_age(self) -> float:
        """Seconds since the start of the oldest running look-up. The wait for a slot does not count."""
        now = time.monotonic()
        return now - min((one.lookup_started_at for one in self if one.lookup_started_at is not None), default=now)

    def abandon_waiting(self) -> None:
        """Drop the webhooks whose look-up has not started. The next owner of the partition reads and looks them up."""
        for pending in self:
            if pending.lookup_started_at is None:
                pending.has_outcome = True
                self._forget(pending.record.tracker, pending.record.offset)

    def _remove(self, tracker: Tracker, offset: int) -> None:
        pending = self._forget(tracker, offset)
        if pending is not None:
            pending.record.drop_payload()

    def _forget(self, tracker: Tracker, offset: int) -> PendingWebhook | None:
        partition = self._by_offset.get(tracker, {})
        pending = partition.pop(offset, None)
        if pending is not None and not partition:
            del self._by_offset[tracker]
        return pending
