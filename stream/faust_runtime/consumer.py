"""Faust's consumer with the commit tracker in place of its own opinion of what is finished.

This and ``fast_path`` are the places that lean on Faust's insides (docs/adr/0002-replace-part-of-faust.md);
the version is pinned and ``tests/unit/test_faust_pin.py`` holds the parts that are leaned on.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import UserDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream.domain.errors import StopError
from stream.engine.open_transactions import OpenTransactions
from stream.engine.tracker import Tracker, Trackers
from stream.faust_runtime.batch import Batch, message_of
from stream.kafka import READ_COMMITTED, positions, reached
from stream.logs import get_logger
from stream.outages import AWAY, BROKER, broker_failed

log = get_logger(__name__)

COMMIT_TIMEOUT = 10.0  # seconds; a commit that takes longer is tried again at the next interval
FETCH_WAIT = 100  # ms; after a recovery the first webhook may wait as long
POLL = 0.2  # seconds; a seek waits for the fetch that is under way
COORDINATOR_CHECK = 0.5  # seconds between looks at the client's group coordinator


class GroupError(StopError):
    """The worker can't be a member of its group as it is. ``must_leave``: nor with the assignment that it would get."""

    def __init__(self, reason: str, *, must_leave: bool) -> None:
        super().__init__(reason)
        self.must_leave = must_leave


class Fetched(dict[TP, list[ConsumerRecord]]):
    """The records of one fetch; ``reached``: where it has moved the reader, past records or none."""

    def __init__(self, records: Mapping[TP, list[ConsumerRecord]], reached: Mapping[TP, int]) -> None:
        super().__init__(records)
        self.reached = reached


class TrackingConsumerThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """Commits without ending the worker: a commit that fails only means work done twice."""

    consumer: TrackingConsumer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._wanted_since: dict[TP, float] = {}  # epoch seconds, as the client dates its fetches
        self._watching: asyncio.Task[None] | None = None
        super().__init__(*args, **kwargs)
        self.open_transactions = OpenTransactions()

    async def on_start(self) -> None:
        """Start the client, and watch its group coordinator."""
        await super().on_start()
        self._watching = asyncio.create_task(self._watch_coordinator())

    async def on_thread_stop(self) -> None:
        """Stop the client."""
        if self._watching is not None:
            self._watching.cancel()
        await super().on_thread_stop()

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Faust prints the trace past the log."""
        del msg, fmt, kwargs
        error = sys.exc_info()[1]
        if isinstance(error, AWAY):
            BROKER.missed(type(error).__name__)
        else:
            log.error("the consumer's thread has crashed", exc_info=error)

    async def _watch_coordinator(self) -> None:
        """Tell the worker why the group coordinator has failed.

        aiokafka's coordinator ends, or waits until somebody asks for its error, and Faust never asks: the member would
        send no heartbeat and get no partition until the watchdog acts.
        """
        while True:
            await asyncio.sleep(COORDINATOR_CHECK)
            coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001 - Faust asks nobody
            has_ended = coordinator._coordination_task.done()  # noqa: SLF001
            try:
                coordinator.check_errors()
            except KafkaError as error:
                if error.retriable and not has_ended:
                    broker_failed(log, "the group coordinator failed, will try again", error)
                    continue
                failure = GroupError(f"the group coordinator failed: {error}", must_leave=has_ended)
                self.parent_loop.call_soon_threadsafe(self.consumer.fail, failure)
                return

    def forget_fetches(self) -> None:
        """The client knows nothing of what was fetched before an assignment: count from now."""
        self._wanted_since.clear()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's check that ``tp`` is fetched; of what we take now, since we took it.

        Faust asks it of every partition, counts from the start of the worker, and subtracts the client's epoch
        seconds from its monotonic ones. So it never reported a partition that stood still, and always one that is not
        fetched on purpose: the changelog after recovery, or what is paused.
        """
        del now
        paused = self._ensure_consumer().paused()
        if not self.consumer.takes(tp) or TopicPartition(tp.topic, tp.partition) in paused:
            self._wanted_since.pop(tp, None)
            return
        epoch = time.time()
        since = self._wanted_since.setdefault(tp, epoch)
        if epoch - since >= self.tp_fetch_request_timeout_secs:
            self.time_started = since
            super().verify_event_path(epoch, tp)

    def _create_worker_consumer(self, transport: Transport) -> AIOKafkaConsumer:
        """Faust's, but that it reads what is committed only, and that no empty fetch is held by the broker for 1.5 s.

        What is sought meanwhile would wait for that fetch.
        """
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT  # noqa: SLF001 - Faust has no setting for it
        consumer._isolation_level = READ_COMMITTED  # noqa: SLF001 - Faust sets it only where it writes transactions
        return consumer

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's
        max_records: int | None = None,
    ) -> Fetched:
        before = positions(consumer)
        records = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        self.open_transactions.look(consumer, active_partitions)
        return Fetched(records, reached(consumer, before, records))

    def fetch(self, partitions: Iterable[TP], *, wanted: bool) -> None:
        """Fetch of ``partitions`` from now on, or no more. Called in another thread, done in this one, in order."""
        with suppress(RuntimeError):  # its loop has ended: nothing is fetched any more
            self.thread_loop.call_soon_threadsafe(self._fetch, frozenset(partitions), wanted)

    def _fetch(self, partitions: frozenset[TP], wanted: bool) -> None:  # noqa: FBT001 - call_soon passes by position
        consumer = self._consumer
        assigned = consumer.assignment() if consumer is not None else ()
        there = [partition for partition in assigned if partition in partitions]
        (consumer.resume if wanted else consumer.pause)(*there) if there else None

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        assigned = self.assignment()
        wanted = {
            TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in assigned
        }
        if not wanted:
            return False
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT):
                await self._ensure_consumer().commit(wanted)
        except CommitFailedError:
            log.info("commit refused: the group has rebalanced")
        except (KafkaError, IllegalStateError, TimeoutError, OSError) as error:
            broker_failed(log, "commit failed, will try again", error)
        else:
            return True
        return False


