"""Which offset of one partition may be committed: the commit tracker.

Invariants. Whatever changes one of them lives in this module.

1. Only the completed prefix may be committed: the watermark is never above the first unfinished offset. An offset
   arrives when it is fetched, so a record that is dropped on its way to the agent counts as unfinished.
2. Only offsets that arrived are waited for: a gap (transaction markers, what retention removed) holds nothing up.
3. One tracker lives for one partition from one seek to the next, and within its life offsets only grow.
4. A tracker that is closed takes nothing more. A record that is fetched again has a new tracker and is worked on again,
   and what an old delivery finishes late can't move the new watermark.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from stream.domain.errors import StopError


class Tracker:
    """Offsets under way in one partition."""

    __slots__ = ("_completed_ahead", "_pending", "_position", "_span_shrank", "completed", "revoked")

    def __init__(self) -> None:
        self._pending: deque[int] = deque()
        self._completed_ahead: set[int] = set()
        self._position: int | None = None
        self._span_shrank: asyncio.Future[None] | None = None
        self.revoked = False
        self.completed = 0

    def track(self, offsets: Iterable[int]) -> None:
        """Record offsets in the order they were fetched.

        Raises StopError when one is lower than what arrived before: a seek went unnoticed, and a fresh process
        that reads from the committed offset is the way to lose nothing.
        """
        append, position = self._pending.append, -1 if self._position is None else self._position
        for offset in offsets:
            if offset < position:
                raise StopError(f"offset {offset} was fetched after {position - 1}: somebody has moved the reader")
            append(offset)
            position = offset + 1
        if position >= 0:
            self._position = position

    def advance_to(self, position: int) -> None:
        """The reader stands at ``position``, and all that it gave has arrived: what lies between is no record.

        Transaction markers and aborted records take offsets. Were they not passed over, nothing would be committed
        behind the last record, and a group that has read everything would look as if it lagged for ever.
        """
        if position > (self._position or 0):
            self._position = position

    def complete(self, offset: int) -> None:
        """Record that ``offset`` is completed. Finishing twice, or what never arrived, changes nothing."""
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
        """The offset to commit: the first unfinished one, else the next to come; None before any arrived."""
        return self._pending[0] if self._pending else self._position

    @property
    def span(self) -> int:
        """Records from the oldest unfinished one to the newest fetched, both included; 0 when all are completed.

        Records, not offsets: a long aborted transaction between two that were fetched together would fill any bound,
        and the reader would wait for a record that it has not begun.
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
        """Whether something is completed that lies behind the first unfinished offset."""
        return bool(self._completed_ahead)

    @property
    def unfinished(self) -> int:
        """How many offsets arrived and are not completed."""
        return len(self._pending) - len(self._completed_ahead)


class Trackers:
    """The trackers of all assigned partitions, and what was committed of each.

    A partition is ``(topic, partition)``.
    """

    def __init__(self) -> None:
        self._live: dict[tuple[str, int], Tracker] = {}
        self._committed: dict[tuple[str, int], int] = {}
        self._is_stopped = False
        self._is_positioned = True
        self.commits = 0  # that the broker has accepted
        self.joined = False  # whether the group has given an assignment, be it an empty one

    def begin_generation(self, partitions: Iterable[tuple[str, int]], *, positioned: bool = True) -> None:
        """Begin a generation: forget what the one before had under way.

        ``sought``: the reader stands at the committed offsets already. Otherwise nothing is taken before ``restart``:
        a fetch that began before the assignment was dropped, and what comes after it would leave a gap.
        """
        self.revoke_all()
        self.joined = True
        self._is_positioned = positioned
        self._live = {partition: Tracker() for partition in partitions}
        self._committed = {}

    def restart(self) -> None:
        """The same partitions are read from their committed offsets again; what is closed stays so."""
        for partition, tracker in self._live.items():
            if not tracker.revoked:
                tracker.revoked = True
                self._live[partition] = Tracker()
        self._committed = {}
        self._is_positioned = True

    def active(self) -> dict[tuple[str, int], Tracker]:
        """The trackers that take what is fetched now."""
        taking = ((partition, self.of(partition)) for partition in self._live)
        return {partition: tracker for partition, tracker in taking if tracker is not None}

    def of(self, partition: tuple[str, int]) -> Tracker | None:
        """The tracker that takes what is fetched of ``partition`` now; None when nothing may be taken."""
        tracker = self._live.get(partition)
        return None if tracker is None or tracker.revoked or self._is_stopped or not self._is_positioned else tracker

    def revoke_all(self) -> None:
        """Begin nothing more: the partitions are about to go. What is under way may still finish and be committed."""
        for tracker in self._live.values():
            tracker.revoked = True

    def stop(self) -> None:
        """Begin nothing more for good, whatever is assigned yet: the process is about to go."""
        self._is_stopped = True
        self.revoke_all()

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
        """The first unfinished offset of each partition in which a later one is completed."""
        at = self.watermarks
        return {partition: at[partition] for partition, tracker in self._live.items() if tracker.overtaken}

    @property
    def unfinished(self) -> int:
        """CrmWrites under way, all partitions."""
        return sum(tracker.unfinished for tracker in self._live.values())

    @property
    def completed(self) -> int:
        """CrmWrites completed in this generation."""
        return sum(tracker.completed for tracker in self._live.values())

    @property
    def assigned(self) -> int:
        """Partitions of this generation."""
        return len(self._live)
