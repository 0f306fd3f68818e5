"""The loop of the plain consumers, on a consumer in memory: what is committed when, given back, stopped, measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Set as AbstractSet
from dataclasses import replace

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError, TopicAuthorizationFailedError
from structlog.testing import capture_logs

from stream.domain.errors import StopError
from stream.kafka import consumer_lag
from stream.kafka.attempts import Attempts
from stream.kafka.consumer_loop import Fetched, RecordHandler, Work
from stream.logs.outages import forget
from tests.support.memory_consumer import FIRST, MARKER, SECOND, SPEC, MemoryConsumer, metric, running
from tests.support.waiting import until_true

NO_COMMIT = replace(SPEC, commit_every=3600.0)  # but the last one


class Gated(RecordHandler):
    """Each record is a work that ends when the test says so; what is ``refused`` is not taken, nor what follows it."""

    def __init__(self) -> None:
        self.gates: dict[str, asyncio.Future[None]] = {}
        self.refused: set[str] = set()
        self.holds: set[TopicPartition] = set()
        self.cancelled: list[str] = []

    def room(self, under_way: int) -> int:
        """Enough."""
        return 100 - under_way

    def start(self, fetched: Fetched, attempts: Attempts) -> list[Work]:
        """Take what lies before the first record that the test refuses, and hold the partition of that one."""
        del attempts
        works = []
        for records in fetched.values():
            for record in records:
                if record.value.decode() in self.refused:
                    self.holds.add(TopicPartition(record.topic, record.partition))
                    break
                works.append(self._work(record))
        return works

    def _work(self, record: ConsumerRecord) -> Work:
        gate = self.gates[record.value.decode()] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            try:
                await gate
            except asyncio.CancelledError:
                self.cancelled.append(record.value.decode())
                raise

        return Work((record,), run)

    def held(self, assigned: AbstractSet[TopicPartition]) -> AbstractSet[TopicPartition]:
        """As the test says."""
        return self.holds & assigned

    def complete(self, *values: str) -> None:
        """Let works end."""
        for value in values:
            self.gates[value].set_result(None)

    async def begun(self, *values: str) -> None:
        """Wait until these are under way."""
        await until_true(lambda: set(values) <= self.gates.keys())


async def test_the_completed_prefix_is_committed_and_what_is_no_record_with_it() -> None:
    """A partition is committed up to its first record that is under way, past markers, and not at all before that."""
    consumer, handler = MemoryConsumer(FIRST, SECOND), Gated()
    consumer.write(FIRST, "a", "b", MARKER, "c", MARKER)
    consumer.write(SECOND, "d", MARKER)
    async with running(consumer, handler):
        await handler.begun("a", "b", "c", "d")
        handler.complete("c")
        handler.complete("a")
        await until_true(lambda: consumer.committed == {FIRST: 1})
        handler.complete("b")
        await until_true(lambda: consumer.committed == {FIRST: 5})
    assert consumer.committed == {FIRST: 5}, "d was cut: its partition has no commit"
    assert handler.cancelled == ["d"]


async def test_markers_alone_are_committed() -> None:
    """A group that has read everything does not look as if it lagged."""
    consumer = MemoryConsumer(FIRST)
    consumer.write(FIRST, MARKER, MARKER)
    async with running(consumer, Gated()):
        await until_true(lambda: consumer.committed == {FIRST: 2})


async def test_what_is_completed_during_a_commit_is_committed_after_it() -> None:
    """Nothing has to be completed a third time for that."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    consumer.write(FIRST, "a", "b")
    consumer.may_commit.clear()
    async with running(consumer, handler):
        await handler.begun("a", "b")
        handler.complete("a")
        await until_true(lambda: consumer.commits == 1)
        handler.complete("b")
        consumer.may_commit.set()
        await until_true(lambda: consumer.committed == {FIRST: 2})


async def test_a_commit_that_the_stop_cuts_is_made_by_the_last_one() -> None:
    """A commit under way at a stop is cancelled with its loop; what it would have committed is not forgotten."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    consumer.write(FIRST, "a")
    consumer.may_commit.clear()
    async with running(consumer, handler) as (_, stop):
        await handler.begun("a")
        handler.complete("a")
        await until_true(lambda: consumer.commits == 1)
        stop.set()
        await until_true(lambda: consumer.commits == 2)
        consumer.may_commit.set()
    assert consumer.committed == {FIRST: 1}


async def test_a_commit_that_failed_is_made_again() -> None:
    """Also where nothing more is completed."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    consumer.write(FIRST, "a")
    consumer.commit_error = TopicAuthorizationFailedError()
    with capture_logs() as lines:
        async with running(consumer, handler):
            await handler.begun("a")
            handler.complete("a")
            await until_true(lambda: consumer.commits >= 2)
            consumer.commit_error = None
            await until_true(lambda: consumer.committed == {FIRST: 1})
    forget()
    assert [line["event"] for line in lines if "commit" in line["event"]] == ["commit failed, will try again"]