class ChangelogOffsets(UserDict[TP, int | None]):
    """How far Faust has read: kept for the changelog only.

    Its loop drops what lies below, and notes an offset *after* handing the record on. With a seek in between, it
    notes the offset of a record from before the seek, and drops what is read again. The tracker needs no such help.
    """

    def __init__(self, is_changelog: Callable[[TP], bool]) -> None:
        self._is_changelog = is_changelog
        super().__init__()

    def __missing__(self, tp: TP) -> None:
        return None

    def __delitem__(self, tp: TP) -> None:
        self.data.pop(tp, None)  # Faust forgets what is revoked, and we may never have known it

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        if self._is_changelog(tp):
            super().__setitem__(tp, offset)


class TrackingConsumer(Consumer):  # type: ignore[misc]
    """Commits the finished prefix of each partition, whatever Faust believes to be acknowledged.

    Every record of ``webhooks`` is tracked in the moment it is fetched, before anything of Faust may drop it.
    No fetch spans a seek, and what was fetched for one generation is never taken for the next.
    """

    trackers: Trackers

    @property
    def open_transactions(self) -> OpenTransactions:
        """For how long partitions have been held back."""
        thread: TrackingConsumerThread = self._thread
        return thread.open_transactions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.trackers = Trackers()
        self._moving = asyncio.Lock()
        self._failed = asyncio.Event()
        self._failure: GroupError | None = None
        super().__init__(*args, **kwargs)
        self._read_offset = ChangelogOffsets(self._is_changelog_tp)

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return TrackingConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def fail(self, failure: GroupError) -> None:
        """Note why the worker can't be a member of its group."""
        self._failure = failure
        self._failed.set()

    async def watch_membership(self) -> None:
        """Wait until the worker can't be a member of its group any more; raises GroupError then."""
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    def takes(self, tp: TP) -> bool:
        """Whether records of ``tp`` are wanted now: it is neither paused nor moved, nor does a rebalance go on."""
        return self.flow_active and tp in self._get_active_partitions()

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Take no more of ``tps``. The client below need not fetch a changelog either.

        Faust does not tell it. It went on to fetch what we write to the changelog, which nobody took, and fetches
        nothing of a broker for 100 ms when it holds what nobody takes: hits stood still behind look-ups.

        At an assignment all is paused, for a moment: the client goes on. A fetch that it began without the changelog
        would be waited for, up to 1.5 s, before the table could come back.
        """
        tps = set(tps)
        super().pause_partitions(tps)
        if all(map(self._is_changelog_tp, tps)):
            self._thread.fetch(tps, wanted=False)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Take of ``tps`` again."""
        tps = set(tps)
        super().resume_partitions(tps)
        self._thread.fetch(filter(self._is_changelog_tp, tps), wanted=True)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Begin nothing more before the drain; what is under way still counts."""
        self.trackers.close()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin a generation with trackers of its own; they take nothing before the seek to the committed offsets."""
        self.trackers.renew((tp for tp in assigned if not self._is_changelog_tp(tp)), sought=False)
        self._thread.forget_fetches()
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Go back to the committed offsets; what was fetched from elsewhere is forgotten and fetched again."""
        async with self._moving:
            await super().perform_seek()
            self.trackers.restart()

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek where something is committed; where nothing is, to the beginning.

        aiokafka leaves a partition where it is when nothing, or 0, is committed: what was fetched already and is
        forgotten would not be fetched again.
        """
        committed: Mapping[TP, int] = await super().seek_to_committed()
        unmoved = [tp for tp, offset in committed.items() if not offset and not self._is_changelog_tp(tp)]
        if unmoved:
            try:
                await self._thread.seek_to_beginning(*unmoved)
            except IllegalStateError:
                log.info("a partition was taken away; its next owner begins where it must")
        return committed

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's
        async with self._moving:
            trackers = self.trackers.open()
            fetched = await super()._getmany(active_partitions, min(timeout, POLL))
            tracked = {
                tp: records if self._is_changelog_tp(tp) else self._track(trackers.get(tp), records)
                for tp, records in fetched.items()
            }
            for tp, position in fetched.reached.items():
                tracker = trackers.get(tp)
                if tracker is not None and not tracker.closed:
                    tracker.pass_over(position)
            return tracked

    def _track(self, tracker: Tracker | None, records: list[ConsumerRecord]) -> list[Batch]:
        if tracker is None or tracker.closed:
            return []  # fetched for a generation that is over: Faust seeks to the committed offsets in the next
        tracker.arrive(record.offset for record in records)
        return self._batches(tracker, records)

    def _batches(self, tracker: Tracker, records: list[ConsumerRecord]) -> list[Batch]:
        return [Batch(tracker, (record,)) for record in records]

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if isinstance(record, Batch):
            return message_of(tp, record, self.app.consumer_generation_id)
        return super()._to_message(tp, record)

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002
        """Commit what is finished now.

        While a commit is under way Faust starts no other: it waits for that one, which does not know what was finished
        after it began. The last commit of a worker that leaves, or that loses a partition, would be left out.
        """
        if self._commit_fut is not None:
            await asyncio.wait([self._commit_fut])
        committed: bool = await super().commit(topics, start_new_transaction)
        return committed

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002
        """Commit the watermarks that moved. ``topics`` is Faust's and not needed: the tracker knows."""
        del topics, start_new_transaction
        moved = {TP(*partition): offset for partition, offset in self.trackers.committable().items()}
        if not moved:
            return False
        committed: bool = await self._commit(moved)
        if committed:
            self.trackers.committed({(tp.topic, tp.partition): offset for tp, offset in moved.items()})
        return committed

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Keep no gaps: the tracker waits only for offsets that arrived."""


class TrackingTransport(Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with our consumer."""

    Consumer = TrackingConsumer
