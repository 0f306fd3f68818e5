"""What a dead letter says of itself, in headers beside the original bytes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import metadata

PREFIX = "dl-"
LONGEST_REASON = 500  # characters
TOO_LARGE = "too large to be moved to its contact's partition"  # a reason that no redrive mends


def dead_letter_headers(  # noqa: PLR0913 - a dead letter has this many facts
    *,
    headers: Iterable[tuple[str, bytes | None]],
    topic: str,
    partition: int,
    offset: int,
    timestamp: float,
    stage: str,
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
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),
        "timestamp": _instant(timestamp),
        "stage": stage,
        "error": error,
        "reason": reason[:LONGEST_REASON],
        "attempts": str(attempts),
        "first-failed": (first_failed or failed_at).isoformat(),
        "failed-at": failed_at.isoformat(),
        "version": version(),
    }
    kept = [(name, value) for name, value in headers if not name.startswith(PREFIX)]
    return kept + [(PREFIX + name, value.encode("utf-8", "replace")) for name, value in facts.items()]


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
