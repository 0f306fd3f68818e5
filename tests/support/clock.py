"""A clock that a test sets: the hour of a day's budget."""

from __future__ import annotations

from datetime import UTC, datetime

NOON = datetime(2026, 11, 24, 15, tzinfo=UTC)  # of São Paulo, whose day a budget is for


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        """What the clock shows."""
        return self.time
