"""The offset tracker: only the completed prefix may be committed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream.domain.errors import StopError
from stream.kafka.offset_tracker import Tracker, Trackers

PARTITION = ("webhooks", 0)

# Offsets of one partition: any start, any gaps.
offsets_with_gaps = st.tuples(st.integers(0, 10_000), st.lists(st.integers(1, 50), max_size=40)).map(
    lambda start_and_steps: [
        start_and_steps[0] + sum(start_and_steps[1][:n]) for n in range(len(start_and_steps[1]) + 1)
    ]
)


@given(offsets=offsets_with_gaps, data=st.data())
def test_watermark_never_passes_an_unfinished_offset_and_reaches_the_end(
    offsets: list[int], data: st.DataObject
) -> None:
    """In every order of completion the watermark is the first unfinished offset, and finally the one after the last."""
    tracker = Tracker()
    arriving = list(offsets)
    open_offsets: set[int] = set()
    while arriving or open_offsets:
        if arriving and (not open_offsets or data.draw(st.booleans(), label="arrives")):
            offset = arriving.pop(0)
            tracker.track([offset])
            open_offsets.add(offset)
        else:
            offset = data.draw(st.sampled_from(sorted(open_offsets)), label="finishes")
            tracker.complete(offset)
            open_offsets.remove(offset)
        if open_offsets:
            assert tracker.watermark == min(open_offsets)
        assert tracker.unfinished == len(open_offsets)
    assert tracker.watermark == offsets[-1] + 1
    assert tracker.span == 0
    assert tracker.completed == len(offsets)


def test_nothing_is_committable_before_the_first_fetch() -> None:
    """Without a fetched record there is no watermark, because committing 0 for a new group would be wrong."""
    assert Tracker().watermark is None


@pytest.mark.parametrize("foreign", [4, 12, 99])
def test_completing_an_untracked_offset_changes_nothing(foreign: int) -> None:
    """A late completion of another generation, or a second one, does not move the watermark."""
    tracker = Tracker()
    for offset in (10, 11, 12):
        tracker.track([offset])
    tracker.complete(12)
    tracker.complete(foreign)
    assert tracker.watermark == 10
    assert tracker.unfinished == 2


def test_an_offset_below_an_earlier_one_raises() -> None:
    """A lower offset shows an unnoticed seek, which could lose records, so the process must stop."""
    tracker = Tracker()
    tracker.track([7, 8])
    with pytest.raises(StopError, match="offset 7"):
        tracker.track([7])


def test_the_span_counts_from_the_oldest_unfinished_to_the_newest_record() -> None:
    """The span is the number of records that are read again after a crash; offsets without a record do not count."""
    tracker = Tracker()
    for offset in (100, 101, 150, 90_000):
        tracker.track([offset])
    tracker.complete(100)
    tracker.complete(150)
    assert tracker.span == 3


def test_skipped_offsets_are_committed_after_all_records_before_them() -> None:
    """The watermark passes markers and aborted records behind the last record, but no unfinished record."""
    trackers = Trackers()
    trackers.begin_generation([PARTITION])
    tracker = trackers.active()[PARTITION]
    tracker.track([10])
    tracker.advance_to(40)
    assert (tracker.watermark, tracker.span, tracker.unfinished) == (10, 1, 1)
    tracker.complete(10)
    assert trackers.committable() == {PARTITION: 40}
    trackers.committed({PARTITION: 40})
    tracker.advance_to(41)
    tracker.advance_to(30)
    assert trackers.committable() == {PARTITION: 41}
    tracker.track([41])
    assert tracker.watermark == 41


def test_a_partition_with_only_aborted_records_is_committed() -> None:
    """Without any record the position itself is committed."""
    trackers = Trackers()
    trackers.begin_generation([PARTITION])
    assert trackers.committable() == {}
    trackers.active()[PARTITION].advance_to(7)
    assert trackers.committable() == {PARTITION: 7}


def test_a_record_below_a_skipped_offset_raises() -> None:
    """A record below the skipped position shows that the consumer was moved back."""
    tracker = Tracker()
    tracker.advance_to(9)
    with pytest.raises(StopError, match="offset 8"):
        tracker.track([8])


def test_a_late_completion_does_not_move_the_next_generation() -> None:
    """A completion in an old generation's tracker does not move the watermark of the new one."""
    trackers = Trackers()
    trackers.begin_generation([PARTITION])
    old = trackers.active()[PARTITION]
    old.track([5])
    trackers.begin_generation([PARTITION])
    trackers.active()[PARTITION].track([5])
    old.complete(5)
    assert old.revoked
    assert trackers.committable() == {PARTITION: 5}


