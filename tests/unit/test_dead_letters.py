"""Dead letters: how they are read, filtered, closed by markers and redriven."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from producers.records import RawWebhook, dead_letter_record, webhook_record
from stream.domain.dead_letters import (
    TOO_LARGE,
    DeadLetter,
    DeadLetterFilter,
    DeadLetterStatus,
    dead_letter_headers,
    marker,
    read_dead_letter,
    read_marker,
)
from stream.domain.errors import PoisonError
from stream.domain.leads import Source, decode_webhook
from stream.domain.parking import Parking
from stream.domain.redrive import redriven_record
from tests.support.fakes import c2s_webhook

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
GOLDEN = Path(__file__).parents[1] / "golden"
BODY = (GOLDEN / "c2s_create.json").read_bytes()
NOBODY: frozenset[str] = frozenset()


def letter(  # noqa: PLR0913 - a letter
    stage: str = "enrich",
    *,
    headers: list[tuple[str, bytes]] | None = None,
    key: bytes | None = b"key",
    topic: str = "webhooks",
    offset: int = 7,
    failed_at: datetime = NOW,
) -> DeadLetter:
    """A dead letter as the project writes it."""
    written = dead_letter_headers(
        headers=headers or [],
        topic=topic,
        partition=3,
        offset=42,
        timestamp=NOW.timestamp(),
        stage=stage,
        error="PoisonError",
        reason="id: required",
        attempts=2,
        failed_at=failed_at,
        first_failed=NOW - timedelta(hours=1),
    )
    return read_dead_letter(offset, key, b"12345", written, NOW)


def test_a_letter_is_read_as_it_was_written() -> None:
    """Every fact that was written is read again; the original headers are apart from ours."""
    found = letter(headers=[("ce_id", b"x"), ("dl-closes", b"1")])
    assert found.original == (("ce_id", b"x"),)
    assert (found.topic, found.partition, found.original_offset, found.stage, found.error) == (
        "webhooks",
        3,
        42,
        "enrich",
        "PoisonError",
    )
    assert (found.attempts, found.reason, found.size) == (2, "id: required", 5)
    assert (found.first_failed, found.failed_at, found.timestamp) == (NOW - timedelta(hours=1), NOW, NOW.isoformat())
    assert found.version


@pytest.mark.parametrize(
    "headers",
    [[], [("dl-offset", b"x" * 5_000)], [("dl-failed-at", b"\xff"), ("dl-attempts", b"-9")], [("dl-closes", b"")]],
)
def test_any_record_of_the_topic_is_listed(headers: list[tuple[str, bytes]]) -> None:
    """A record that somebody else wrote is a dead letter of an unknown stage, dated by its time stamp."""
    found = read_dead_letter(1, None, None, headers, NOW)
    assert (found.stage, found.original_offset, found.attempts, found.failed_at) == ("unknown", -1, 0, NOW)
    assert read_marker(headers) is None


@pytest.mark.parametrize("status", [DeadLetterStatus.REDRIVEN, DeadLetterStatus.DROPPED])
def test_a_marker_says_what_became_of_a_letter(status: DeadLetterStatus) -> None:
    """A marker names the dead letter's offset and status; a dead letter is no marker, whatever its headers."""
    assert read_marker(marker(7, status, NOW)) == (7, status)
    written = dead_letter_headers(
        headers=marker(7, status, NOW),
        topic="webhooks",
        partition=0,
        offset=0,
        timestamp=0,
        stage="enrich",
        error="PoisonError",
        reason="",
        attempts=1,
        failed_at=NOW,
    )
    assert read_marker(written) is None


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (DeadLetterFilter(), True),
        (DeadLetterFilter(offsets=frozenset({7})), True),
        (DeadLetterFilter(offsets=frozenset({8})), False),
        (DeadLetterFilter(stages=frozenset({"enrich", "crm"})), True),
        (DeadLetterFilter(stages=frozenset({"crm"})), False),
        (DeadLetterFilter(errors=frozenset({"GivenUpError"})), False),
        (DeadLetterFilter(topics=frozenset({"contacts.enriched"})), False),
        (DeadLetterFilter(since=NOW), True),
        (DeadLetterFilter(since=NOW + timedelta(seconds=1)), False),
        (DeadLetterFilter(until=NOW), False),
        (DeadLetterFilter(until=NOW + timedelta(seconds=1)), True),
        (DeadLetterFilter(statuses=frozenset({DeadLetterStatus.DROPPED})), False),
    ],
)
def test_filters_narrow_down(wanted: DeadLetterFilter, matches: bool) -> None:  # noqa: FBT001 - a case
    """All criteria must match; without a status only open dead letters match."""
    assert wanted.matches(letter()) is matches
    assert DeadLetterFilter().is_everything