async def test_what_is_not_taken_is_read_again_once_its_partition_is_not_held() -> None:
    """Its partition is paused meanwhile and committed up to it; the other one is read on."""
    consumer, handler = MemoryConsumer(FIRST, SECOND), Gated()
    handler.refused = {"b"}
    consumer.write(FIRST, "a", "b", "c")
    consumer.write(SECOND, "d")
    async with running(consumer, handler):
        await handler.begun("a", "d")
        handler.complete("a", "d")
        await until_true(lambda: consumer.committed == {FIRST: 1, SECOND: 1})
        await until_true(lambda: consumer.paused() == {FIRST})
        consumer.write(SECOND, "e")
        await handler.begun("e")
        assert not {"b", "c"} & handler.gates.keys()
        handler.refused = set()
        handler.holds = set()
        await handler.begun("b", "c")
        handler.complete("b", "c", "e")
        await until_true(lambda: consumer.committed == {FIRST: 3, SECOND: 2})


async def test_a_partition_of_which_nothing_is_taken_has_no_commit() -> None:
    """What waits for its time is not completed by being looked at."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    handler.refused = {"a"}
    consumer.write(FIRST, "a")
    async with running(consumer, handler):
        await until_true(lambda: consumer.paused() == {FIRST})
    assert (consumer.committed, consumer.commits) == ({}, 0)


async def test_a_rebalance_commits_what_is_completed_and_nobody_commits_what_follows() -> None:
    """Work that goes on ends for nothing: its record is read again by whoever has the partition."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    consumer.write(FIRST, "a", "b")
    async with running(consumer, handler, NO_COMMIT):
        await handler.begun("a", "b")
        late = handler.gates["b"]
        handler.complete("a")
        await until_true(lambda: metric("leads_consumer_lag") == 1)
        await consumer.listener.on_partitions_revoked([FIRST])
        assert consumer.committed == {FIRST: 1}
        await consumer.assign()
        late.set_result(None)
        await until_true(lambda: handler.gates["b"] is not late)
        assert metric("leads_consumer_lag") == 1
    assert consumer.committed == {FIRST: 1}


async def test_a_commit_that_the_group_refuses_stops_nothing() -> None:
    """It has rebalanced: the assignment that follows begins anew."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    consumer.write(FIRST, "a")
    consumer.commit_error = CommitFailedError("test")
    with capture_logs() as lines:
        async with running(consumer, handler):
            await handler.begun("a")
            handler.complete("a")
            await until_true(lambda: consumer.commits == 1)
            consumer.commit_error = None
            again = handler.gates.pop("a")
            await consumer.assign()
            await handler.begun("a")
            assert handler.gates["a"] is not again
            handler.complete("a")
            await until_true(lambda: consumer.committed == {FIRST: 1})
    assert [line["event"] for line in lines] == ["commit refused: the group has rebalanced"]


async def test_a_stop_lets_work_end_within_its_grace() -> None:
    """And commits it; what is read meanwhile is nothing."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    consumer.write(FIRST, "a")
    async with running(consumer, handler, replace(SPEC, grace=60.0)) as (task, stop):
        await handler.begun("a")
        stop.set()
        await until_true(lambda: metric("leads_consumer_lag") is None)
        consumer.write(FIRST, "b")
        assert not task.done()
        handler.complete("a")
        await asyncio.wait_for(task, 30)
    assert consumer.committed == {FIRST: 1}
    assert "b" not in handler.gates