def test_revoked_partitions_accept_no_records_but_commit_completions() -> None:
    """Between revocation and assignment completions are committed, and fetched records are left to the next owner."""
    trackers = Trackers()
    trackers.begin_generation([PARTITION])
    tracker = trackers.active()[PARTITION]
    tracker.track([5, 6])
    trackers.revoke_all()
    trackers.restart()  # a stray seek in between opens nothing
    assert trackers.active() == {}
    tracker.complete(5)
    assert trackers.committable() == {PARTITION: 6}


def test_only_watermarks_that_moved_are_committed() -> None:
    """An offset that the broker has accepted is not committed again."""
    trackers = Trackers()
    moved, still = ("webhooks", 0), ("webhooks", 1)
    trackers.begin_generation([moved, still])
    for tracker in trackers.active().values():
        tracker.track([1])
    trackers.committed(trackers.committable())
    trackers.active()[moved].complete(1)
    assert trackers.committable() == {moved: 2}


class Reader(RuleBasedStateMachine):
    """One partition whose records are fetched, dropped, completed, committed, read again and revoked in any order."""

    END = 30

    def __init__(self) -> None:
        super().__init__()
        self.trackers = Trackers()
        self.committed = self.position = 0
        self.handed: list[tuple[Tracker, int]] = []  # the agent has begun them
        self.queued: list[tuple[Tracker, int]] = []  # fetched, not yet begun
        self.answered: set[int] = set()
        self.trackers.begin_generation([PARTITION])

    @rule(size=st.integers(1, 8))
    def fetch(self, size: int) -> None:
        """Fetch some records."""
        tracker = self.trackers.active().get(PARTITION)
        offsets = range(self.position, min(self.position + size, self.END))
        if tracker is not None and offsets:
            tracker.track(offsets)
            self.queued += [(tracker, offset) for offset in offsets]
            self.position = offsets[-1] + 1

    @rule()
    def drop(self) -> None:
        """Faust clears its queues, so their records never reach the agent."""
        self.queued.clear()

    @rule(size=st.integers(1, 8))
    def begin(self, size: int) -> None:
        """The agent starts the records whose tracker is not revoked."""
        taken, self.queued = self.queued[:size], self.queued[size:]
        self.handed += [(tracker, offset) for tracker, offset in taken if not tracker.revoked]

    @rule(which=st.integers(0, 100))
    def finish(self, which: int) -> None:
        """A record in progress is completed, possibly one of an old generation."""
        if self.handed:
            tracker, offset = self.handed.pop(which % len(self.handed))
            self.answered.add(offset)
            tracker.complete(offset)

    @rule()
    def commit(self) -> None:
        """Commit the watermark."""
        moved = self.trackers.committable()
        self.committed = moved.get(PARTITION, self.committed)
        self.trackers.committed(moved)

    @rule()
    def seek(self) -> None:
        """Faust seeks to the committed offset within a generation."""
        self.position = self.committed
        self.trackers.restart()

    @rule()
    def revoke(self) -> None:
        """The partition is revoked."""
        self.trackers.revoke_all()

    @rule(lost=st.integers(0, 5))
    def assign(self, lost: int) -> None:
        """The partition is assigned in a new generation. Records of a fetch that began before may be lost."""
        self.trackers.begin_generation([PARTITION], positioned=False)
        self.position = min(self.committed + lost, self.END)

    @invariant()
    def nothing_is_committed_past(self) -> None:
        """Every offset below the committed one was answered."""
        assert self.answered >= set(range(self.committed))

    def teardown(self) -> None:
        """After all records are answered, the committed offset is the end."""
        self.assign(0)
        self.seek()
        while self.position < self.END:
            self.fetch(8)
        self.begin(len(self.queued))
        while self.handed:
            self.finish(0)
        self.commit()
        assert self.committed == self.END
        assert self.answered == set(range(self.END))


TestReader = Reader.TestCase
