"""When a webhook that could not be answered is tried again: the tiers of the retry topic.

Each tier is a topic with one delay, so that what stands first in a partition is due first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stream.domain.headers import ATTEMPT, FIRST_FAILED, NOT_BEFORE, REASON
from stream.domain.sources.lead import Source

# Why we cut a try short ourselves: nobody failed, so the webhook waits no longer the next time, and is not given up.
CUT_SHORT = frozenset({"shutdown", "span", "queue"})
# What waits for a budget waits for the longest delay, until midnight; its patience begins anew each time.
BUDGET_SPENT = "the day's budget is spent"
SOURCE_SPENT = " for this source"  # follows it where the others have some left
# Why a partner was not asked: the same, but that a webhook is given up at its age.
BREAKER_OPEN, TOLD_TO_WAIT, NO_TURN = HELD_BACK = ("the breaker is open", "asked us to wait", "no turn in time")
LONGEST_COUNT = 6  # digits; a longer number is nobody's count of tries
# How far from the time that it was due a webhook may come back: clocks differ, workers are busy or away for a while.
EARLY, LATE = timedelta(minutes=1), timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Tries:
    """Tries that ``failed`` before this one; ``since`` the first of them did, None when none did."""

    failed: int = 0
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Parking:
    """Where a parked webhook waits. ``attempt``: tries that failed; ``retry_level``: place of its delay, from 0."""

    attempt: int
    first_failed: datetime
    not_before: datetime
    retry_level: int

    def headers(self, reason: str) -> list[tuple[str, bytes]]:
        """What the record says of itself; ``reason`` holds no identifier."""
        return [
            (ATTEMPT, str(self.attempt).encode()),
            (FIRST_FAILED, self.first_failed.isoformat().encode()),
            (NOT_BEFORE, self.not_before.isoformat().encode()),
            (REASON, reason.encode()),
        ]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``delays``: one a tier, growing; ``max_age``: how long a webhook is tried in all."""

    delays: Sequence[timedelta]
    max_age: timedelta

    def park(
        self, attempts: int, first_failed: datetime | None, now: datetime, reason: str, *, partner_down: bool = False
    ) -> Parking | None:
        """Decide when to try again; None when it has been tried for ``max_age``, and failed once more.

        What waits for a budget is never given up: nobody was asked, and no failure before or after it counts its age
        from then.

        ``attempts``: tries that failed before this one; ``first_failed``: when the first did, None for this one.
        ``partner_down``: the partner that failed is known to be down, and what waits for it comes back when it is not;
        so it waits for the first delay only, and the count stays.
        """
        if BUDGET_SPENT in reason:
            return Parking(1, now, now + self.delays[-1], len(self.delays) - 1)
        first = min(first_failed or now, now)
        if now - first >= self.max_age and reason not in CUT_SHORT:
            return None
        cut_short = partner_down or reason in CUT_SHORT or reason.endswith(HELD_BACK)
        attempt = max(1, attempts) if cut_short else attempts + 1
        tier = 0 if cut_short else min(attempt, len(self.delays)) - 1
        return Parking(attempt, first, now + self.delays[tier], tier)


def own_partitions(source: Source, partitions: int) -> range:
    """The partitions of a retry topic, of ``partitions``, on which the parked webhooks of a source lie; never none.

    What stands first in a partition holds up what is behind it. With partitions of their own, what waits for one
    source's part of the queue holds up no other source. With fewer partitions than sources some share one.
    """
    sources = list(Source)
    return range(sources.index(source) % partitions, partitions, len(sources))


def tries_of(header: Callable[[str], str], now: datetime) -> Tries:
    """What a webhook says of its tries, where it can be believed; ``header``: the text of one of its headers.

    Anybody may write to ``webhooks``, and with these headers. But what we parked comes back when it is due: what
    does not was copied, is replayed, or never was with us, and its patience begins now.
    """
    since, due = instant_of(header(FIRST_FAILED)), instant_of(header(NOT_BEFORE))
    if since is None or due is None or since > due or not -EARLY <= now - due <= LATE:
        return Tries()
    return Tries(count_of(header(ATTEMPT)), since)


def count_of(text: str) -> int:
    """Read the header ``attempt``; 0 for whatever is no count."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST_COUNT else 0


def instant_of(text: str) -> datetime | None:
    """Read an instant from a header; None for whatever is none, or has no zone."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None
