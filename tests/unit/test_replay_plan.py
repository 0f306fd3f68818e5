"""A replay's plan: where each partition goes, what is no longer there, what it may cost."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.domain.errors import StopError
from stream.ops.replay import (
    Absolute,
    Bounds,
    Earliest,
    Move,
    PerPartition,
    Shift,
    from_csv,
    max_cost,
    parse_duration,
    plan,
    to_csv,
)
from stream.settings import load
from stream.topics import CRM_GROUP, GROUPS, JOURNAL_GROUP, WORKER_GROUP

# Retention has removed 100 records of partition 0; the group has never committed in partition 1.
BOUNDS = [Bounds(0, 100, 500, 400), Bounds(1, 0, 50, None)]

bounds = st.builds(
    lambda partition, low, length, lag: Bounds(partition, low, low + length, low + length - min(lag, length)),
    st.integers(0, 7),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)


def test_to_earliest_says_what_retention_has_removed() -> None:
    """Everything that is left is read again, and the plan says how much is not."""
    assert plan(BOUNDS, Earliest()) == [Move(0, 400, 100, 400, 100), Move(1, 0, 0, 50, 0)]


def test_a_group_that_never_committed_stands_at_the_beginning() -> None:
    """Without a commit a group would read from the first record, and shifts from there."""
    assert plan(BOUNDS, Shift(10)) == [Move(0, 400, 410, 90, 0), Move(1, 0, 10, 40, 0)]


def test_a_shift_back_past_the_beginning_stops_there() -> None:
    """A move never leaves what a partition holds; what is wanted and gone is counted."""
    assert plan(BOUNDS, Shift(-350))[0] == Move(0, 400, 100, 400, 50)


def test_an_offset_beyond_the_end_is_the_end() -> None:
    """Nothing is left to read there; the group does not wait for records to come."""
    assert plan(BOUNDS, Absolute(10_000)) == [Move(0, 400, 500, 0, 0), Move(1, 0, 50, 0, 0)]


def test_partitions_that_are_not_named_stay() -> None:
    """--partitions limits a plan, and a file's plan is limited to its own."""
    assert [move.partition for move in plan(BOUNDS, Absolute(0), frozenset({1}))] == [1]
    assert plan(BOUNDS, PerPartition({0: 200})) == [Move(0, 400, 200, 300, 0)]


def test_a_partition_that_is_not_there_is_refused() -> None:
    """A mistyped partition must not look like a plan with nothing to do."""
    with pytest.raises(StopError, match="no partition 7"):
        plan(BOUNDS, Absolute(0), frozenset({1, 7}))
    with pytest.raises(StopError, match="no partition 9"):
        plan(BOUNDS, PerPartition({9: 0}))


@given(st.lists(bounds, max_size=8), st.integers(-(10**7), 10**7))
def test_every_move_stays_within_what_is_there(held: list[Bounds], number: int) -> None:
    """Whatever is asked for, no partition goes before its first record or past its end."""
    for target in (Shift(number), Absolute(number), Earliest()):
        for one, move in zip(held, plan(held, target), strict=True):
            assert one.earliest <= move.to <= one.latest
            assert move.records == one.latest - move.to
            assert 0 <= move.removed <= one.earliest


def test_an_exported_plan_reads_as_it_was_written() -> None:
    """A plan that was exported, and is planned again from its file, makes the same moves."""
    moves = plan(BOUNDS, Shift(-100))
    again = plan(BOUNDS, from_csv(to_csv(WORKER_GROUP, moves), WORKER_GROUP))
    assert [(move.partition, move.to) for move in again] == [(move.partition, move.to) for move in moves]


@pytest.mark.parametrize(
    "text", ["", "partition,to\n0,5\n", "group,partition,to\nleads,zero,5\n", "\x00", "group\nleads\n"]
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    """A file that no export wrote stops the replay before it starts."""
    with pytest.raises(StopError):
        from_csv(text, WORKER_GROUP)


def test_the_plan_of_another_group_is_refused() -> None:
    """Offsets of one group mean nothing in another's topic."""
    with pytest.raises(StopError, match=CRM_GROUP):
        from_csv(to_csv(CRM_GROUP, plan(BOUNDS, Absolute(0))), WORKER_GROUP)


def test_only_the_worker_pays() -> None:
    """A lead may cost two Diretrix calls and one of the Work API; who reads answers costs nothing."""
    settings = load({"DIRETRIX_PRICE": "0.01", "WORK_API_PRICE": "0.05"})
    costs = {group: max_cost(group, [Move(0, 10, 0, 10, 0)], settings) for group in GROUPS}
    assert costs == {
        WORKER_GROUP: Decimal("0.70"),
        CRM_GROUP: Decimal(0),
        JOURNAL_GROUP: Decimal(0),
    }


@pytest.mark.parametrize(
    ("text", "hours"), [("PT2H", 2), ("P1D", 24), ("P1DT6H", 30), ("PT90M", 1.5), ("pt3600s", 1), (" PT1H30M ", 1.5)]
)
def test_a_duration_is_read(text: str, hours: float) -> None:
    """ISO 8601, as far as days, hours, minutes and seconds."""
    assert parse_duration(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "P", "PT", "2h", "P1M", "PT1H2", "-PT1H", "P1W"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Months have no length and typing errors no meaning: both are refused."""
    with pytest.raises(ValueError, match="PT2H"):
        parse_duration(text)
