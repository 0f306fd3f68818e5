"""The commit tracker: what may be committed is the finished prefix, nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.engine.tracker import Tracker, Trackers

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
            tracker.start(offset)
            open_offsets.add(offset)
        else:
            offset = data.draw(st.sampled_from(sorted(open_offsets)), label="finishes")
            tracker.finish(offset)
            open_offsets.remove(offset)
        if open_offsets:
            assert tracker.watermark == min(open_offsets)
        assert tracker.unfinished == len(open_offsets)
    assert tracker.watermark == offsets[-1] + 1
    assert tracker.span == 0
    assert tracker.finished == len(offsets)


def test_nothing_is_committable_before_the_first_arrival() -> None:
    """A tracker that saw nothing has no opinion: committing 0 on a fresh group would be a lie."""
    assert Tracker().watermark is None


@pytest.mark.parametrize("foreign", [4, 12, 99])
def test_finishing_what_is_not_under_way_changes_nothing(foreign: int) -> None:
    """A late finish of another generation, or a second finish, can't move the watermark."""
    tracker = Tracker()
    for offset in (10, 11, 12):
        tracker.start(offset)
    tracker.finish(12)
    tracker.finish(foreign)
    assert tracker.watermark == 10
    assert tracker.unfinished == 2


def test_an_offset_that_arrives_again_is_told_and_counts_once() -> None:
    """After a seek back, what is under way or finished already must not be worked on twice."""
    tracker = Tracker()
    assert tracker.start(7)
    assert tracker.start(8)
    tracker.finish(7)
    assert not tracker.start(7)
    assert not tracker.start(8)
    assert (tracker.watermark, tracker.unfinished) == (8, 1)


def test_span_counts_from_the_oldest_unfinished_to_the_newest_read() -> None:
    """The span is what a crash would make the worker read again."""
    tracker = Tracker()
    for offset in (100, 101, 150):
        tracker.start(offset)
    tracker.finish(100)
    assert tracker.span == 50


def test_a_generation_forgets_the_one_before() -> None:
    """What an old generation's tracker finishes moves nothing in the new one."""
    trackers = Trackers()
    partition = ("webhooks", 0)
    trackers.renew({partition})
    old = trackers.of(partition)
    old.start(5)
    trackers.renew({partition})
    trackers.of(partition).start(5)
    old.finish(5)
    assert trackers.committable() == {partition: 5}


def test_only_watermarks_that_moved_are_committed() -> None:
    """What the broker has accepted is not sent again."""
    trackers = Trackers()
    moved, still = ("webhooks", 0), ("webhooks", 1)
    trackers.renew({moved, still})
    for partition in (moved, still):
        trackers.of(partition).start(1)
    trackers.committed(trackers.committable())
    trackers.of(moved).finish(1)
    assert trackers.committable() == {moved: 2}
