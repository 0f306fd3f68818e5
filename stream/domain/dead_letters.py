"""Dead letters: what each says of itself in headers beside the original bytes, which are open, which are meant.

A letter is closed by a *marker*, a record of the same topic that names its offset and says what became of it.
Markers are younger than what they close, so retention takes them later
(docs/adr/0008-dead-letters-are-closed-by-markers.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib import metadata

from stream.domain.errors import GivenUpError, LeadRefusedError, PoisonError
from stream.domain.headers import DEAD_LETTER_PREFIX, DeadLetter
from stream.domain.parking import instant_of
from stream.domain.text import one_line

LONGEST_REASON = 500  # characters
TOO_LARGE = "too large to be moved to its contact's partition"  # a reason that no redrive mends
Headers = Sequence[tuple[str, bytes]]
UNKNOWN = "unknown"
CLASSES = frozenset(one.__name__ for one in (PoisonError, GivenUpError, LeadRefusedError))
LONGEST_NAME = 80  # characters that are shown of a class or topic that somebody else wrote


class Stage(StrEnum):
    """Where a message died: the producers, the worker, the CRM sync."""

    RECEIVE = "receive"
    ENRICH = "enrich"
    CRM = "crm"


STAGES = (*(stage.value for stage in Stage), UNKNOWN)  # the last one: what somebody else wrote


class LetterStatus(StrEnum):
    """What became of a letter."""

    OPEN = "open"
    REDRIVEN = "redriven"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter without its bytes. ``offset`` in ``webhooks.dead`` is its number; ``original`` its own headers.

    ``partition`` and ``origin`` (an offset) are of ``topic``, where it lay; -1 when it never did.
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
    origin: int
    attempts: int
    version: str
    failed_at: datetime
    first_failed: datetime
    timestamp: str
    status: LetterStatus = LetterStatus.OPEN

    def header(self, name: str) -> str:
        """One of its own headers, "" when it is not there."""
        return _texts(self.original).get(name, "")


def read_letter(offset: int, key: bytes | None, value: bytes | None, headers: Headers, written: datetime) -> Letter:
    """Read a record of ``webhooks.dead``; what somebody else wrote there is a letter of an unknown stage."""
    facts = _texts(headers)
    failed_at = instant_of(facts.get(DeadLetter.FAILED_AT, "")) or written
    return Letter(
        offset=offset,
        key=key,
        size=len(value or b""),
        original=tuple((name, value) for name, value in headers if not name.startswith(DEAD_LETTER_PREFIX)),
        stage=facts.get(DeadLetter.STAGE, UNKNOWN),
        error=facts.get(DeadLetter.ERROR, UNKNOWN),
        reason=facts.get(DeadLetter.REASON, ""),
        topic=facts.get(DeadLetter.TOPIC, UNKNOWN),
        partition=_number(facts.get(DeadLetter.PARTITION, "")),
        origin=_number(facts.get(DeadLetter.OFFSET, "")),
        attempts=max(0, _number(facts.get(DeadLetter.ATTEMPTS, ""))),
        version=facts.get(DeadLetter.VERSION, UNKNOWN),
        failed_at=failed_at,
        first_failed=instant_of(facts.get(DeadLetter.FIRST_FAILED, "")) or failed_at,
        timestamp=facts.get(DeadLetter.TIMESTAMP, ""),
    )


def marker(offset: int, status: LetterStatus, at: datetime) -> list[tuple[str, bytes]]:
    """The headers of the record that closes a letter."""
    return [
        (DeadLetter.CLOSES.value, str(offset).encode()),
        (DeadLetter.BECAME.value, status.value.encode()),
        (DeadLetter.CLOSED_AT.value, at.isoformat().encode()),
    ]


def read_marker(headers: Headers) -> tuple[int, LetterStatus] | None:
    """The letter that a record closes and what became of it; None when it is no marker."""
    facts = _texts(headers)
    if DeadLetter.CLOSES not in facts or facts.get(DeadLetter.BECAME) not in set(LetterStatus):
        return None
    return _number(facts[DeadLetter.CLOSES]), LetterStatus(facts[DeadLetter.BECAME])


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant; what is empty or None excludes nothing. ``since`` is included, ``until`` is not."""

    offsets: frozenset[int] = frozenset()
    stages: frozenset[str] = frozenset()
    errors: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    statuses: frozenset[LetterStatus] = frozenset({LetterStatus.OPEN})

    @property
    def is_everything(self) -> bool:
        """Whether nothing narrows it down."""
        return not (self.offsets or self.stages or self.errors or self.topics or self.since or self.until)

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        return (
            letter.status in self.statuses
            and (not self.offsets or letter.offset in self.offsets)
            and (not self.stages or letter.stage in self.stages)
            and (not self.errors or letter.error in self.errors)
            and (not self.topics or letter.topic in self.topics)
            and (self.since is None or letter.failed_at >= self.since)
            and (self.until is None or letter.failed_at < self.until)
        )


def what_is_not_there(wanted: LetterFilter, every: Sequence[Letter], topics: frozenset[str]) -> str:
    """What of ``wanted`` names nothing that exists, and what does; "" where all of it may be meant.

    ``every``: all letters of the topic, the closed ones too; ``topics``: ours, in which one may come to lie.
    """
    numbers = [letter.offset for letter in every]
    unknown = wanted.offsets - set(numbers)
    if unknown:
        there = f"there are {len(numbers)}, from {numbers[0]} to {numbers[-1]}" if numbers else "there is none at all"
        return f"no dead letter has the number {', '.join(map(str, sorted(unknown)))}: {there}"
    for what, asked, known in (
        ("class", wanted.errors, CLASSES | {letter.error for letter in every}),
        ("topic", wanted.topics, topics | {letter.topic for letter in every}),
    ):
        if asked - known:
            named, allowed = (
                ", ".join(one_line(one, LONGEST_NAME) for one in sorted(some)) for some in (asked - known, known)
            )
            return f"no dead letter has the {what} {named}; there are: {allowed}"
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
    """The original headers and ours. ``timestamp`` in epoch seconds; ``reason`` must be masked already.

    ``attempts``: tries, the last one included. ``first_failed``: when the first of them did, None for the last.
    """
    facts = {
        DeadLetter.TOPIC: topic,
        DeadLetter.PARTITION: str(partition),
        DeadLetter.OFFSET: str(offset),
        DeadLetter.TIMESTAMP: _instant(timestamp),
        DeadLetter.STAGE: stage,
        DeadLetter.ERROR: error,
        DeadLetter.REASON: reason[:LONGEST_REASON],
        DeadLetter.ATTEMPTS: str(attempts),
        DeadLetter.FIRST_FAILED: (first_failed or failed_at).isoformat(),
        DeadLetter.FAILED_AT: failed_at.isoformat(),
        DeadLetter.VERSION: version(),
    }
    kept = [(name, value) for name, value in headers if not name.startswith(DEAD_LETTER_PREFIX)]
    return kept + [(name.value, value.encode("utf-8", "replace")) for name, value in facts.items()]


def _instant(timestamp: float) -> str:
    """RFC 3339; a time that no calendar holds as its number: the letter is written whatever a producer claims."""
    try:
        return datetime.fromtimestamp(timestamp, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return str(timestamp)


@cache
def version() -> str:
    """The version of this package, "unknown" where it is not installed."""
    try:
        return metadata.version("lead-stream")
    except metadata.PackageNotFoundError:
        return "unknown"