def test_a_redriven_webhook_keeps_its_identity_and_loses_its_retry_headers() -> None:
    """Topic, partition, key, bytes and headers stay; retry headers are removed; a header says it was redriven."""
    tries = Parking(9, NOW, NOW, 2).headers("diretrix: status 500")
    value = c2s_webhook(phone="11987654321")
    found = letter(headers=[("ce_id", b"x"), *tries, ("reroute", b"1"), ("redriven", b"2"), ("theirs", b"\xff")])
    redriven = redriven_record(found, value, NOBODY)
    assert (redriven.topic, redriven.partition, redriven.key, redriven.value) == ("webhooks", 3, b"key", value)
    assert redriven.headers == [("ce_id", b"x"), ("theirs", b"\xff"), ("redriven", b"7")]


def test_a_redriven_body_is_published_as_the_producers_would() -> None:
    """A body that can be read now gets the key, identity, bytes and time that the producers would give it."""
    part = RawWebhook(BODY, orjson.loads(BODY))
    sent = webhook_record(Source.C2S, part, NOW, NOBODY)
    written = dead_letter_record(Source.C2S, part, NOW, PoisonError("an older version could not read it"))
    found = read_dead_letter(7, written.key, written.value, written.headers, NOW)
    assert (found.stage, found.original_offset) == ("receive", -1)
    redriven = redriven_record(found, written.value, NOBODY)
    assert (redriven.topic, redriven.partition, redriven.key) == (sent.topic, None, sent.key)
    assert redriven.headers == [*sent.headers, ("redriven", b"7")]
    assert redriven.value is not None
    theirs, ours = decode_webhook(sent.value), decode_webhook(redriven.value)
    assert ours == theirs
    assert BODY in redriven.value


def test_a_redriven_event_goes_back_to_the_events() -> None:
    """An event that the CRM refused is published unchanged under the same identity."""
    value = orjson.dumps(
        {
            "event_id": "e",
            "revision": "r",
            "lead": {"source": "c2s", "id": "L"},
            "contact": {"key": "k"},
            "outcome": "not_found",
            "received_at": NOW,
            "emitted_at": NOW,
        }
    )
    found = letter("crm", topic="contacts.enriched", headers=[("ce_id", b"e")])
    redriven = redriven_record(found, value, NOBODY)
    assert (redriven.topic, redriven.partition, redriven.key, redriven.value) == ("contacts.enriched", 3, b"key", value)
    assert redriven.headers == [("ce_id", b"e"), ("redriven", b"7")]


@pytest.mark.parametrize(
    ("found", "value", "reason"),
    [
        (letter(), b"not JSON", "not JSON"),
        (letter(), None, "tombstone"),
        (replace(letter(), reason=TOO_LARGE), c2s_webhook(phone="11987654321"), "too large"),
        (letter("crm"), b"{}", "not an event"),
        (letter("receive", headers=[("ce_source", b"/lead-stream/producers/c2s")]), b"{}", "required"),
        (letter("receive", headers=[("ce_source", b"/lead-stream/producers/c2s")]), b"[]", "object"),
        (letter("receive"), BODY, "ce_source"),
        (letter("somebody's"), BODY, "stage"),
    ],
)
def test_a_letter_that_would_fail_again_is_refused(found: DeadLetter, value: bytes | None, reason: str) -> None:
    """PoisonError says why, without quoting the value."""
    with pytest.raises(PoisonError, match=reason):
        redriven_record(found, value, NOBODY)
