"""The dead-letter limit: when it is exceeded, and when it must not be."""

from __future__ import annotations

import random

import pytest

from stream.domain.dead_letter_limit import WINDOW_SECONDS, DlqLimit, DlqLimitState
from stream.settings import load

LIMIT = DlqLimit(in_a_row=5, share=0.5, minimum=10)
DEFAULTS = load({}).fuse


def read(state: DlqLimitState, what: str, now: float = 0.0) -> str:
    """Record ``g`` as valid and ``d`` as invalid; returns why the limit is exceeded."""
    for one in what:
        if one == "g":
            state.record_valid(now)
        else:
            state.record_invalid(now)
    return state.exceeded


def test_so_many_in_a_row_exceed_it() -> None:
    """The last of ``in_a_row`` exceeds the limit, not one before, however slowly they come."""
    state = DlqLimitState(LIMIT)
    for number in range(4):
        assert state.record_invalid(number * 1_000.0) == ""
    assert state.record_invalid(9_999.0) == "5 dead letters in a row"


def test_a_valid_record_resets_the_row() -> None:
    """Four invalid, one valid, four invalid records do not exceed the limit."""
    assert read(DlqLimitState(LIMIT), "ddddgddddg") == ""


def test_many_valid_records_may_be_counted_at_once() -> None:
    """The share is the same whether valid records are counted at once or one by one."""
    at_once, one_by_one = DlqLimitState(LIMIT), DlqLimitState(LIMIT)
    at_once.record_valid(0.0, 10)
    read(one_by_one, "g" * 10)
    assert read(at_once, "ddddgddddgddd") == read(one_by_one, "ddddgddddgddd") == ""
    assert read(at_once, "gdddd") == read(one_by_one, "gdddd") == "14 dead letters of 27 records read within 60 s"


def test_more_than_the_share_exceeds_it_above_the_minimum() -> None:
    """Ten of nineteen exceed a share of one half; nine of seventeen are below the minimum."""
    assert read(DlqLimitState(LIMIT), "dg" * 8 + "d") == ""
    state = DlqLimitState(LIMIT)
    assert read(state, "dg" * 9) == ""
    assert state.record_invalid(1.0) == "10 dead letters of 19 records read within 60 s"


def test_exactly_the_share_does_not_exceed_it() -> None:
    """Exactly one half never exceeds a share of one half."""
    assert read(DlqLimitState(LIMIT), "gd" * 10_000) == ""


def test_records_older_than_the_window_do_not_count() -> None:
    """Nine invalid records, and nine a minute later, are never ten within one window."""
    state = DlqLimitState(LIMIT)
    read(state, "dg" * 4 + "dd", now=0.0)
    assert read(state, "gdg" + "dg" * 5, now=WINDOW_SECONDS + 1.0) == ""


def test_an_exceeded_limit_stays_exceeded() -> None:
    """The limit stays exceeded whatever is recorded afterwards."""
    state = DlqLimitState(LIMIT)
    read(state, "ddddd")
    assert read(state, "g" * 100 + "d") == "5 dead letters in a row"


@pytest.mark.parametrize("seed", range(5))
def test_as_many_invalid_as_valid_records_do_not_exceed_the_defaults(seed: int) -> None:
    """Ten thousand of each, in any order, fast or slow, do not exceed the default limit."""
    what = list("g" * 10_000 + "d" * 10_000)
    chance = random.Random(seed)
    chance.shuffle(what)
    for per_second in (100, 20_000):
        state = DlqLimitState(DEFAULTS)
        for number, one in enumerate(what):
            read(state, one, number / per_second)
        assert state.exceeded == ""


def test_after_a_bad_release_the_defaults_are_exceeded() -> None:
    """A hundred invalid records in a row exceed the default limit, and so do four of five within a minute."""
    assert read(DlqLimitState(DEFAULTS), "g" * 1_000 + "d" * 99) == ""
    assert read(DlqLimitState(DEFAULTS), "g" * 1_000 + "d" * 100) == "100 dead letters in a row"
    assert read(DlqLimitState(DEFAULTS), "ddddg" * 100) != ""
