"""The lines of an outage: when it begins, once a minute, when it ends; and nothing new is held back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import pytest
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    NodeNotReadyError,
    NotLeaderForPartitionError,
    TopicAuthorizationFailedError,
)
from structlog.testing import capture_logs

from stream.logs import get_logger, outages
from stream.logs.outages import (
    BACK_AFTER_SECONDS,
    BROKER,
    DATABASE,
    PROBE_GRACE_SECONDS,
    REMINDER_INTERVAL_SECONDS,
    Outage,
    RepeatFilter,
    Repeats,
    broker_failed,
)

Lines = list[Any]


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        """What time it is."""
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the outages and of the repeated lines of this process."""
    clock = Clock()
    for one in (BROKER, DATABASE):
        monkeypatch.setattr(one, "_clock", clock)
    monkeypatch.setattr(outages, "_REPEATS", Repeats(clock))
    return clock


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The log lines of the project."""
    outages.forget()
    with capture_logs() as captured:
        yield captured
    outages.forget()


@pytest.fixture
def passes(clock: Clock) -> Callable[..., bool]:  # noqa: ARG001 - time stands still
    """A function that says whether a library's line is written."""
    held = RepeatFilter()

    def write(name: str, text: str, *said: object, level: int = logging.ERROR, error: Exception | None = None) -> bool:
        info = (type(error), error, None) if error is not None else None
        record = logging.LogRecord(name, level, __file__, 1, text, said, info)
        write.record = record  # type: ignore[attr-defined]
        return held.filter(record)

    return write


def events(lines: Lines) -> list[str]:
    return [line["event"] for line in lines]


def test_an_outage_is_logged_at_its_begin_once_a_minute_and_at_its_end(clock: Clock, lines: Lines) -> None:
    """Thousands of failures make four lines in two minutes, with cause, time and suppressed count."""
    for _ in range(6):
        for _ in range(1_000):
            BROKER.missed("NodeNotReadyError", from_probe=True)
        clock.at += REMINDER_INTERVAL_SECONDS / 3
        BROKER.missed("NodeNotReadyError", from_probe=True)
        BROKER._tick()  # noqa: SLF001 - the timer does it
    BROKER.answered()
    BROKER.answered()
    assert lines == [
        {"event": "the broker is away", "log_level": "warning", "error": "NodeNotReadyError"},
        {
            "event": "the broker is still away",
            "log_level": "warning",
            "error": "NodeNotReadyError",
            "away": "60 s",
            "suppressed": 3_002,
        },
        {
            "event": "the broker is still away",
            "log_level": "warning",
            "error": "NodeNotReadyError",
            "away": "120 s",
            "suppressed": 3_003,
        },
        {"event": "the broker is back", "log_level": "info", "away": "120.0 s"},
    ]


def test_without_a_probe_an_outage_ends_after_a_while_without_failures(clock: Clock, lines: Lines) -> None:
    """Without a probe, silence ends an outage; with a probe, only the probe ends it."""
    BROKER.missed("x")
    clock.at += BACK_AFTER_SECONDS - 1
    BROKER._tick()  # noqa: SLF001 - the timer does it
    assert BROKER.is_away
    clock.at += 1
    BROKER._tick()  # noqa: SLF001 - the timer does it
    assert events(lines) == ["the broker is away", "the broker is back"]
    BROKER.has_probe = True
    BROKER.missed("x", from_probe=True)
    clock.at += BACK_AFTER_SECONDS
    BROKER._tick()  # noqa: SLF001 - the timer does it
    assert BROKER.is_away


def test_beside_a_probe_a_failed_connection_is_logged_only_if_failures_last(clock: Clock, lines: Lines) -> None:
    """An outage is one line; failures beside a healthy probe are another; failures right after an outage are none."""
    BROKER.has_probe = True
    BROKER.missed("Unable connect to node with id 2")
    assert lines == []
    BROKER.missed("TimeoutError", from_probe=True)
    BROKER.answered()
    clock.at += PROBE_GRACE_SECONDS / 2
    BROKER.missed("a straggler")
    BROKER._end_doubt()  # noqa: SLF001 - the timer does it
    assert events(lines) == ["the broker is away", "the broker is back"]
    clock.at += PROBE_GRACE_SECONDS
    BROKER.missed("Unable connect to node with id 2")
    BROKER._end_doubt()  # noqa: SLF001 - the timer does it
    assert lines[2:] == [
        {
            "event": "connections to the broker fail",
            "log_level": "warning",
            "error": "Unable connect to node with id 2",
            "failures": 1,
        }
    ]


AWAY = [
    ("aiokafka", "Unable connect to node with id %s: %s", (1, OSError("refused")), BROKER),
    ("aiokafka", "Unable to update metadata from %s", ([1],), BROKER),
    ("aiokafka.consumer.fetcher", "Failed fetch messages from %s: %s", (1, NodeNotReadyError("x")), BROKER),
    ("aiokafka.producer.sender", "Got error produce response: %s", (KafkaConnectionError("x"),), BROKER),
    ("mode.threads", "crashed: %r", (KafkaConnectionError("x"),), BROKER),
    ("asyncpg.pool", "Failed to restore the pool connection floor; retrying", (), DATABASE),
]


