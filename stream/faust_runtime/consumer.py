"""The consumer that replaces Faust's offset tracking and its fetch loop (docs/adr/0002, 0007).

Invariants. Code that changes one of them lives here, in ``consumer_thread`` or in ``kafka.offset_tracker``.

Rule 1: a record of ``webhooks`` is tracked when it is fetched, before Faust can drop it.
Rule 2: no fetch spans a seek. ``_position_lock`` is held during both.
Rule 3: a record keeps the tracker of its generation, so it never counts for the next one.
Rule 4: only the completed prefix of each partition is committed, whatever Faust believes to be acknowledged.
Rule 5: a batch is handed to the agent when the agent is done with the one before it: that is the back-pressure.

The versions of Faust and aiokafka are pinned. ``tests/unit/test_faust_pin.py`` checks the parts of them used here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.errors import IllegalStateError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP

from stream.domain.errors import GroupError
from stream.faust_runtime.batch import message_of
from stream.faust_runtime.changelog import apply_changes
from stream.faust_runtime.consumer_thread import TrackingConsumerThread
from stream.kafka.batches import Batch
from stream.kafka.offset_tracker import Tracker, Trackers
from stream.kafka.open_transactions import OpenTransactions
from stream.logs import get_logger

log = get_logger(__name__)

POLL_TIMEOUT_S = 0.2  # a seek waits for a running fetch
IDLE_POLL_S = 0.05  # while no partition may be read


class TrackingConsumer(Consumer):  # type: ignore[misc]
    """Fetches batches for the agent and commits what it has completed."""

    trackers: Trackers

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.trackers = Trackers()
        self._position_lock = asyncio.Lock()
        self._failed = asyncio.Event()
        self._failure: GroupError | None = None
        super().__init__(*args, **kwargs)

    @property
    def open_transactions(self) -> OpenTransactions:
        """For how long open transactions of other producers have held partitions back."""
        thread: TrackingConsumerThread = self._thread
        return thread.open_transactions

    # Membership

    def fail(self, failure: GroupError) -> None:
        """Record why the worker can't be a member of its group."""
        self._failure = failure
        self._failed.set()

    async def watch_membership(self) -> None:
        """Wait until the worker can't be a member of its group any more. Then raise GroupError."""
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Start no further records before the drain. Records under way may still be completed."""
        self.trackers.revoke_all()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Start a generation with new trackers. They accept nothing before the seek to the committed offsets."""
        self.trackers.begin_generation((tp for tp in assigned if not self._is_changelog_tp(tp)), positioned=False)
        self._thread.forget_fetches()
        await super().on_partitions_assigned(assigned, generation_id)

    # Which partitions are fetched

    def wants(self, tp: TP) -> bool:
        """Whether ``tp`` is to be fetched now: it is active and not paused, and no rebalance is going on."""
        return self.flow_active and tp in self._get_active_partitions()

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Pause ``tps``, and if all of them are changelogs, pause them in the client too.

        Faust does not pause the client, so it kept fetching unread changelog records and stalled other partitions of
        the same broker for up to 100 ms.

        At an assignment Faust pauses all partitions for a moment. The client is not paused then: recovery would have
        to wait up to 1.5 s for a fetch that was started without the changelog.
        """
        tps = set(tps)
        super().pause_partitions(tps)
        if all(map(self._is_changelog_tp, tps)):
            self._thread.set_fetching(tps, wanted=False)

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Resume ``tps``, and the changelogs among them in the client too."""
        tps = set(tps)
        super().resume_partitions(tps)
        self._thread.set_fetching(filter(self._is_changelog_tp, tps), wanted=True)

    # Seeks

    async def perform_seek(self) -> None:
        """Seek to the committed offsets. What was fetched before is dropped and fetched again."""
        async with self._position_lock:
            await super().perform_seek()
            self.trackers.restart()

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek each partition to its committed offset, or to the beginning if none is committed.

        aiokafka does not move a partition whose committed offset is missing or 0, so dropped records would not be
        fetched again.
        """
        committed: Mapping[TP, int] = await super().seek_to_committed()
        unmoved = [tp for tp, offset in committed.items() if not offset and not self._is_changelog_tp(tp)]
        if unmoved:
            try:
                await self._thread.seek_to_beginning(*unmoved)
            except IllegalStateError:
                log.info("partition revoked during a seek; its next owner starts at the committed offset")
        return committed

    # Fetches

    async def _drain_messages(self, fetcher: Any) -> None:
        """Fetch until stopped. Replaces Faust's loop, which creates four tasks for each record."""
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001 - as Faust's does
                await self._fetch_once()
        except (asyncio.CancelledError, *self.consumer_stopped_errors):
            if not self.app.should_stop:
                raise

    async def _fetch_once(self) -> None:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        active = self._get_active_partitions()
        if not active:
            await asyncio.sleep(IDLE_POLL_S)
            return
        fetched = await self._getmany(active, POLL_TIMEOUT_S)
        if fetched:
            # A rebalance suspends the flow. Records that the agent did not get by then are fetched again.
            await self.wait_first(self._deliver(fetched), self.suspend_flow.wait())
        await asyncio.sleep(0)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's
        """Return for each partition one batch of ``webhooks``, or the records of a changelog."""
        async with self._position_lock:
            trackers = self.trackers.active()
            fetched = await super()._getmany(active_partitions, min(timeout, POLL_TIMEOUT_S))
            tracked = {
                tp: records if self._is_changelog_tp(tp) else self._track(trackers.get(tp), records)
                for tp, records in fetched.items()
            }
            for tp, position in fetched.reached.items():
                tracker = trackers.get(tp)
                if tracker is not None and not tracker.revoked:
                    tracker.advance_to(position)
            return tracked

    @staticmethod
    def _track(tracker: Tracker | None, records: list[ConsumerRecord]) -> Batch | None:
        if tracker is None or tracker.revoked:
            return None  # fetched in an old generation: Faust seeks to the committed offsets in the new one
        tracker.track(record.offset for record in records)
        return Batch(tracker, records)

    async def _deliver(self, fetched: dict[TP, Batch | list[ConsumerRecord] | None]) -> None:
        for tp, records in fetched.items():
            if isinstance(records, Batch):
                await self.callback(message_of(tp, records, self.app.consumer_generation_id))
                await records.dispatched.wait()
            elif records:
                await apply_changes(self, tp, records)

    # Commits

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002
        """Commit what is completed now.

        While a commit runs, Faust waits for it and starts no other, so offsets completed meanwhile would not be
        committed. A worker that stops or loses a partition has no later commit.
        """
        if self._commit_fut is not None:
            await asyncio.wait([self._commit_fut])
        committed: bool = await super().commit(topics, start_new_transaction)
        return committed

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002
        """Commit the watermarks that moved, of all topics: the trackers know them."""
        del topics, start_new_transaction
        moved = {TP(*partition): offset for partition, offset in self.trackers.committable().items()}
        if not moved:
            return False
        committed: bool = await self._commit(moved)
        if committed:
            self.trackers.committed({(tp.topic, tp.partition): offset for tp, offset in moved.items()})
        return committed

    # Faust's extension points

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return TrackingConsumerThread(self, loop=self.loop, beacon=self.beacon)


class TrackingTransport(Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with our consumer."""

    Consumer = TrackingConsumer
