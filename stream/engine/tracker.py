"""Which offset of one partition may be committed: the commit tracker.

Faust commits past an unfinished event when later ones are acknowledged first. Here offsets are
recorded in the order they arrive, and only the finished prefix may be committed. Gaps in the topic
(compaction, transaction markers) are harmless: only offsets that arrived are waited for.

One tracker lives for one partition in one generation of the group. After a rebalance the partition
gets a new one, so what an old delivery finishes late can't move the new generation's watermark.
"""

from __future__ import annotations

from collections import deque


class Tracker:
    """Offsets under way in one partition."""

    __slots__ = ("_done", "_next", "_pending", "finished")

    def __init__(self) -> None:
        self._pending: deque[int] = deque()
        self._done: set[int] = set()
        self._next: int | None = None
        self.finished = 0

    def start(self, offset: int) -> bool:
        """Record that ``offset`` arrived; False when it had arrived before.

        Faust seeks back to the committed offset when its flow was suspended while it fetched. What arrives
        again is under way or finished already: the caller leaves it alone.
        """
        if self._next is not None and offset < self._next:
            return False
        self._pending.append(offset)
        self._next = offset + 1
        return True

    def finish(self, offset: int) -> None:
        """Record that ``offset`` is finished. Finishing twice, or what never arrived, changes nothing."""
        pending, done = self._pending, self._done
        if not pending or offset < pending[0] or offset >= (self._next or 0):
            return
        if offset != pending[0]:
            self.finished += offset not in done
            done.add(offset)
            return
        self.finished += 1
        pending.popleft()
        while pending and pending[0] in done:
            done.discard(pending.popleft())

    @property
    def watermark(self) -> int | None:
        """The offset to commit: the first unfinished one, else the next to come; None before any arrived."""
        return self._pending[0] if self._pending else self._next

    @property
    def span(self) -> int:
        """Offsets between the oldest unfinished one and the newest read, both included; 0 when none is unfinished."""
        if not self._pending or self._next is None:
            return 0
        return self._next - self._pending[0]

    @property
    def unfinished(self) -> int:
        """How many offsets arrived and are not finished."""
        return len(self._pending) - len(self._done)


class Trackers:
    """The trackers of all assigned partitions, and what was committed of each.

    A partition is ``(topic, partition)``, as Faust's ``TP``.
    """

    def __init__(self) -> None:
        self._live: dict[tuple[str, int], Tracker] = {}
        self._committed: dict[tuple[str, int], int] = {}

    def renew(self, partitions: set[tuple[str, int]]) -> None:
        """Begin a generation: forget what the one before had under way."""
        self._live = {partition: Tracker() for partition in partitions}
        self._committed = {}

    def of(self, partition: tuple[str, int]) -> Tracker:
        """The tracker of ``partition`` in this generation."""
        tracker = self._live.get(partition)
        if tracker is None:
            tracker = self._live[partition] = Tracker()
        return tracker

    def committable(self) -> dict[tuple[str, int], int]:
        """The watermarks that moved since the last commit."""
        moved = {}
        for partition, tracker in self._live.items():
            watermark = tracker.watermark
            if watermark is not None and watermark != self._committed.get(partition):
                moved[partition] = watermark
        return moved

    def committed(self, offsets: dict[tuple[str, int], int]) -> None:
        """Record what the broker has accepted."""
        self._committed.update(offsets)

    @property
    def unfinished(self) -> int:
        """Deliveries under way, all partitions."""
        return sum(tracker.unfinished for tracker in self._live.values())

    @property
    def finished(self) -> int:
        """Deliveries finished in this generation."""
        return sum(tracker.finished for tracker in self._live.values())

    @property
    def assigned(self) -> int:
        """Partitions of this generation."""
        return len(self._live)
