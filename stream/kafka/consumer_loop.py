"""The one loop of the plain consumers: the CRM sync, the journal and the retry reader.

It opens, reads, commits, stops and measures. What is done with records is a ``RecordHandler``'s. What must stay true:

Rule 1, commit: a partition is committed up to its first record that is not completed, and past what is no record
(transaction markers, aborted records). A record is completed when its ``Work`` has returned: not when it raised, and
not when it was cancelled. A partition of which nothing was completed is not committed at all.

Rule 2, bound: no more records are read than the handler has room for, and of a partition that it holds none.

Rule 3, give back: what the handler does not take of a partition is read again. It takes a prefix, the loop seeks back
to the first record behind it, and the handler says through ``held`` when the partition is read on.

Rule 4, rebalance: what is completed is committed before the partitions go. Work that is under way then goes on, but
nobody commits what it completes; whoever has the partition reads its records again. So a handler must bear that a
record is handled twice, also by two processes at once.

Rule 5, stop: nothing more is read or begun. Work that rests between two tries is cancelled at once, other work after
the grace. Then what is completed is committed.

Rule 6, failure of the handler: *retry* is ``Attempts.until_completed``, in the record's place; *park* is the handler's
own (it publishes a dead letter and returns); *stop* is everything else that a ``Work`` raises: the loop ends by rule 5
and raises it.
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
RETRY_READ_S = 0.2  # after a read that the broker refused
POLL_TIMEOUT_MS = 500
BUSY_CHECK_S = 0.05  # between looks whether there is room, or a held partition may be read
STOP_LIMIT_S = 20.0  # for what is under way when the process is to leave

Fetched = Mapping[TopicPartition, Sequence[ConsumerRecord]]


@dataclass(frozen=True, slots=True)
class Work:
    """Records that are completed together, when ``run`` returns."""

    records: Sequence[ConsumerRecord]
    run: Callable[[], Coroutine[Any, Any, None]]


class RecordHandler(Protocol):
    """What is done with records. None of these methods waits: what takes time is in a ``Work``."""

    def room(self, under_way: int) -> int:
        """How many records it takes now, beside those ``under_way``; 0 or less: none."""

    def start(self, fetched: Fetched, attempts: Attempts) -> list[Work]:
        """Take records: of each partition a prefix, in order. What no work has is given back (rule 3)."""

    def held(self, assigned: AbstractSet[TopicPartition]) -> AbstractSet[TopicPartition]:
        """Which of the assigned partitions must not be read now."""
        del assigned
        return frozenset()

    def poll_timeout_ms(self) -> int:
        """How long a read may wait for records: until something that is held may be read."""
        return POLL_TIMEOUT_MS


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """A plain consumer: its group, what it reads, how it commits and stops, and its lines in the log.

    ``commit_every``: seconds from a completion to its commit; None: ``COMMIT_EVERY_S``. ``grace``: seconds for what is
    under way at a stop. ``read_failed``: the line of a read that the broker refused, which is then tried again; "": the
    process leaves.
    """

    group: str
    topics: tuple[str, ...]
    commit_every: float | None = None
    grace: float = STOP_LIMIT_S
    read_failed: str = ""
    commit_failed: str = "commit failed, will try again"
    commit_refused: str = "commit refused: the group has rebalanced"


class ConsumerLoop(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads topics as a group, and hands the records to a handler."""

    def __init__(self, consumer: AIOKafkaConsumer, spec: ConsumerSpec, handler: RecordHandler) -> None:
        """``consumer`` has no topic yet, and commits only when told."""
        self._consumer = consumer
        self._spec = spec
        self._handler = handler
        self._trackers = Trackers()
        self._running: dict[asyncio.Task[None], list[tuple[Tracker, ConsumerRecord]]] = {}
        self._given_back: dict[TopicPartition, ConsumerRecord] = {}  # the first record of each that was
        self._under_way = 0  # records
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
        """Whether the group has given it partitions."""
        return bool(self._consumer.assignment())

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        """Commit what is completed before the partitions go."""
        if revoked:
            await self._committer.commit()

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Begin a generation: the client stands at the committed offsets."""
        self._trackers.begin_generation({(one.topic, one.partition) for one in assigned})
        self._committer.begin_generation()
        self._given_back.clear()

    async def run(self, stop: asyncio.Event) -> None:
        """Read until ``stop`` or until cancelled; then end by rule 5, and set ``stop``. Raises what a work raised."""
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
            stop.set()  # also where a handler gave up: no try begins any more
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
                raise StopError("a loop that must not end has ended")

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
        if self._running and self._consumer.paused():  # a partition may be read once its work is completed
            await self._wait_for_work()
            timeout_ms = 0
        before = positions(self._consumer)
        batches = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=room)
        self._start(batches, positions_reached(self._consumer, before, batches), attempts)

    async def _wait_for_work(self) -> None:
        """Wait until some work ends, at most for a moment: room is not only made by our own work."""
        if self._running:
            await asyncio.wait(self._running, timeout=BUSY_CHECK_S, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(BUSY_CHECK_S)

    def _hold(self) -> None:
        """Pause the partitions that the handler holds, and no others."""
        held, paused = self._handler.held(self._consumer.assignment()), self._consumer.paused()
        self._consumer.pause(*(held - paused))
        self._consumer.resume(*(paused - held))

    def _start(self, batches: Fetched, new_positions: Mapping[TopicPartition, int], attempts: Attempts) -> None:
        """Hand over what was read. Nothing waits in here: no rebalance comes between a read and its trackers."""
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
        """What was read and is no record need not be waited for."""
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
        """Give what is under way its grace, and cancel the rest."""
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
        """Seconds since the oldest record was written that was read and is not completed; 0 where there is none."""
        under_way = (record for tracked in self._running.values() for tracker, record in tracked if not tracker.revoked)
        written = [record.timestamp for record in (*under_way, *self._given_back.values())]
        return max(time.time() - min(written) / 1000, 0.0) if written else 0.0


@asynccontextmanager
async def open_consumer_loop(
    settings: Settings, spec: ConsumerSpec, handler: RecordHandler
) -> AsyncIterator[ConsumerLoop]:
    """A loop whose consumer is connected; closed at the end. Raises KafkaError for a broker that is away."""
    async with open_consumer(settings, None, spec.group) as consumer:
        yield ConsumerLoop(consumer, spec, handler)
