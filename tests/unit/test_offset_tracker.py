"""The commit tracker: what may be committed is the finished prefix, nothing else."""

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
    """In every order of completion the watermark is the first unfinished offset, and at last the one after the end."""
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


def test_nothing_is_committable_before_the_first_arrival() -> None:
    """A tracker that saw nothing has no opinion: committing 0 on a fresh group would be a lie."""
    assert Tracker().watermark is None


@pytest.mark.parametrize("foreign", [4, 12, 99])
def test_finishing_what_is_not_under_way_changes_nothing(foreign: int) -> None:
    """A late finish of another generation, or a second finish, can't move the watermark."""
    tracker = Tracker()
    for offset in (10, 11, 12):
        tracker.track([offset])
    tracker.complete(12)
    tracker.complete(foreign)
    assert tracker.watermark == 10
    assert tracker.unfinished == 2


def test_an_offset_below_what_arrived_stops_the_reader() -> None:
    """A seek that nobody told the tracker of could lose records: a fresh process is the way out."""
    tracker = Tracker()
    tracker.track([7, 8])
    with pytest.raises(StopError, match="offset 7"):
        tracker.track([7])


def test_span_counts_from_the_oldest_unfinished_to_the_newest_read() -> None:
    """The span is the records that a crash would make the worker read again; offsets that hold none do not count."""
    tracker = Tracker()
    for offset in (100, 101, 150, 90_000):
        tracker.track([offset])
    tracker.complete(100)
    tracker.complete(150)
    assert tracker.span == 3


def test_what_is_passed_over_is_committed_once_all_before_it_is_finished() -> None:
    """Behind the last record markers and aborted records are committed past; never past an unfinished record."""
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


def test_a_partition_of_nothing_but_aborted_records_is_committed() -> None:
    """Where no record ever arrived the position itself is what to commit."""
    trackers = Trackers()
    trackers.begin_generation([PARTITION])
    assert trackers.committable() == {}
    trackers.active()[PARTITION].advance_to(7)
    assert trackers.committable() == {PARTITION: 7}


def test_a_record_below_what_was_passed_over_stops_the_reader() -> None:
    """The reader was said to stand behind it: somebody has moved it."""
    tracker = Tracker()
    tracker.advance_to(9)
    with pytest.raises(StopError, match="offset 8"):
        tracker.track([8])


def test_a_generation_forgets_the_one_before() -> None:
    """What an old generation's tracker finishes moves nothing in the new one."""
    trackers = Trackers()
    trackers.begin_generation([PARTITION])
    old = trackers.active()[PARTITION]
    old.track([5])
    trackers.begin_generation([PARTITION])
    trackers.active()[PARTITION].track([5])
    old.complete(5)
    assert old.revoked
    assert trackers.committable() == {PARTITION: 5}


def test_nothing_new_begins_when_partitions_are_about_to_go_but_what_flies_counts() -> None:
    """Between revoking and assigning, what finishes is committed and what is fetched is left to the next owner."""
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
    """What the broker has accepted is not sent again."""
    trackers = Trackers()
    moved, still = ("webhooks", 0), ("webhooks", 1)
    trackers.begin_generation([moved, still])
    for tracker in trackers.active().values():
        tracker.track([1])
    trackers.committed(trackers.committable())
    trackers.active()[moved].complete(1)
    assert trackers.committable() == {moved: 2}


class Reader(RuleBasedStateMachine):
    """A partition that is fetched, dropped on its way, answered, committed, read again and taken away, in any order."""

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
        """Some records arrive."""
        tracker = self.trackers.active().get(PARTITION)
        offsets = range(self.position, min(self.position + size, self.END))
        if tracker is not None and offsets:
            tracker.track(offsets)
            self.queued += [(tracker, offset) for offset in offsets]
            self.position = offsets[-1] + 1

    @rule()
    def drop(self) -> None:
        """Faust clears its queues: what is in them never reaches the agent."""
        self.queued.clear()

    @rule(size=st.integers(1, 8))
    def begin(self, size: int) -> None:
        """The agent takes what is still its own."""
        taken, self.queued = self.queued[:size], self.queued[size:]
        self.handed += [(tracker, offset) for tracker, offset in taken if not tracker.revoked]

    @rule(which=st.integers(0, 100))
    def finish(self, which: int) -> None:
        """Any of what is under way ends, also what an old generation has begun."""
        if self.handed:
            tracker, offset = self.handed.pop(which % len(self.handed))
            self.answered.add(offset)
            tracker.complete(offset)

    @rule()
    def commit(self) -> None:
        """The watermark goes to the broker."""
        moved = self.trackers.committable()
        self.committed = moved.get(PARTITION, self.committed)
        self.trackers.committed(moved)

    @rule()
    def seek(self) -> None:
        """Faust goes back to the committed offset, in the middle of a generation."""
        self.position = self.committed
        self.trackers.restart()

    @rule()
    def revoke(self) -> None:
        """The partition is about to go."""
        self.trackers.revoke_all()

    @rule(lost=st.integers(0, 5))
    def assign(self, lost: int) -> None:
        """It comes back, in a new generation. A fetch that began before it may be dropped when it returns."""
        self.trackers.begin_generation([PARTITION], positioned=False)
        self.position = min(self.committed + lost, self.END)

    @invariant()
    def nothing_is_committed_past(self) -> None:
        """Every offset below the committed one has its answer."""
        assert self.answered >= set(range(self.committed))

    def teardown(self) -> None:
        """Once all is quiet, the committed offset reaches the end."""
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
