"""Dead letters: their headers, their status, and the filter by which an operator selects them.

A *marker*, a record of the same topic, closes a dead letter: it names the letter's offset and its new status. A marker
is younger than the letter that it closes, so retention deletes it later
(docs/adr/0008-dead-letters-are-closed-by-markers.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib import metadata

from stream.domain.errors import DeadlyError, GivenUpError, LeadRefusedError, PoisonError
from stream.domain.headers import DEAD_LETTER_PREFIX, DeadLetterHeader
from stream.domain.parking import instant_of
from stream.domain.text import one_line

MAX_REASON_CHARS = 500
TOO_LARGE = "too large to be moved to its contact's partition"  # a redrive would fail for the same reason
Headers = Sequence[tuple[str, bytes]]
UNKNOWN = "unknown"
ERROR_CLASSES = frozenset(one.__name__ for one in (PoisonError, GivenUpError, LeadRefusedError, DeadlyError))
MAX_NAME_CHARS = 80  # shown of a class or topic, which may come from somebody else


class Stage(StrEnum):
    """Which component published the dead letter: the producers, the worker, the CRM sync."""

    RECEIVE = "receive"
    ENRICH = "enrich"
    CRM = "crm"


STAGES = (*(stage.value for stage in Stage), UNKNOWN)  # UNKNOWN: a record that somebody else wrote


class DeadLetterStatus(StrEnum):
    """What became of a dead letter."""

    OPEN = "open"
    REDRIVEN = "redriven"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter without its bytes. ``offset`` in ``webhooks.dead`` is its number; ``original``: its own headers.

    ``topic``, ``partition`` and ``original_offset``: where the record was before. Partition and offset are -1 if it
    was never in a topic.
    """

    offset: int
    key: bytes | None
    size: int
    original: tuple[tuple[str, bytes], ...]
    stage: str
    error: str
    reason: str
    topic: str
    partition: int
    original_offset: int
    attempts: int
    version: str
    failed_at: datetime
    first_failed: datetime
    timestamp: str
    status: DeadLetterStatus = DeadLetterStatus.OPEN

    def header(self, name: str) -> str:
        """The text of one of its own headers, "" if it has no such header."""
        return _texts(self.original).get(name, "")


def read_dead_letter(
    offset: int, key: bytes | None, value: bytes | None, headers: Headers, written: datetime
) -> DeadLetter:
    """Read a record of ``webhooks.dead``. A record that somebody else wrote is a dead letter of an unknown stage."""
    facts = _texts(headers)
    failed_at = instant_of(facts.get(DeadLetterHeader.FAILED_AT, "")) or written
    return DeadLetter(
        offset=offset,
        key=key,
        size=len(value or b""),
        original=tuple((name, value) for name, value in headers if not name.startswith(DEAD_LETTER_PREFIX)),
        stage=facts.get(DeadLetterHeader.STAGE, UNKNOWN),
        error=facts.get(DeadLetterHeader.ERROR, UNKNOWN),
        reason=facts.get(DeadLetterHeader.REASON, ""),
        topic=facts.get(DeadLetterHeader.TOPIC, UNKNOWN),
        partition=_number(facts.get(DeadLetterHeader.PARTITION, "")),
        original_offset=_number(facts.get(DeadLetterHeader.OFFSET, "")),
        attempts=max(0, _number(facts.get(DeadLetterHeader.ATTEMPTS, ""))),
        version=facts.get(DeadLetterHeader.VERSION, UNKNOWN),
        failed_at=failed_at,
        first_failed=instant_of(facts.get(DeadLetterHeader.FIRST_FAILED, "")) or failed_at,
        timestamp=facts.get(DeadLetterHeader.TIMESTAMP, ""),
    )


def marker(offset: int, status: DeadLetterStatus, at: datetime) -> list[tuple[str, bytes]]:
    """The headers of the record that closes a dead letter."""
    return [
        (DeadLetterHeader.CLOSES.value, str(offset).encode()),
        (DeadLetterHeader.BECAME.value, status.value.encode()),
        (DeadLetterHeader.CLOSED_AT.value, at.isoformat().encode()),
    ]


