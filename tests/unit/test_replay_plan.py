"""The plan of a replay: the new offset of each partition, the records that retention removed, the possible cost."""

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


def test_to_earliest_counts_removed_records() -> None:
    """All remaining records are read again, and the plan counts those that retention has removed."""
    assert plan(BOUNDS, Earliest()) == [Move(0, 400, 100, 400, 100), Move(1, 0, 0, 50, 0)]


def test_a_group_without_a_commit_is_at_the_beginning() -> None:
    """A group without a commit reads from the first record, and a shift starts there."""
    assert plan(BOUNDS, Shift(10)) == [Move(0, 400, 410, 90, 0), Move(1, 0, 10, 40, 0)]


def test_a_shift_back_past_the_beginning_stops_there() -> None:
    """A shift stops at the first record of a partition; requested records before it are counted as removed."""
    assert plan(BOUNDS, Shift(-350))[0] == Move(0, 400, 100, 400, 50)


def test_an_offset_beyond_the_end_is_the_end() -> None:
    """An offset beyond the end becomes the end, so that the group does not wait for future records."""
    assert plan(BOUNDS, Absolute(10_000)) == [Move(0, 400, 500, 0, 0), Move(1, 0, 50, 0, 0)]


def test_a_plan_counts_the_unread_records_that_it_skips() -> None:
    """A move beyond what the group has read loses records; a move back loses none."""
    assert [move.skipped for move in plan(BOUNDS, Absolute(10_000))] == [100, 50]
    assert [move.skipped for move in plan(BOUNDS, Earliest())] == [0, 0]


def test_partitions_that_are_not_named_do_not_move() -> None:
    """--partitions limits a plan, and a plan file moves only the partitions it contains."""
    assert [move.partition for move in plan(BOUNDS, Absolute(0), frozenset({1}))] == [1]
    assert plan(BOUNDS, PerPartition({0: 200})) == [Move(0, 400, 200, 300, 0)]


def test_an_unknown_partition_is_refused() -> None:
    """A mistyped partition is an error, not an empty plan."""
    with pytest.raises(StopError, match="no partition 7"):
        plan(BOUNDS, Absolute(0), frozenset({1, 7}))
    with pytest.raises(StopError, match="no partition 9"):
        plan(BOUNDS, PerPartition({9: 0}))


@given(st.lists(bounds, max_size=8), st.integers(-(10**7), 10**7))
def test_every_move_stays_within_its_partition(held: list[Bounds], number: int) -> None:
    """For every target each new offset is between the first record and the end of its partition."""
    for target in (Shift(number), Absolute(number), Earliest()):
        for one, move in zip(held, plan(held, target), strict=True):
            assert one.earliest <= move.to <= one.latest
            assert move.records == one.latest - move.to
            assert 0 <= move.removed <= one.earliest


def test_an_exported_plan_reads_as_it_was_written() -> None:
    """A plan that is exported and read again makes the same moves."""
    moves = plan(BOUNDS, Shift(-100))
    again = plan(BOUNDS, from_csv(to_csv(WORKER_GROUP, moves), WORKER_GROUP))
    assert [(move.partition, move.to) for move in again] == [(move.partition, move.to) for move in moves]


@pytest.mark.parametrize(
    "text", ["", "partition,to\n0,5\n", "group,partition,to\nleads,zero,5\n", "\x00", "group\nleads\n"]
)
def test_a_file_that_is_no_plan_is_refused(text: str) -> None:
    """A file that is no exported plan is an error before the replay starts."""
    with pytest.raises(StopError):
        from_csv(text, WORKER_GROUP)


def test_the_plan_of_another_group_is_refused() -> None:
    """A plan for another group is an error."""
    with pytest.raises(StopError, match=CRM_GROUP):
        from_csv(to_csv(CRM_GROUP, plan(BOUNDS, Absolute(0))), WORKER_GROUP)


def test_only_the_worker_group_costs_money() -> None:
    """A lead may cost two Diretrix calls and one of the Work API; other groups cost nothing."""
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
def test_a_duration_is_parsed(text: str, hours: float) -> None:
    """ISO 8601 durations of days, hours, minutes and seconds are read."""
    assert parse_duration(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "P", "PT", "2h", "P1M", "PT1H2", "-PT1H", "P1W"])
def test_other_durations_are_refused(text: str) -> None:
    """Months, whose length varies, and typing errors are refused."""
    with pytest.raises(ValueError, match="PT2H"):
        parse_duration(text)
