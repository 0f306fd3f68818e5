"""Which failures lead to another attempt, and after which pause."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from stream.domain.errors import DatabaseUnavailableError, StopError, TransientError
from stream.kafka.attempts import Attempts
from stream.logs.outages import DATABASE, forget


async def tried(*failures: Exception, stop: asyncio.Event | None = None) -> list[tuple[str, float]]:
    """The failures that are reported of a work that raises each of these errors before it succeeds."""
    left, reported = list(failures), []

    async def attempt() -> None:
        if left:
            raise left.pop(0)

    attempts = Attempts(stop or asyncio.Event())
    await attempts.until_completed(
        attempt,
        report=lambda error, seconds: reported.append((error.reason, seconds)),
        about=lambda: {"lead": "L1"},
    )
    return reported


async def test_a_transient_error_leads_to_another_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses grow or follow Retry-After; a database outage is reported by the outage log instead."""
    monkeypatch.setattr("stream.kafka.attempts.RETRY_PAUSES_S", (0.001, 0.002))
    failures = [TransientError("one"), TransientError("two"), TransientError("three", retry_after=0.003)]
    assert await tried(*failures) == [("one", 0.001), ("two", 0.002), ("three", 0.003)]
    assert await tried(DatabaseUnavailableError("taken", is_away=False)) == [("taken", 0.001)]
    with capture_logs() as lines:
        assert await tried(DatabaseUnavailableError("gone")) == []
    assert DATABASE.is_away
    forget()
    assert [line["event"] for line in lines] == ["the database is away"]


async def test_an_unforeseen_error_stops_without_its_text_in_the_reason() -> None:
    """The reason has only the class of the error, because its text may contain a phone."""
    with capture_logs() as lines, pytest.raises(StopError, match=r"^a record can't be handled: KeyError$"):
        await tried(KeyError("11987654321"))
    assert [(line["event"], line["lead"]) for line in lines] == [("a record can't be handled", "L1")]


async def test_no_attempt_begins_after_a_stop() -> None:
    """No attempt begins after a stop, because it might be cancelled half-way."""
    stop = asyncio.Event()
    stop.set()
    with pytest.raises(asyncio.CancelledError):
        await tried(stop=stop)