def read_marker(headers: Headers) -> tuple[int, DeadLetterStatus] | None:
    """The number and the new status of the dead letter that a record closes; None if the record is no marker."""
    facts = _texts(headers)
    if DeadLetterHeader.CLOSES not in facts or facts.get(DeadLetterHeader.BECAME) not in set(DeadLetterStatus):
        return None
    return _number(facts[DeadLetterHeader.CLOSES]), DeadLetterStatus(facts[DeadLetterHeader.BECAME])


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters an operator selects. An empty field or None excludes none. ``until`` itself is excluded."""

    offsets: frozenset[int] = frozenset()
    stages: frozenset[str] = frozenset()
    errors: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    statuses: frozenset[DeadLetterStatus] = frozenset({DeadLetterStatus.OPEN})

    @property
    def is_everything(self) -> bool:
        """Whether the filter selects by status alone."""
        return not (self.offsets or self.stages or self.errors or self.topics or self.since or self.until)

    def matches(self, letter: DeadLetter) -> bool:
        """Whether the filter selects a dead letter."""
        return (
            letter.status in self.statuses
            and (not self.offsets or letter.offset in self.offsets)
            and (not self.stages or letter.stage in self.stages)
            and (not self.errors or letter.error in self.errors)
            and (not self.topics or letter.topic in self.topics)
            and (self.since is None or letter.failed_at >= self.since)
            and (self.until is None or letter.failed_at < self.until)
        )


def unknown_criteria(wanted: DeadLetterFilter, every: Sequence[DeadLetter], topics: frozenset[str]) -> str:
    """Say which criterion of ``wanted`` names nothing that exists, and what does exist. "" if there is no such one.

    ``every``: all dead letters, also the closed ones; ``topics``: the topics from which a dead letter may come.
    """
    numbers = [letter.offset for letter in every]
    unknown = wanted.offsets - set(numbers)
    if unknown:
        there = f"there are {len(numbers)}, from {numbers[0]} to {numbers[-1]}" if numbers else "there is none at all"
        return f"no dead letter has the number {', '.join(map(str, sorted(unknown)))}: {there}"
    for what, asked, known in (
        ("class", wanted.errors, ERROR_CLASSES | {letter.error for letter in every}),
        ("topic", wanted.topics, topics | {letter.topic for letter in every}),
    ):
        if asked - known:
            named, allowed = (
                ", ".join(one_line(one, MAX_NAME_CHARS) for one in sorted(some)) for some in (asked - known, known)
            )
            return f"no dead letter has the {what} {named}; known are: {allowed}"
    return ""


def _texts(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    return {name: (value or b"").decode("utf-8", "replace") for name, value in headers}


def _number(text: str) -> int:
    try:
        return int(text[:20])
    except ValueError:
        return -1


def dead_letter_headers(  # noqa: PLR0913 - a dead letter has this many facts
    *,
    headers: Iterable[tuple[str, bytes | None]],
    topic: str,
    partition: int,
    offset: int,
    timestamp: float,
    stage: Stage,
    error: str,
    reason: str,
    attempts: int,
    failed_at: datetime,
    first_failed: datetime | None = None,
) -> list[tuple[str, bytes | None]]:
    """The original headers and ours. ``timestamp`` is in epoch seconds; ``reason`` must be masked already.

    ``attempts``: all attempts, the last one included. ``first_failed``: when the first one failed, None if there was
    only one.
    """
    facts = {
        DeadLetterHeader.TOPIC: topic,
        DeadLetterHeader.PARTITION: str(partition),
        DeadLetterHeader.OFFSET: str(offset),
        DeadLetterHeader.TIMESTAMP: _instant(timestamp),
        DeadLetterHeader.STAGE: stage,
        DeadLetterHeader.ERROR: error,
        DeadLetterHeader.REASON: reason[:MAX_REASON_CHARS],
        DeadLetterHeader.ATTEMPTS: str(attempts),
        DeadLetterHeader.FIRST_FAILED: (first_failed or failed_at).isoformat(),
        DeadLetterHeader.FAILED_AT: failed_at.isoformat(),
        DeadLetterHeader.VERSION: version(),
    }
    kept = [(name, value) for name, value in headers if not name.startswith(DEAD_LETTER_PREFIX)]
    return kept + [(name.value, value.encode("utf-8", "replace")) for name, value in facts.items()]


def _instant(timestamp: float) -> str:
    """RFC 3339. A time beyond the calendar is written as a number: no timestamp may prevent a dead letter."""
    try:
        return datetime.fromtimestamp(timestamp, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return str(timestamp)


@cache
def version() -> str:
    """The version of this package, "unknown" if the package is not installed."""
    try:
        return metadata.version("lead-stream")
    except metadata.PackageNotFoundError:
        return "unknown"
