"""Dead letters as an operator sees them, and what becomes of them when they are redriven."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from producers.records import RawWebhook, dead_letter_record, webhook_record
from stream.domain.dead_letters import (
    TOO_LARGE,
    Letter,
    LetterFilter,
    LetterStatus,
    dead_letter_headers,
    marker,
    read_letter,
    read_marker,
)
from stream.domain.errors import PoisonError
from stream.domain.leads import Source, decode_webhook
from stream.domain.parking import Parking
from stream.domain.redrive import revive
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
) -> Letter:
    """A letter as the project writes it."""
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
    return read_letter(offset, key, b"12345", written, NOW)


def test_a_letter_is_read_as_it_was_written() -> None:
    """Every fact that a writer puts down comes back; its own headers are apart from ours."""
    found = letter(headers=[("ce_id", b"x"), ("dl-closes", b"1")])
    assert found.original == (("ce_id", b"x"),)
    assert (found.topic, found.partition, found.origin, found.stage, found.error) == (
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
def test_whatever_lies_in_the_topic_is_listed(headers: list[tuple[str, bytes]]) -> None:
    """What somebody else wrote there is a letter of an unknown stage, dated by when it was written."""
    found = read_letter(1, None, None, headers, NOW)
    assert (found.stage, found.origin, found.attempts, found.failed_at) == ("unknown", -1, 0, NOW)
    assert read_marker(headers) is None


@pytest.mark.parametrize("status", [LetterStatus.REDRIVEN, LetterStatus.DROPPED])
def test_a_marker_says_what_became_of_a_letter(status: LetterStatus) -> None:
    """It names the letter's offset; a letter is no marker, whatever headers its message had."""
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
    ("wanted", "takes"),
    [
        (LetterFilter(), True),
        (LetterFilter(offsets=frozenset({7})), True),
        (LetterFilter(offsets=frozenset({8})), False),
        (LetterFilter(stages=frozenset({"enrich", "crm"})), True),
        (LetterFilter(stages=frozenset({"crm"})), False),
        (LetterFilter(errors=frozenset({"GivenUpError"})), False),
        (LetterFilter(topics=frozenset({"contacts.enriched"})), False),
        (LetterFilter(since=NOW), True),
        (LetterFilter(since=NOW + timedelta(seconds=1)), False),
        (LetterFilter(until=NOW), False),
        (LetterFilter(until=NOW + timedelta(seconds=1)), True),
        (LetterFilter(statuses=frozenset({LetterStatus.DROPPED})), False),
    ],
)
def test_filters_narrow_down(wanted: LetterFilter, takes: bool) -> None:  # noqa: FBT001 - a case
    """Each alone decides; together all must agree; open letters unless asked otherwise."""
    assert wanted.takes(letter()) is takes
    assert LetterFilter().is_everything


def test_a_redriven_webhook_keeps_its_identity_and_loses_its_tries() -> None:
    """Same topic, partition, key, bytes and headers; what counted tries is gone, and a header says so."""
    tries = Parking(9, NOW, NOW, 2).headers("diretrix: status 500")
    value = c2s_webhook(phone="11987654321")
    found = letter(headers=[("ce_id", b"x"), *tries, ("reroute", b"1"), ("redriven", b"2"), ("theirs", b"\xff")])
    revived = revive(found, value, NOBODY)
    assert (revived.topic, revived.partition, revived.key, revived.value) == ("webhooks", 3, b"key", value)
    assert revived.headers == [("ce_id", b"x"), ("theirs", b"\xff"), ("redriven", b"7")]


def test_what_the_producers_refused_becomes_what_they_would_have_made_of_it() -> None:
    """A body that this version can read goes out as the producers send it: key, identity, bytes, time of arrival."""
    part = RawWebhook(BODY, orjson.loads(BODY))
    sent = webhook_record(Source.C2S, part, NOW, NOBODY)
    written = dead_letter_record(Source.C2S, part, NOW, PoisonError("an older version could not read it"))
    found = read_letter(7, written.key, written.value, written.headers, NOW)
    assert (found.stage, found.origin) == ("receive", -1)
    revived = revive(found, written.value, NOBODY)
    assert (revived.topic, revived.partition, revived.key) == (sent.topic, None, sent.key)
    assert revived.headers == [*sent.headers, ("redriven", b"7")]
    assert revived.value is not None
    theirs, ours = decode_webhook(sent.value), decode_webhook(revived.value)
    assert ours == theirs
    assert BODY in revived.value


def test_a_redriven_event_goes_back_to_the_events() -> None:
    """What the CRM refused goes out once more under the same identity, as it was."""
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
    revived = revive(found, value, NOBODY)
    assert (revived.topic, revived.partition, revived.key, revived.value) == ("contacts.enriched", 3, b"key", value)
    assert revived.headers == [("ce_id", b"e"), ("redriven", b"7")]


@pytest.mark.parametrize(
    ("found", "value", "reason"),
    [
        (letter(), b"not JSON", "not JSON"),
        (letter(), None, "tombstone"),
        (replace(letter(), reason=TOO_LARGE), c2s_webhook(phone="11987654321"), "too large"),
        (letter("crm"), b"{}", "not an event"),
        (letter("receive", headers=[("ce_source", b"/lead-stream/producers/c2s")]), b"{}", "required"),
        (letter("receive", headers=[("ce_source", b"/lead-stream/producers/c2s")]), b"[]", "object"),
        (letter("receive"), BODY, "sender"),
        (letter("somebody's"), BODY, "stage"),
    ],
)
def test_what_would_only_die_again_is_refused(found: Letter, value: bytes | None, reason: str) -> None:
    """It says why, without what it stumbled over."""
    with pytest.raises(PoisonError, match=reason):
        revive(found, value, NOBODY)
