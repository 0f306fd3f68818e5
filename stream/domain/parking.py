"""When a webhook that could not be answered is tried again: the retry levels.

Each retry level is a topic with one delay, so the first record of a partition is due first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stream.domain.headers import ATTEMPT, FIRST_FAILED, NOT_BEFORE, REASON
from stream.domain.sources.lead import Source

# Reasons for which we end an attempt ourselves. Nothing failed: the next delay does not grow, and the webhook is not
# given up.
INTERRUPTED = frozenset({"shutdown", "span", "queue"})
# A webhook that waits for the budget (until midnight) gets the longest delay, and its age is counted anew each time.
BUDGET_SPENT = "the day's budget is spent"
SOURCE_SPENT = " for this source"  # appended if only this source's share is spent
# Reasons why a partner was not asked. As INTERRUPTED, but a webhook older than the maximum age is given up.
BREAKER_OPEN, TOLD_TO_WAIT, NO_SLOT = NOT_ASKED = ("the breaker is open", "asked us to wait", "no slot in time")
MAX_ATTEMPT_DIGITS = 6  # a longer number can't be a count of attempts
# How long before or after its due time a webhook may come back: clocks differ; workers are busy or down for a while.
MAX_EARLY, MAX_LATE = timedelta(minutes=1), timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class FailedAttempts:
    """How many attempts ``failed`` before this one. ``since``: when the first of them failed, None if none did."""

    failed: int = 0
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Parking:
    """Where a parked webhook waits. ``attempt``: attempts that failed; ``retry_level``: index of its delay, from 0."""

    attempt: int
    first_failed: datetime
    not_before: datetime
    retry_level: int

    def headers(self, reason: str) -> list[tuple[str, bytes]]:
        """The retry headers of the record. ``reason`` must not contain an identifier."""
        return [
            (ATTEMPT, str(self.attempt).encode()),
            (FIRST_FAILED, self.first_failed.isoformat().encode()),
            (NOT_BEFORE, self.not_before.isoformat().encode()),
            (REASON, reason.encode()),
        ]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``delays``: one for each retry level, growing; ``max_age``: how long a webhook is tried in all."""

    delays: Sequence[timedelta]
    max_age: timedelta

    def park(
        self, attempts: int, first_failed: datetime | None, now: datetime, reason: str, *, partner_down: bool = False
    ) -> Parking | None:
        """Decide when to try again. None if the webhook failed again after ``max_age``.

        A webhook that waits for the budget is never given up: no partner was asked. Its attempts and its age are
        counted anew.

        ``attempts``: attempts that failed before this one; ``first_failed``: when the first one failed, None if this
        is the first. ``partner_down``: the partner that failed is known to be down. The webhook comes back when the
        partner is up again, so it gets the first delay and the count of attempts does not grow.
        """
        if BUDGET_SPENT in reason:
            return Parking(1, now, now + self.delays[-1], len(self.delays) - 1)
        first = min(first_failed or now, now)
        if now - first >= self.max_age and reason not in INTERRUPTED:
            return None
        cut_short = partner_down or reason in INTERRUPTED or reason.endswith(NOT_ASKED)
        attempt = max(1, attempts) if cut_short else attempts + 1
        retry_level = 0 if cut_short else min(attempt, len(self.delays)) - 1
        return Parking(attempt, first, now + self.delays[retry_level], retry_level)


def own_partitions(source: Source, partitions: int) -> range:
    """The partitions of a retry topic with ``partitions`` in all that hold a source's parked webhooks; at least one.

    The first record of a partition blocks the records behind it. With partitions of its own, a source that waits for
    its share of the queue blocks no other source. With fewer partitions than sources, some sources share one.
    """
    sources = list(Source)
    return range(sources.index(source) % partitions, partitions, len(sources))


def failed_attempts_of(header: Callable[[str], str], now: datetime) -> FailedAttempts:
    """The failed attempts that a webhook's headers name, if they can be trusted. ``header``: a header's text by name.

    Anybody may write a record with these headers to ``webhooks``. A webhook that we parked comes back when it is due.
    One that does not was copied or replayed, or we never parked it: its attempts are counted from now.
    """
    since, due = instant_of(header(FIRST_FAILED)), instant_of(header(NOT_BEFORE))
    if since is None or due is None or since > due or not -MAX_EARLY <= now - due <= MAX_LATE:
        return FailedAttempts()
    return FailedAttempts(count_of(header(ATTEMPT)), since)


def count_of(text: str) -> int:
    """Read the header ``attempt``; 0 if it is not a count."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_ATTEMPT_DIGITS else 0


def instant_of(text: str) -> datetime | None:
    """Read an instant from a header; None if it is not an instant or has no time zone."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None
