"""The loop of the plain consumers: the CRM sync, the journal and the retry reader.

The loop reads, commits, stops and measures the lag. A ``RecordHandler`` decides what happens to the records.

Rule 1, commit: the loop commits a partition up to its first record that is not completed, and past offsets that are no
records (transaction markers, aborted records). A record is completed when its ``Work`` has returned, not when it raised
or was cancelled. A partition without a completed record is not committed.

Rule 2, bound: the loop reads no more records than the handler has room for, and none of a partition that the handler
holds.

Rule 3, give back: the handler takes a prefix of the records of a partition. The loop seeks back to the first record
that was not taken, and reads it again when the handler no longer holds the partition (``held``).

Rule 4, rebalance: the loop commits the completed records before the partitions are revoked. Work in progress goes on,
but the records it completes are not committed, and the partition's next owner reads them again. So a handler must
tolerate that a record is handled twice, even by two processes at once.

Rule 5, stop: the loop reads and starts nothing more. It cancels work that is idle between two attempts at once, and
other work after the grace period. Then it commits the completed records.

Rule 6, failure of the handler: to *retry*, the handler uses ``Attempts.until_completed``; to *give up* a record, it
publishes a dead letter and returns; every other error of a ``Work`` *stops* the loop by rule 5, which then raises it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from stream.domain.errors import StopError
from stream.kafka.attempts import Attempts
from stream.kafka.clients import open_consumer, positions, positions_reached
from stream.kafka.consumer_lag import ConsumerLag
from stream.kafka.offset_committer import OffsetCommitter
from stream.kafka.offset_tracker import Tracker, Trackers
from stream.logs import get_logger
from stream.logs.outages import broker_failed
from stream.settings import Settings

log = get_logger(__name__)

COMMIT_EVERY_S = 1.0
RETRY_READ_S = 0.2  # pause after a read that the broker refused
POLL_TIMEOUT_MS = 500
BUSY_CHECK_S = 0.05  # between checks whether the handler has room or no longer holds a partition
STOP_LIMIT_S = 20.0  # for work in progress when the process stops

Fetched = Mapping[TopicPartition, Sequence[ConsumerRecord]]


@dataclass(frozen=True, slots=True)
class Work:
    """Records that are completed together, when ``run`` returns."""

    records: Sequence[ConsumerRecord]
    run: Callable[[], Coroutine[Any, Any, None]]


class RecordHandler(Protocol):
    """Decides what happens to records. No method waits: everything that takes time is in a ``Work``."""

    def room(self, under_way: int) -> int:
        """How many records the handler takes now, beside those ``under_way``; 0 or less means none."""

    def start(self, fetched: Fetched, attempts: Attempts) -> list[Work]:
        """Take a prefix of each partition's records, in order. Records that are in no ``Work`` are given back."""

    def held(self, assigned: AbstractSet[TopicPartition]) -> AbstractSet[TopicPartition]:
        """Which of the assigned partitions must not be read now."""
        del assigned
        return frozenset()

    def poll_timeout_ms(self) -> int:
        """How long a read may wait for records, at most until a held partition may be read again."""
        return POLL_TIMEOUT_MS


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """A plain consumer: its group, its topics, how it commits and stops, and its log events.

    ``commit_every``: seconds from a completion to its commit; None means ``COMMIT_EVERY_S``. ``grace``: seconds for
    work in progress at a stop. ``read_failed``: log event of a read that failed and is repeated; if it is "", a failed
    read ends the process. ``commit_failed``, ``commit_refused``: log events of commits.
    """

    group: str
    topics: tuple[str, ...]
    commit_every: float | None = None
    grace: float = STOP_LIMIT_S
    read_failed: str = ""
    commit_failed: str = "commit failed, will try again"
    commit_refused: str = "commit refused: the group has rebalanced"


