"""Which offset of a partition may be committed.

Invariants. Everything that can change one of them must live in this module.

1. Only the completed prefix may be committed: the watermark is never above the first unfinished offset. An offset is
   tracked when it is fetched, so a record that is dropped on its way to the agent counts as unfinished.
2. Only tracked offsets delay the watermark. A gap (transaction markers, records that retention removed) does not.
3. A tracker belongs to one partition, from one seek to the next. Its offsets only grow.
4. A revoked tracker accepts no more records. A record that is fetched again belongs to a new tracker and is handled
   again. If the first handling completes late, it does not move the new watermark.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from stream.domain.errors import StopError


class Tracker:
    """The fetched offsets of one partition that are not completed.

    ``revoked``: no record of it may start any more, because the group took the partition away, a seek replaced the
    tracker, or the process stops. ``completed``: number of completed offsets.
    """

    __slots__ = ("_completed_ahead", "_pending", "_position", "_span_shrank", "completed", "revoked")

    def __init__(self) -> None:
        self._pending: deque[int] = deque()
        self._completed_ahead: set[int] = set()
        self._position: int | None = None
        self._span_shrank: asyncio.Future[None] | None = None
        self.revoked = False
        self.completed = 0

    def track(self, offsets: Iterable[int]) -> None:
        """Track offsets in the order in which they were fetched.

        Raises StopError if an offset is lower than an earlier one: a seek went unnoticed, and only a new process that
        reads from the committed offset loses nothing.
        """
        append, position = self._pending.append, -1 if self._position is None else self._position
        for offset in offsets:
            if offset < position:
                raise StopError(f"offset {offset} was fetched after {position - 1}: the consumer was moved back")
            append(offset)
            position = offset + 1
        if position >= 0:
            self._position = position

    def advance_to(self, position: int) -> None:
        """Skip the offsets up to ``position`` that are no records. Call it after ``track`` of all fetched records.

        Transaction markers and aborted records take offsets. Without the skip the commit would stop behind the last
        record, and a group that has read everything would show a lag forever.
        """
        if position > (self._position or 0):
            self._position = position

    def complete(self, offset: int) -> None:
        """Record that ``offset`` is completed. Does nothing if it was completed before or is not tracked."""
        pending, ahead = self._pending, self._completed_ahead
        if not pending or offset < pending[0] or offset >= (self._position or 0):
            return
        if offset != pending[0]:
            self.completed += offset not in ahead
            ahead.add(offset)
            return
        self.completed += 1
        pending.popleft()
        while pending and pending[0] in ahead:
            ahead.discard(pending.popleft())
        if self._span_shrank is not None and not self._span_shrank.done():
            self._span_shrank.set_result(None)

    @property
    def watermark(self) -> int | None:
        """The offset to commit: the first unfinished one, or else the next to fetch; None before the first fetch."""
        return self._pending[0] if self._pending else self._position

    @property
    def span(self) -> int:
        """Number of records from the oldest unfinished one to the newest fetched one; 0 when all are completed.

        It counts records, not offsets: a long aborted transaction between two records of one fetch would exceed any
        bound, and the agent would wait for a record that it has not started.
        """
        return len(self._pending)

    async def shrink(self, limit: int) -> None:
        """Wait until the span is below ``limit``."""
        while self.span >= limit:
            self._span_shrank = asyncio.get_running_loop().create_future()
            await self._span_shrank
        self._span_shrank = None

    @property
    def overtaken(self) -> bool:
        """Whether an offset behind the first unfinished one is completed."""
        return bool(self._completed_ahead)

    @property
    def unfinished(self) -> int:
        """Number of tracked offsets that are not completed."""
        return len(self._pending) - len(self._completed_ahead)


class Trackers:
    """The trackers of all assigned partitions and their committed offsets. A partition is ``(topic, number)``."""

    def __init__(self) -> None:
        self._live: dict[tuple[str, int], Tracker] = {}
        self._committed: dict[tuple[str, int], int] = {}
        self._is_stopped = False
        self._is_positioned = True
        self.commits = 0  # commits that the broker has accepted
        self.joined = False  # whether the group has made an assignment, even an empty one

    def begin_generation(self, partitions: Iterable[tuple[str, int]], *, positioned: bool = True) -> None:
        """Begin a generation with new trackers for ``partitions``.

        ``positioned``: the consumer is at the committed offsets already. Otherwise no tracker is active before
        ``restart``: a fetch that began before the assignment was dropped, so records of the next one would leave a gap.
        """
        self.revoke_all()
        self.joined = True
        self._is_positioned = positioned
        self._live = {partition: Tracker() for partition in partitions}
        self._committed = {}

    def restart(self) -> None:
        """Replace the trackers after a seek to the committed offsets. A revoked partition stays revoked."""
        for partition, tracker in self._live.items():
            if not tracker.revoked:
                tracker.revoked = True
                self._live[partition] = Tracker()
        self._committed = {}
        self._is_positioned = True

    def active(self) -> dict[tuple[str, int], Tracker]:
        """The trackers that accept records now, by partition."""
        trackers = ((partition, self.of(partition)) for partition in self._live)
        return {partition: tracker for partition, tracker in trackers if tracker is not None}

    def of(self, partition: tuple[str, int]) -> Tracker | None:
        """The tracker that accepts records of ``partition`` now; None if there is none."""
        tracker = self._live.get(partition)
        return None if tracker is None or tracker.revoked or self._is_stopped or not self._is_positioned else tracker

    def revoke_all(self) -> None:
        """Accept no more records of the assigned partitions. Records in progress may still complete."""
        for tracker in self._live.values():
            tracker.revoked = True

    def stop(self) -> None:
        """Accept no more records at all, not even of partitions that are assigned later: the process stops."""
        self._is_stopped = True
        self.revoke_all()

    def committable(self) -> dict[tuple[str, int], int]:
        """The watermarks that have moved since the last commit."""
        moved = {}
        for partition, tracker in self._live.items():
            watermark = tracker.watermark
            if watermark is not None and watermark != self._committed.get(partition):
                moved[partition] = watermark
        return moved

    def committed(self, offsets: dict[tuple[str, int], int]) -> None:
        """Record the offsets of a commit that the broker has accepted."""
        self._committed.update(offsets)
        self.commits += 1

    @property
    def watermarks(self) -> dict[tuple[str, int], int]:
        """The first unfinished offset of each partition that has one."""
        return {
            partition: tracker.watermark
            for partition, tracker in self._live.items()
            if tracker.unfinished and tracker.watermark is not None
        }

    @property
    def overtaken(self) -> dict[tuple[str, int], int]:
        """The first unfinished offset of each partition in which a later offset is completed."""
        at = self.watermarks
        return {partition: at[partition] for partition, tracker in self._live.items() if tracker.overtaken}

    @property
    def unfinished(self) -> int:
        """Number of records that are not completed, in all partitions."""
        return sum(tracker.unfinished for tracker in self._live.values())

    @property
    def completed(self) -> int:
        """Number of records that were completed in this generation."""
        return sum(tracker.completed for tracker in self._live.values())

    @property
    def assigned(self) -> int:
        """Number of partitions of this generation."""
        return len(self._live)
