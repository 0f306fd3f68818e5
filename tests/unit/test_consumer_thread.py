"""Our subclass of Faust's consumer thread: what it reports, and what stops the worker."""

# ruff: noqa: SLF001 - the insides are the subject

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, GroupCoordinatorNotAvailableError, KafkaError
from faust.types import TP
from structlog.testing import capture_logs

from stream import topics
from stream.domain.errors import GroupError
from stream.faust_runtime import consumer_thread
from stream.faust_runtime.app import make_app, make_table
from stream.faust_runtime.consumer import TrackingConsumer
from stream.logs.outages import BROKER
from stream.settings import load

WEBHOOKS, CHANGELOG = TP(topics.WEBHOOKS.name, 0), TP(topics.CHANGELOG.name, 0)
LIMIT = 5.0  # seconds
START = 1_800_000_000.0  # epoch seconds


class Client:
    """aiokafka's consumer, as far as the thread uses it."""

    def __init__(self) -> None:
        self.fetched: dict[TopicPartition, float] = {}  # epoch seconds
        self.pauses: set[TopicPartition] = set()
        assignment = SimpleNamespace(active=True, state_value=self._state)
        subscriptions = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
        self._fetcher = SimpleNamespace(_subscriptions=subscriptions)
        self._coordinator = SimpleNamespace(
            _coordination_task=asyncio.get_running_loop().create_future(), check_errors=lambda: None
        )

    def paused(self) -> set[TopicPartition]:
        """What it does not fetch."""
        return self.pauses

    def _state(self, tp: TopicPartition) -> Any:
        at = self.fetched.get(tp)
        milliseconds = None if at is None else int(at * 1000)
        return SimpleNamespace(timestamp=milliseconds, highwater=None if at is None else 0, position=0)


@pytest.fixture
async def consumer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TrackingConsumer]:
    """A consumer of an app that is not started, on our client."""
    settings = load({})
    app = make_app(settings)
    make_table(app, settings)
    app.finalize()
    made: TrackingConsumer = app.consumer
    made._thread._consumer = Client()
    made._thread.time_started = 0.0
    made._active_partitions = {WEBHOOKS}
    monkeypatch.setattr(consumer_thread.time, "time", lambda: made.at)
    made.at = START
    yield made
    made._thread.thread_loop.close()


@pytest.fixture
def reports(consumer: TrackingConsumer, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[str]]:
    """Return what the check reports when it is called every few seconds for a while."""
    said: list[str] = []
    monkeypatch.setattr(consumer._thread.log, "error", lambda text, *values: said.append(text % values))

    def check(seconds: float, every: float = 2.5) -> list[str]:
        said.clear()
        for _ in range(int(seconds / every)):
            consumer.at += every
            for tp in (WEBHOOKS, CHANGELOG):
                consumer.verify_event_path(12.0, tp)
        return list(said)

    return check


def limit(consumer: TrackingConsumer) -> float:
    seconds: float = consumer._thread.tp_fetch_request_timeout_secs
    return seconds


def fetched(consumer: TrackingConsumer, tp: TP) -> None:
    consumer._thread._consumer.fetched[TopicPartition(*tp)] = consumer.at


async def test_partitions_not_fetched_on_purpose_are_not_reported(
    consumer: TrackingConsumer, reports: Callable[[float], list[str]]
) -> None:
    """The changelog after recovery, paused partitions, and all partitions during a rebalance."""
    consumer._thread._consumer.pauses = {TopicPartition(*WEBHOOKS)}
    assert reports(10 * limit(consumer)) == []
    consumer._thread._consumer.pauses = set()
    consumer.flow_active = False
    assert reports(10 * limit(consumer)) == []


async def test_webhooks_that_are_not_fetched_are_reported(
    consumer: TrackingConsumer, reports: Callable[[float], list[str]]
) -> None:
    """Never fetched since the assignment, or not any more. Each is reported after its time and not before."""
    assert reports(limit(consumer)) == []
    (first, *_) = reports(10)
    assert "has not sent fetch request" in first
    assert "topic='webhooks'" in first
    fetched(consumer, WEBHOOKS)
    assert reports(limit(consumer) - 5) == []
    (first, *_) = reports(10)
    assert "stopped fetching" in first
    fetched(consumer, WEBHOOKS)
    assert reports(limit(consumer) - 5) == []


async def test_an_assignment_restarts_the_check(
    consumer: TrackingConsumer, reports: Callable[[float], list[str]]
) -> None:
    """The client has forgotten its earlier fetches."""
    fetched(consumer, WEBHOOKS)
    assert reports(limit(consumer) - 5) == []
    consumer._thread.forget_fetches()
    consumer._thread._consumer.fetched.clear()
    assert reports(limit(consumer)) == []
    assert reports(10) != []


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "waits"])
async def test_a_failed_coordinator_stops_the_worker_with_its_reason(
    consumer: TrackingConsumer, monkeypatch: pytest.MonkeyPatch, *, ended: bool
) -> None:
    """Whether its task has ended, or waits until its error is asked for."""
    monkeypatch.setattr(consumer_thread, "COORDINATOR_CHECK_S", 0.0)
    coordinator = consumer._thread._consumer._coordinator

    def check_errors() -> None:
        raise KafkaError("AssertionError()") if ended else GroupAuthorizationFailedError("leads")

    coordinator.check_errors = check_errors
    if ended:
        coordinator._coordination_task.set_result(None)
    watching = asyncio.create_task(consumer._thread._watch_coordinator())
    with pytest.raises(GroupError, match=r"the group coordinator failed: .*(AssertionError|leads)") as caught:
        async with asyncio.timeout(LIMIT):
            await consumer.watch_membership()
    assert caught.value.must_leave is ended
    await watching


async def test_a_retriable_coordinator_error_does_not_stop_the_worker(
    consumer: TrackingConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking for the error lets the coordinator continue."""
    monkeypatch.setattr(consumer_thread, "COORDINATOR_CHECK_S", 0.0)
    errors: list[Exception] = [GroupCoordinatorNotAvailableError()] * 3
    asked = asyncio.Event()

    def check_errors() -> None:
        if errors:
            raise errors.pop()
        asked.set()

    consumer._thread._consumer._coordinator.check_errors = check_errors
    watching = asyncio.create_task(consumer._thread._watch_coordinator())
    async with asyncio.timeout(LIMIT):
        await asked.wait()
    assert not consumer._failed.is_set()
    watching.cancel()
    BROKER.forget()


async def test_a_crash_of_the_thread_is_logged(consumer: TrackingConsumer, capsys: pytest.CaptureFixture[str]) -> None:
    """Faust would print the traceback past the log, where nothing is masked."""
    with capture_logs() as lines:
        try:
            int("no number")
        except ValueError:
            consumer._thread.on_crash("%r crashed: %r", "x", "y")
    assert [line["event"] for line in lines] == ["consumer thread crashed"]
    assert capsys.readouterr() == ("", "")