async def test_a_stop_cuts_what_takes_longer_than_the_grace() -> None:
    """It was not completed, so it is not committed."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    consumer.write(FIRST, "a")
    async with running(consumer, handler, replace(SPEC, grace=0.1)) as (task, stop):
        await handler.begun("a")
        stop.set()
        await asyncio.wait_for(task, 30)
    assert handler.cancelled == ["a"]
    assert consumer.committed == {}


async def test_a_stop_is_heard_while_a_read_hangs() -> None:
    """As it does while the group rebalances and the broker is away: until there is an assignment again."""
    consumer = MemoryConsumer(FIRST)
    consumer.may_read.clear()
    async with running(consumer, Gated()) as (task, stop):
        await until_true(lambda: consumer.is_asked_for_ends)
        stop.set()
        await asyncio.wait_for(task, 30)


async def test_a_cancelled_loop_ends_as_a_stopped_one() -> None:
    """The retry reader's is: its work is cut and what was completed is committed."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    consumer.write(FIRST, "a", "b")
    async with running(consumer, handler, NO_COMMIT) as (
        task,
        _,
    ):
        await handler.begun("a", "b")
        handler.complete("a")
        await until_true(lambda: metric("leads_consumer_lag") == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert consumer.committed == {FIRST: 1}
    assert handler.cancelled == ["b"]


async def test_a_work_that_fails_ends_the_loop_with_its_error() -> None:
    """What was completed before is committed, its own record is not."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    consumer.write(FIRST, "a", "b", "c")
    async with running(consumer, handler, NO_COMMIT) as (task, _):
        await handler.begun("a", "b", "c")
        handler.complete("a", "c")
        handler.gates["b"].set_exception(StopError("enough"))
        with pytest.raises(StopError, match="enough"):
            await asyncio.wait_for(asyncio.shield(task), 30)
    assert consumer.committed == {FIRST: 1}


@pytest.mark.parametrize("line", ["", "could not read"])
async def test_a_read_that_the_broker_refuses(line: str) -> None:
    """The process leaves, or says so once and reads on: as the consumer's spec says."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    consumer.write(FIRST, "a")
    consumer.read_error = TopicAuthorizationFailedError()
    with capture_logs() as lines:
        async with running(consumer, handler, replace(SPEC, read_failed=line)) as (task, _):
            if line:
                await until_true(lambda: bool(lines))
                consumer.read_error = None
                await handler.begun("a")
            else:
                with pytest.raises(KafkaError):
                    await asyncio.wait_for(asyncio.shield(task), 30)
    forget()
    assert [one["event"] for one in lines] == ([line] if line else [])


async def test_lag_and_age_are_measured() -> None:
    """Of what is under way and of what waits; a loop that has ended has neither."""
    consumer, handler = MemoryConsumer(FIRST, SECOND), Gated()
    handler.refused = {"b"}
    consumer.write(FIRST, "a", MARKER)
    consumer.write(SECOND, "b", "c", "d")
    consumer.logs[SECOND][0] = aged(consumer.logs[SECOND][0], 50.0)
    consumer.logs[FIRST][0] = aged(consumer.logs[FIRST][0], 100.0)
    async with running(consumer, handler):
        await handler.begun("a")
        await until_true(lambda: metric("leads_consumer_lag") == 5)
        await until_true(lambda: 100 <= (metric("leads_consumer_oldest_seconds") or 0) < 160)
        handler.complete("a")
        await until_true(lambda: metric("leads_consumer_lag") == 3)
        await until_true(lambda: 50 <= (metric("leads_consumer_oldest_seconds") or 0) < 100)
        handler.refused, handler.holds = set(), set()
        await handler.begun("b", "c", "d")
        handler.complete("b", "c", "d")
        await until_true(lambda: metric("leads_consumer_lag") == 0)
        assert metric("leads_consumer_oldest_seconds") == 0
    assert metric("leads_consumer_lag") is metric("leads_consumer_oldest_seconds") is None


async def test_the_end_of_a_held_partition_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written behind a record that waits counts, though nothing is fetched."""
    monkeypatch.setattr(consumer_lag, "END_OFFSETS_EVERY_S", 0.01)
    consumer, handler = MemoryConsumer(FIRST), Gated()
    handler.refused = {"a"}
    consumer.write(FIRST, "a")
    async with running(consumer, handler):
        await until_true(lambda: metric("leads_consumer_lag") == 1)
        consumer.write(FIRST, *"bcd")
        await until_true(lambda: metric("leads_consumer_lag") == 4)


def aged(record: ConsumerRecord | None, seconds: float) -> ConsumerRecord:
    """The record, written so many seconds ago."""
    assert record is not None
    values = {**record.__dict__, "timestamp": int((time.time() - seconds) * 1000)}
    return ConsumerRecord(**values)


async def test_a_loop_waits_while_its_handler_is_full() -> None:
    """Also where room is made by others than its own work."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    consumer.write(FIRST, "a")
    rooms: list[int] = [0, 0]
    handler.room = lambda _: rooms.pop() if rooms else 1  # type: ignore[method-assign]
    async with running(consumer, handler):
        await handler.begun("a")
        handler.complete("a")
        await until_true(lambda: consumer.committed == {FIRST: 1})
    assert rooms == []
