"""The headers of a dead letter."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stream.domain.dead_letters import dead_letter_headers

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def headers(timestamp: float = NOW.timestamp(), reason: str = "id: required") -> list[tuple[str, bytes]]:
    return dead_letter_headers(
        headers=[("ce_id", b"x"), ("attempt", b"2"), ("dl-reason", b"an older one")],
        topic="webhooks",
        partition=3,
        offset=42,
        timestamp=timestamp,
        stage="enrich",
        error="PoisonError",
        reason=reason,
        attempts=2,
        failed_at=NOW,
    )


def test_a_letter_keeps_its_headers_and_says_where_and_why() -> None:
    """The original headers stay; ours are there once, in UTF-8, also for a record that was a dead letter before."""
    assert headers()[:2] == [("ce_id", b"x"), ("attempt", b"2")]
    ours = dict(headers()[2:])
    assert ours.pop("dl-version")
    assert ours == {
        "dl-topic": b"webhooks",
        "dl-partition": b"3",
        "dl-offset": b"42",
        "dl-timestamp": b"2026-01-31T12:00:00+00:00",
        "dl-stage": b"enrich",
        "dl-error": b"PoisonError",
        "dl-reason": b"id: required",
        "dl-attempts": b"2",
        "dl-first-failed": b"2026-01-31T12:00:00+00:00",
        "dl-failed-at": b"2026-01-31T12:00:00+00:00",
    }
    assert len(headers()) == 2 + 11


@pytest.mark.parametrize("timestamp", [-1e18, 1e18, float("nan"), float("inf")])
def test_a_letter_is_written_whatever_a_producer_claims(timestamp: float) -> None:
    """No timestamp and no reason prevents a dead letter; the reason is bounded."""
    ours = dict(headers(timestamp, "\ud800" + "x" * 5_000))
    assert ours["dl-timestamp"]
    assert len(ours["dl-reason"]) == 500
