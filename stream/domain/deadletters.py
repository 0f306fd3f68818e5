"""What a dead letter says of itself, in headers beside the original bytes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib import metadata

from stream.domain.headers import DEAD_LETTER_PREFIX, DeadLetter

LONGEST_REASON = 500  # characters
TOO_LARGE = "too large to be moved to its contact's partition"  # a reason that no redrive mends


class Stage(StrEnum):
    """Where a message died: the producers, the worker, the CRM sync."""

    RECEIVE = "receive"
    ENRICH = "enrich"
    CRM = "crm"


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