@pytest.mark.parametrize(("name", "text", "said", "one"), AWAY)
def test_a_library_line_about_an_outage_is_reported_as_the_outage(  # noqa: PLR0913
    name: str, text: str, said: tuple[object, ...], one: Outage, passes: Callable[..., bool], lines: Lines
) -> None:
    """However often a library repeats it, an outage is one line with the library's words."""
    assert not any(passes(name, text, *said) for _ in range(100))
    assert len(lines) == 1
    assert one.is_away
    assert lines[0]["error"].startswith(text.partition("%")[0])


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.CannotConnectNowError("x"),
        asyncpg.InterfaceError("x"),
        KafkaConnectionError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_outage_error_of_a_forgotten_task_is_reported_as_the_outage(
    error: Exception, passes: Callable[..., bool], lines: Lines
) -> None:
    """Asyncio's line, with its traceback, is replaced by the line of the outage."""
    assert not passes("asyncio", "Task exception was never retrieved\nfuture: <Task at 0x1>", error=error)
    assert len(lines) == 1


def test_a_momentary_error_is_not_logged(clock: Clock, passes: Callable[..., bool], lines: Lines) -> None:
    """A coordinator that is missing for a moment is not logged; one that stays away is."""
    said = ("Group Coordinator Request failed: %s", GroupCoordinatorNotAvailableError())
    assert not passes("aiokafka.consumer.group_coordinator", *said)
    clock.at += PROBE_GRACE_SECONDS
    BROKER._end_doubt()  # noqa: SLF001 - the timer does it
    assert lines == []
    for _ in range(3):
        assert not passes("aiokafka.consumer.group_coordinator", *said)
    BROKER._end_doubt()  # noqa: SLF001 - the timer does it
    assert [(line["event"], line["failures"]) for line in lines] == [("connections to the broker fail", 3)]


def test_a_consequence_of_an_outage_is_suppressed_only_while_it_lasts(
    clock: Clock, passes: Callable[..., bool], lines: Lines
) -> None:
    """An expired session is suppressed during an outage and logged at another time."""
    text = "Heartbeat session expired - marking coordinator dead"
    assert passes("aiokafka.consumer.group_coordinator", text)
    BROKER.missed("x")
    for one in (
        (text,),
        ("Marking the coordinator dead (node %s)for group %s.", 1, "leads"),
        ("Group Coordinator Request failed: %s", GroupCoordinatorNotAvailableError()),
        ("Got error produce response on topic-partition %s, retrying. Error: %s", 1, NotLeaderForPartitionError),
    ):
        assert not passes("aiokafka.consumer.group_coordinator", *one)
    BROKER.answered()
    clock.at += max(PROBE_GRACE_SECONDS, REMINDER_INTERVAL_SECONDS)
    assert passes("aiokafka.consumer.group_coordinator", text)
    assert events(lines) == ["the broker is away", "the broker is back"]


@pytest.mark.usefixtures("lines")
def test_other_lines_are_written_during_an_outage(passes: Callable[..., bool]) -> None:
    """Another text, another logger, a refusal and a defect with its traceback are written."""
    BROKER.missed("x")
    bug = ValueError("a bug")
    assert passes("aiokafka.consumer.fetcher", "Topic %s is not authorised: %s", "x", TopicAuthorizationFailedError())
    assert passes("aiohttp.server", "Error handling request", error=bug)
    assert passes.record.exc_info is not None  # type: ignore[attr-defined]
    assert passes("asyncio", "Task exception was never retrieved", error=bug)
    assert passes("aiokafka", "deprecated", level=logging.WARNING)


def test_a_repeated_line_is_written_once_a_minute_with_the_suppressed_count(
    clock: Clock, passes: Callable[..., bool]
) -> None:
    """Lines are the same if logger, level and template are the same."""
    assert [passes("mode", "late by %s", number) for number in range(10)] == [True, *[False] * 9]
    assert passes("faust", "late by %s", 1)
    clock.at += REMINDER_INTERVAL_SECONDS
    assert passes("mode", "late by %s", 10)
    assert passes.record.held_back == 9  # type: ignore[attr-defined]


def test_the_remembered_kinds_of_lines_are_limited(clock: Clock) -> None:
    """Kinds that never come again are forgotten."""
    repeats = Repeats(clock)
    for number in range(10 * outages.MAX_KINDS):
        assert repeats.admit(number) == 0
    assert len(repeats._kinds) == outages.MAX_KINDS  # noqa: SLF001 - the bound is the subject


def test_a_failed_publication_is_an_outage_or_one_line_a_minute(clock: Clock, lines: Lines) -> None:
    """A connection error is reported as an outage of the broker; a refusal is logged with its own event."""
    log = get_logger("x")
    for _ in range(3):
        broker_failed(log, "publishing failed, sending again", KafkaConnectionError(), topic="t")
        broker_failed(log, "publishing failed, sending again", TopicAuthorizationFailedError(), topic="t")
    clock.at += REMINDER_INTERVAL_SECONDS
    broker_failed(log, "publishing failed, sending again", TopicAuthorizationFailedError(), topic="t")
    assert events(lines) == ["the broker is away", *["publishing failed, sending again"] * 2]
    assert lines[-1]["suppressed"] == 2
