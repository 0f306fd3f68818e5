"""The fuse of the dead letters: when it blows, and when it must not."""

from __future__ import annotations

import random

import pytest

from stream.domain.dead_letter_limit import WINDOW_SECONDS, DlqLimit, DlqLimitState
from stream.settings import load

RATING = DlqLimit(in_a_row=5, share=0.5, minimum=10)
DEFAULTS = load({}).fuse


def read(fuse: DlqLimitState, what: str, now: float = 0.0) -> str:
    """Read ``g`` good ones and ``d`` dead ones; why the fuse is blown."""
    for one in what:
        if one == "g":
            fuse.record_valid(now)
        else:
            fuse.record_invalid(now)
    return fuse.exceeded


def test_so_many_in_a_row_blow_it() -> None:
    """The last of them, not one before, however slowly they come."""
    fuse = DlqLimitState(RATING)
    for number in range(4):
        assert fuse.record_invalid(number * 1_000.0) == ""
    assert fuse.record_invalid(9_999.0) == "5 dead letters in a row"


def test_a_good_one_begins_the_row_anew() -> None:
    """Four, a good one, four: it holds."""
    assert read(DlqLimitState(RATING), "ddddgddddg") == ""


def test_many_good_ones_count_as_many() -> None:
    """What was understood may be told at once: the share is the same as one by one."""
    at_once, one_by_one = DlqLimitState(RATING), DlqLimitState(RATING)
    at_once.record_valid(0.0, 10)
    read(one_by_one, "g" * 10)
    assert read(at_once, "ddddgddddgddd") == read(one_by_one, "ddddgddddgddd") == ""
    assert read(at_once, "gdddd") == read(one_by_one, "gdddd") == "14 dead letters of 27 records read within 60 s"


def test_more_than_a_share_blows_it_once_there_are_enough() -> None:
    """Ten of nineteen is more than half; nine of seventeen are too few to say anything."""
    assert read(DlqLimitState(RATING), "dg" * 8 + "d") == ""
    fuse = DlqLimitState(RATING)
    assert read(fuse, "dg" * 9) == ""
    assert fuse.record_invalid(1.0) == "10 dead letters of 19 records read within 60 s"


def test_just_the_share_does_not() -> None:
    """Half and half holds, for ever."""
    assert read(DlqLimitState(RATING), "gd" * 10_000) == ""


def test_what_is_older_than_the_window_is_forgotten() -> None:
    """Nine, and a minute later nine again: never ten within one."""
    fuse = DlqLimitState(RATING)
    read(fuse, "dg" * 4 + "dd", now=0.0)
    assert read(fuse, "gdg" + "dg" * 5, now=WINDOW_SECONDS + 1.0) == ""


def test_a_blown_fuse_stays_blown() -> None:
    """Whatever comes after it."""
    fuse = DlqLimitState(RATING)
    read(fuse, "ddddd")
    assert read(fuse, "g" * 100 + "d") == "5 dead letters in a row"


@pytest.mark.parametrize("seed", range(5))
def test_ten_thousand_hostile_messages_between_as_many_good_ones_do_not_blow_the_defaults(seed: int) -> None:
    """In any order that chance makes, fast or slow."""
    what = list("g" * 10_000 + "d" * 10_000)
    chance = random.Random(seed)
    chance.shuffle(what)
    for per_second in (100, 20_000):
        fuse = DlqLimitState(DEFAULTS)
        for number, one in enumerate(what):
            read(fuse, one, number / per_second)
        assert fuse.exceeded == ""


def test_after_a_bad_release_the_defaults_blow() -> None:
    """Nothing is understood any more: a hundred letters are enough. Of one source in five kinds four: too."""
    assert read(DlqLimitState(DEFAULTS), "g" * 1_000 + "d" * 99) == ""
    assert read(DlqLimitState(DEFAULTS), "g" * 1_000 + "d" * 100) == "100 dead letters in a row"
    assert read(DlqLimitState(DEFAULTS), "ddddg" * 100) != ""
