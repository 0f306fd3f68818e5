"""The loop of the plain consumers on a consumer in memory: what it commits and gives back, how it stops, its lag."""

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
    """Each record is a work that ends when the test says so. A ``refused`` record and those behind it are not taken."""

    def __init__(self) -> None:
        self.gates: dict[str, asyncio.Future[None]] = {}
        self.refused: set[str] = set()
        self.holds: set[TopicPartition] = set()
        self.cancelled: list[str] = []

    def room(self, under_way: int) -> int:
        """Room for more records than any test writes."""
        return 100 - under_way

    def start(self, fetched: Fetched, attempts: Attempts) -> list[Work]:
        """Take the records before the first refused one, and hold the partition of that one."""
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
        """The partitions that the test holds."""
        return self.holds & assigned

    def complete(self, *values: str) -> None:
        """Let the works of these records return."""
        for value in values:
            self.gates[value].set_result(None)

    async def begun(self, *values: str) -> None:
        """Wait until the works of these records have begun."""
        await until_true(lambda: set(values) <= self.gates.keys())


async def test_the_completed_prefix_is_committed_past_markers() -> None:
    """A partition is committed up to its first unfinished record, past markers, and not without a completed record."""
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
    """Markers without a record are committed, so that a group that has read everything has no lag."""
    consumer = MemoryConsumer(FIRST)
    consumer.write(FIRST, MARKER, MARKER)
    async with running(consumer, Gated()):
        await until_true(lambda: consumer.committed == {FIRST: 2})


async def test_a_completion_during_a_commit_is_committed_next() -> None:
    """A record that is completed during a commit is committed by the next one, without another completion."""
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


async def test_a_commit_cancelled_by_the_stop_is_repeated() -> None:
    """If a stop cancels a commit, the last commit includes its offsets."""
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


async def test_a_failed_commit_is_repeated() -> None:
    """A failed commit is repeated, without another completion."""
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


async def test_a_refused_record_is_read_again_when_its_partition_is_released() -> None:
    """A held partition is paused and committed up to the refused record, which is read later; others are read on."""
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
    """A partition from which the handler took no record is not committed."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    handler.refused = {"a"}
    consumer.write(FIRST, "a")
    async with running(consumer, handler):
        await until_true(lambda: consumer.paused() == {FIRST})
    assert (consumer.committed, consumer.commits) == ({}, 0)


async def test_a_rebalance_commits_completed_records_and_no_later_ones() -> None:
    """A rebalance commits completed records; a record completed after it is not committed and is read again."""
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


async def test_a_refused_commit_does_not_stop_the_loop() -> None:
    """If the group refuses a commit because it has rebalanced, the loop goes on with the next assignment."""
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


async def test_a_stop_waits_for_work_within_the_grace() -> None:
    """At a stop the loop reads nothing more; work that ends within the grace is committed."""
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


async def test_a_stop_cancels_work_after_the_grace() -> None:
    """Work that takes longer than the grace is cancelled and not committed."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    consumer.write(FIRST, "a")
    async with running(consumer, handler, replace(SPEC, grace=0.1)) as (task, stop):
        await handler.begun("a")
        stop.set()
        await asyncio.wait_for(task, 30)
    assert handler.cancelled == ["a"]
    assert consumer.committed == {}


async def test_a_stop_ends_a_loop_whose_read_hangs() -> None:
    """A stop ends the loop although a read hangs, as it does during a rebalance without a broker."""
    consumer = MemoryConsumer(FIRST)
    consumer.may_read.clear()
    async with running(consumer, Gated()) as (task, stop):
        await until_true(lambda: consumer.is_asked_for_ends)
        stop.set()
        await asyncio.wait_for(task, 30)


async def test_a_cancelled_loop_ends_as_a_stopped_one() -> None:
    """A cancelled loop, such as the retry reader's, cancels its work and commits the completed records."""
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
    """The error of a work ends the loop; records completed before it are committed, its own is not."""
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
async def test_a_failed_read_ends_or_repeats_as_configured(line: str) -> None:
    """A failed read ends the loop, or is logged once and repeated, as the consumer's spec says."""
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
    """Lag and age count records in progress and waiting ones; a loop that has ended publishes neither."""
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


async def test_the_lag_of_a_held_partition_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records behind a held one count, although the partition is not fetched."""
    monkeypatch.setattr(consumer_lag, "END_OFFSETS_EVERY_S", 0.01)
    consumer, handler = MemoryConsumer(FIRST), Gated()
    handler.refused = {"a"}
    consumer.write(FIRST, "a")
    async with running(consumer, handler):
        await until_true(lambda: metric("leads_consumer_lag") == 1)
        consumer.write(FIRST, *"bcd")
        await until_true(lambda: metric("leads_consumer_lag") == 4)


def aged(record: ConsumerRecord | None, seconds: float) -> ConsumerRecord:
    """A record that was written so many seconds ago."""
    assert record is not None
    values = {**record.__dict__, "timestamp": int((time.time() - seconds) * 1000)}
    return ConsumerRecord(**values)


async def test_a_loop_waits_while_its_handler_is_full() -> None:
    """The loop reads on when the handler has room again, even if no own work has ended."""
    consumer, handler = MemoryConsumer(FIRST), Gated()
    consumer.write(FIRST, "a")
    rooms: list[int] = [0, 0]
    handler.room = lambda _: rooms.pop() if rooms else 1  # type: ignore[method-assign]
    async with running(consumer, handler):
        await handler.begun("a")
        handler.complete("a")
        await until_true(lambda: consumer.committed == {FIRST: 1})
    assert rooms == []
