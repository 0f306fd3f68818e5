"""When a parked webhook is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stream.domain.leads import Source
from stream.domain.parking import (
    CUT_SHORT,
    EARLY,
    HELD_BACK,
    LATE,
    Parking,
    RetryPolicy,
    Tries,
    count_of,
    instant_of,
    own_partitions,
    tries_of,
)
from stream.settings import MAX_DELAYS
from stream.topics import RETRIES, WEBHOOKS

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
MINUTE, TEN, HOUR = (timedelta(minutes=minutes) for minutes in (1, 10, 60))
PATIENCE = RetryPolicy((MINUTE, TEN, HOUR), timedelta(days=1))
DOWN = "diretrix: status 500"


def test_every_failure_waits_longer_up_to_the_last_tier() -> None:
    """A minute, ten minutes, then an hour each time."""
    plans = [PATIENCE.park(attempts, None, NOW, DOWN) for attempts in range(5)]
    assert [plan and (plan.attempt, plan.retry_level, plan.not_before - NOW) for plan in plans] == [
        (1, 0, MINUTE),
        (2, 1, TEN),
        (3, 2, HOUR),
        (4, 2, HOUR),
        (5, 2, HOUR),
    ]


def test_with_fewer_delays_the_last_one_is_kept() -> None:
    """One delay: always the first tier."""
    plan = RetryPolicy((MINUTE,), timedelta(days=1)).park(7, None, NOW, DOWN)
    assert plan == Parking(8, NOW, NOW + MINUTE, 0)


@pytest.mark.parametrize("reason", sorted(CUT_SHORT))
def test_what_we_cut_short_is_no_failure(reason: str) -> None:
    """A worker that leaves, or is full, makes no webhook wait longer, nor gives it up: the count stays."""
    for attempts, counted in ((0, 1), (1, 1), (2, 2), (9, 9)):
        assert PATIENCE.park(attempts, None, NOW, reason) == Parking(counted, NOW, NOW + MINUTE, 0)
    old = NOW - timedelta(days=2)
    assert PATIENCE.park(9, old, NOW, reason) == Parking(9, old, NOW + MINUTE, 0)


@pytest.mark.parametrize(
    ("reason", "down"), [*((f"diretrix: {reason}", False) for reason in HELD_BACK), ("work: status 503", True)]
)
def test_what_waits_for_a_partner_that_is_down_takes_the_first_delay_each_time(reason: str, *, down: bool) -> None:
    """Nobody was asked, or the one call that finds out failed: the count stays, and the age alone ends it."""
    for attempts, counted in ((0, 1), (1, 1), (9, 9)):
        plan = PATIENCE.park(attempts, None, NOW, reason, partner_down=down)
        assert plan == Parking(counted, NOW, NOW + MINUTE, 0)
    assert PATIENCE.park(9, NOW - timedelta(days=1), NOW, reason, partner_down=down) is None


def test_the_first_failure_is_remembered_and_ends_it() -> None:
    """The age counts from the first failure; at the limit there is no further try."""
    almost = NOW - timedelta(days=1) + timedelta(seconds=1)
    plan = PATIENCE.park(24, almost, NOW, DOWN)
    assert plan is not None
    assert plan.first_failed == almost
    assert PATIENCE.park(24, NOW - timedelta(days=1), NOW, DOWN) is None


def test_a_first_failure_in_the_future_does_not_keep_a_webhook_for_ever() -> None:
    """A header that no clock of ours wrote counts as now."""
    plan = PATIENCE.park(1, NOW + timedelta(days=9_999), NOW, DOWN)
    assert plan is not None
    assert plan.first_failed == NOW


def test_the_headers_are_read_as_they_were_written() -> None:
    """What a record says of itself comes back as it was."""
    plan = PATIENCE.park(1, NOW - HOUR, NOW, DOWN)
    assert plan is not None
    said = {name: value.decode() for name, value in plan.headers(DOWN)}
    assert (count_of(said["attempt"]), instant_of(said["first-failed"])) == (2, NOW - HOUR)
    assert (instant_of(said["not-before"]), said["reason"]) == (NOW + TEN, DOWN)


@pytest.mark.parametrize(
    ("late", "believed"),
    [(-EARLY, True), (timedelta(0), True), (LATE, True), (-2 * EARLY, False), (LATE + EARLY, False)],
)
def test_what_a_webhook_says_of_its_tries_is_believed_when_it_comes_back_in_time(
    late: timedelta, *, believed: bool
) -> None:
    """A record that was copied, replayed, or never parked by us does not come when it is due."""
    said = {name: value.decode() for name, value in Parking(3, NOW - HOUR, NOW, 0).headers(DOWN)}
    assert tries_of(lambda name: said.get(name, ""), NOW + late) == (Tries(3, NOW - HOUR) if believed else Tries())


@pytest.mark.parametrize("missing", ["first-failed", "not-before"])
def test_half_of_what_is_said_of_tries_is_nothing(missing: str) -> None:
    """Nor is a first failure after the time of the next try believed."""
    said = {name: value.decode() for name, value in Parking(3, NOW, NOW, 0).headers(DOWN)}
    assert tries_of(lambda name: said[name] if name != missing else "", NOW) == Tries()
    said["first-failed"] = (NOW + EARLY).isoformat()
    assert tries_of(said.__getitem__, NOW) == Tries()


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "9" * 5_000, "٣"])
def test_what_is_no_count_is_none(text: str) -> None:
    """A foreign header is no reason to fail."""
    assert count_of(text) == 0


@pytest.mark.parametrize("text", ["", "soon", "2026-01-31T12:00:00", "9" * 5_000])
def test_what_is_no_instant_is_none(text: str) -> None:
    """Nor is one without a zone."""
    assert instant_of(text) is None


@pytest.mark.parametrize("partitions", [1, 2, 3, 8, 33])
def test_each_source_has_partitions_of_its_own(partitions: int) -> None:
    """None is without one, none is left over, and no two share one where there are enough."""
    owned = [set(own_partitions(source, partitions)) for source in Source]
    assert all(owned)
    assert set.union(*owned) == set(range(partitions))
    if partitions >= len(Source):
        assert sum(map(len, owned)) == partitions


def test_there_is_a_topic_for_every_delay() -> None:
    """As many as may be configured, each like `webhooks`, and kept longer than any webhook is tried."""
    assert len(RETRIES) == MAX_DELAYS
    for topic in RETRIES:
        assert (topic.key, topic.partitions) == (WEBHOOKS.key, WEBHOOKS.partitions)
        assert topic.retention is not None
        assert topic.retention > timedelta(days=6)  # what RETRY_MAX_AGE may be at most
