"""When a parked webhook is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stream.domain.leads import Source
from stream.domain.parking import (
    INTERRUPTED,
    MAX_EARLY,
    MAX_LATE,
    NOT_ASKED,
    FailedAttempts,
    Parking,
    RetryPolicy,
    count_of,
    failed_attempts_of,
    instant_of,
    own_partitions,
)
from stream.settings import MAX_DELAYS
from stream.topics import RETRIES, WEBHOOKS

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
MINUTE, TEN, HOUR = (timedelta(minutes=minutes) for minutes in (1, 10, 60))
RETRY_POLICY = RetryPolicy((MINUTE, TEN, HOUR), timedelta(days=1))
DOWN = "diretrix: status 500"


def test_every_failure_waits_longer_up_to_the_last_level() -> None:
    """The delays are a minute, ten minutes, then an hour each time."""
    plans = [RETRY_POLICY.park(attempts, None, NOW, DOWN) for attempts in range(5)]
    assert [plan and (plan.attempt, plan.retry_level, plan.not_before - NOW) for plan in plans] == [
        (1, 0, MINUTE),
        (2, 1, TEN),
        (3, 2, HOUR),
        (4, 2, HOUR),
        (5, 2, HOUR),
    ]


def test_with_fewer_delays_the_last_one_is_kept() -> None:
    """With one delay every retry has the first retry level."""
    plan = RetryPolicy((MINUTE,), timedelta(days=1)).park(7, None, NOW, DOWN)
    assert plan == Parking(8, NOW, NOW + MINUTE, 0)


@pytest.mark.parametrize("reason", sorted(INTERRUPTED))
def test_an_interrupted_attempt_is_no_failure(reason: str) -> None:
    """An attempt that a shutdown or a full queue ends neither raises the count nor gives the webhook up."""
    for attempts, counted in ((0, 1), (1, 1), (2, 2), (9, 9)):
        assert RETRY_POLICY.park(attempts, None, NOW, reason) == Parking(counted, NOW, NOW + MINUTE, 0)
    old = NOW - timedelta(days=2)
    assert RETRY_POLICY.park(9, old, NOW, reason) == Parking(9, old, NOW + MINUTE, 0)


@pytest.mark.parametrize(
    ("reason", "down"), [*((f"diretrix: {reason}", False) for reason in NOT_ASKED), ("work: status 503", True)]
)
def test_a_webhook_that_waits_for_a_partner_takes_the_first_delay(reason: str, *, down: bool) -> None:
    """While the partner is down the count stays; only the age ends the retries."""
    for attempts, counted in ((0, 1), (1, 1), (9, 9)):
        plan = RETRY_POLICY.park(attempts, None, NOW, reason, partner_down=down)
        assert plan == Parking(counted, NOW, NOW + MINUTE, 0)
    assert RETRY_POLICY.park(9, NOW - timedelta(days=1), NOW, reason, partner_down=down) is None


def test_the_first_failure_is_remembered_and_ends_it() -> None:
    """The age counts from the first failure; at the limit there is no further retry."""
    almost = NOW - timedelta(days=1) + timedelta(seconds=1)
    plan = RETRY_POLICY.park(24, almost, NOW, DOWN)
    assert plan is not None
    assert plan.first_failed == almost
    assert RETRY_POLICY.park(24, NOW - timedelta(days=1), NOW, DOWN) is None


def test_a_first_failure_in_the_future_does_not_keep_a_webhook_for_ever() -> None:
    """A first failure in the future counts as now."""
    plan = RETRY_POLICY.park(1, NOW + timedelta(days=9_999), NOW, DOWN)
    assert plan is not None
    assert plan.first_failed == NOW


def test_the_headers_are_read_as_they_were_written() -> None:
    """The retry headers are read as they were written."""
    plan = RETRY_POLICY.park(1, NOW - HOUR, NOW, DOWN)
    assert plan is not None
    said = {name: value.decode() for name, value in plan.headers(DOWN)}
    assert (count_of(said["attempt"]), instant_of(said["first-failed"])) == (2, NOW - HOUR)
    assert (instant_of(said["not-before"]), said["reason"]) == (NOW + TEN, DOWN)


@pytest.mark.parametrize(
    ("late", "believed"),
    [
        (-MAX_EARLY, True),
        (timedelta(0), True),
        (MAX_LATE, True),
        (-2 * MAX_EARLY, False),
        (MAX_LATE + MAX_EARLY, False),
    ],
)
def test_retry_headers_are_trusted_only_when_a_webhook_comes_back_in_time(late: timedelta, *, believed: bool) -> None:
    """A record that was copied, replayed or never parked does not come when it is due, so its headers are ignored."""
    said = {name: value.decode() for name, value in Parking(3, NOW - HOUR, NOW, 0).headers(DOWN)}
    assert failed_attempts_of(lambda name: said.get(name, ""), NOW + late) == (
        FailedAttempts(3, NOW - HOUR) if believed else FailedAttempts()
    )


@pytest.mark.parametrize("missing", ["first-failed", "not-before"])
def test_incomplete_retry_headers_are_ignored(missing: str) -> None:
    """A missing header, or a first failure after the due time, makes all of them void."""
    said = {name: value.decode() for name, value in Parking(3, NOW, NOW, 0).headers(DOWN)}
    assert failed_attempts_of(lambda name: said[name] if name != missing else "", NOW) == FailedAttempts()
    said["first-failed"] = (NOW + MAX_EARLY).isoformat()
    assert failed_attempts_of(said.__getitem__, NOW) == FailedAttempts()


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "9" * 5_000, "٣"])
def test_a_text_that_is_no_count_is_zero(text: str) -> None:
    """A foreign ``attempt`` header counts as 0."""
    assert count_of(text) == 0


@pytest.mark.parametrize("text", ["", "soon", "2026-01-31T12:00:00", "9" * 5_000])
def test_a_text_that_is_no_instant_is_none(text: str) -> None:
    """A text that is no instant, or has no time zone, is None."""
    assert instant_of(text) is None


@pytest.mark.parametrize("partitions", [1, 2, 3, 8, 33])
def test_each_source_has_partitions_of_its_own(partitions: int) -> None:
    """Each source has at least one partition, every partition has a source, and none is shared if there are enough."""
    owned = [set(own_partitions(source, partitions)) for source in Source]
    assert all(owned)
    assert set.union(*owned) == set(range(partitions))
    if partitions >= len(Source):
        assert sum(map(len, owned)) == partitions


def test_there_is_a_topic_for_every_delay() -> None:
    """There are as many retry topics as delays, each like `webhooks`, with a retention above the maximum age."""
    assert len(RETRIES) == MAX_DELAYS
    for topic in RETRIES:
        assert (topic.key, topic.partitions) == (WEBHOOKS.key, WEBHOOKS.partitions)
        assert topic.retention is not None
        assert topic.retention > timedelta(days=6)  # what RETRY_MAX_AGE may be at most