class ConsumerLoop(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads topics as a member of a group and passes the records to a handler."""

    def __init__(self, consumer: AIOKafkaConsumer, spec: ConsumerSpec, handler: RecordHandler) -> None:
        """``consumer`` is not subscribed yet and does not commit by itself."""
        self._consumer = consumer
        self._spec = spec
        self._handler = handler
        self._trackers = Trackers()
        self._running: dict[asyncio.Task[None], list[tuple[Tracker, ConsumerRecord]]] = {}
        self._given_back: dict[TopicPartition, ConsumerRecord] = {}  # the first one of each partition
        self._under_way = 0  # records that are handled now
        self._committer = OffsetCommitter(
            consumer,
            self._trackers,
            interval_s=COMMIT_EVERY_S if spec.commit_every is None else spec.commit_every,
            failed=spec.commit_failed,
            refused=spec.commit_refused,
        )
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._lag = ConsumerLag(consumer, self._trackers)
        consumer.subscribe(list(spec.topics), listener=self)

    @property
    def is_assigned(self) -> bool:
        """Whether the group has assigned partitions to the consumer."""
        return bool(self._consumer.assignment())

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        """Commit the completed records before the partitions are revoked."""
        if revoked:
            await self._committer.commit()

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Begin a generation. aiokafka has moved the consumer to the committed offsets."""
        self._trackers.begin_generation({(one.topic, one.partition) for one in assigned})
        self._committer.begin_generation()
        self._given_back.clear()

    async def run(self, stop: asyncio.Event) -> None:
        """Read until ``stop`` is set or the task is cancelled; then stop by rule 5 and set ``stop``.

        Raises the error of a ``Work``, and StopError if a loop ended.
        """
        attempts = Attempts(stop)
        loops = [
            asyncio.create_task(loop)
            for loop in (self._poll_for_ever(attempts), self._committer.commit_for_ever(), self._lag.measure_for_ever())
        ]
        waits = [asyncio.create_task(event.wait()) for event in (stop, self._failed)]
        try:
            with self._lag.published(self._spec.group, self._oldest_age):
                await asyncio.wait({*loops, *waits}, return_when=asyncio.FIRST_COMPLETED)
                self._raise_failure(loops)
        finally:
            stop.set()  # also after the error of a handler: no attempt may begin
            for task in (*loops, *waits):
                task.cancel()
            await asyncio.gather(*loops, *waits, return_exceptions=True)
            await self._stop_work(attempts)
            await self._committer.commit()

    def _raise_failure(self, loops: Sequence[asyncio.Task[None]]) -> None:
        if self._failure is not None:
            raise self._failure
        for task in loops:
            if task.done():
                task.result()
                raise StopError("a loop that runs until the stop has ended early")

    async def _poll_for_ever(self, attempts: Attempts) -> None:
        while True:
            try:
                await self._poll_once(attempts)
            except (KafkaError, OSError) as error:
                if not self._spec.read_failed:
                    raise
                broker_failed(log, self._spec.read_failed, error)
                await asyncio.sleep(RETRY_READ_S)

    async def _poll_once(self, attempts: Attempts) -> None:
        self._hold()
        room = self._handler.room(self._under_way)
        if room <= 0:
            await self._wait_for_work()
            return
        timeout_ms = self._handler.poll_timeout_ms()
        if self._running and self._consumer.paused():  # the handler may release a partition once its work is completed
            await self._wait_for_work()
            timeout_ms = 0
        before = positions(self._consumer)
        batches = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=room)
        self._start(batches, positions_reached(self._consumer, before, batches), attempts)

    async def _wait_for_work(self) -> None:
        """Wait until some work ends, for ``BUSY_CHECK_S`` at most: the handler may get room in other ways as well."""
        if self._running:
            await asyncio.wait(self._running, timeout=BUSY_CHECK_S, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(BUSY_CHECK_S)

    def _hold(self) -> None:
        """Pause the partitions that the handler holds and resume the others."""
        held, paused = self._handler.held(self._consumer.assignment()), self._consumer.paused()
        self._consumer.pause(*(held - paused))
        self._consumer.resume(*(paused - held))

    def _start(self, batches: Fetched, new_positions: Mapping[TopicPartition, int], attempts: Attempts) -> None:
        """Pass the fetched records to the handler.

        Nothing in here waits, so no rebalance can happen between a fetch and the update of its trackers.
        """
        trackers = {
            partition: tracker
            for partition in new_positions
            if (tracker := self._trackers.of((partition.topic, partition.partition))) is not None
        }
        fetched = {partition: batches[partition] for partition in trackers if batches.get(partition)}
        works = self._handler.start(fetched, attempts) if fetched else []
        started: dict[TopicPartition, list[int]] = {partition: [] for partition in trackers}
        for work in works:
            for record in work.records:
                started[TopicPartition(record.topic, record.partition)].append(record.offset)
        for partition, tracker in trackers.items():
            tracker.track(started[partition])
            self._given_back.pop(partition, None)
            left = fetched.get(partition, [])[len(started[partition]) :]
            if left:
                self._give_back(partition, left[0])
            else:
                self._advance_to(partition, tracker, new_positions[partition])
        for work in works:
            self._run(work, trackers)

    def _give_back(self, partition: TopicPartition, first: ConsumerRecord) -> None:
        self._consumer.seek(partition, first.offset)
        self._given_back[partition] = first

    def _advance_to(self, partition: TopicPartition, tracker: Tracker, position: int) -> None:
        """Let the commit move past offsets that are no records."""
        before = tracker.watermark
        tracker.advance_to(position)
        if tracker.watermark != before:
            self._committer.mark_completed((partition.topic, partition.partition))

    def _run(self, work: Work, trackers: Mapping[TopicPartition, Tracker]) -> None:
        task = asyncio.create_task(work.run())
        self._running[task] = [
            (trackers[TopicPartition(record.topic, record.partition)], record) for record in work.records
        ]
        self._under_way += len(work.records)
        task.add_done_callback(self._work_ended)

    def _work_ended(self, task: asyncio.Task[None]) -> None:
        tracked = self._running.pop(task)
        self._under_way -= len(tracked)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._failure = self._failure or error
            self._failed.set()
            return
        for tracker, record in tracked:
            tracker.complete(record.offset)
            if not tracker.revoked:
                self._committer.mark_completed((record.topic, record.partition))

    async def _stop_work(self, attempts: Attempts) -> None:
        """Wait for work in progress until the grace period ends, then cancel it."""
        clock = asyncio.get_running_loop().time
        limit = clock() + self._spec.grace
        while self._running and (left := limit - clock()) > 0:
            attempts.cancel_idle()
            await asyncio.wait(self._running, timeout=min(left, BUSY_CHECK_S))
        unfinished = list(self._running)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    def _oldest_age(self) -> float:
        """Age in seconds of the oldest record that was read and is not completed; 0 if there is none."""
        under_way = (record for tracked in self._running.values() for tracker, record in tracked if not tracker.revoked)
        written = [record.timestamp for record in (*under_way, *self._given_back.values())]
        return max(time.time() - min(written) / 1000, 0.0) if written else 0.0


@asynccontextmanager
async def open_consumer_loop(
    settings: Settings, spec: ConsumerSpec, handler: RecordHandler
) -> AsyncIterator[ConsumerLoop]:
    """A loop with a connected consumer, which is closed at the end. Raises KafkaError if the broker is away."""
    async with open_consumer(settings, None, spec.group) as consumer:
        yield ConsumerLoop(consumer, spec, handler)
