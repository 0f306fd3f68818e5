"""The consumer that replaces Faust's offset bookkeeping and its fetch loop (docs/adr/0002, 0007).

Invariants. Whatever changes one of them lives here, in ``consumer_thread`` or in ``kafka.offset_tracker``.

1. A record of ``webhooks`` is tracked when it is fetched, before anything of Faust may drop it.
2. No fetch spans a seek: ``_moving`` is held around both.
3. A record travels with the tracker of its generation, so it is never taken for one of the next.
4. Only the completed prefix of each partition is committed, whatever Faust believes to be acknowledged.
5. A batch is handed on when the agent has taken the one before it: that is the back-pressure.

The versions of Faust and aiokafka are pinned; ``tests/unit/test_faust_pin.py`` holds the parts that are used.
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

POLL_TIMEOUT_S = 0.2  # a seek waits for the fetch that is under way
IDLE_POLL_S = 0.05  # between looks while no partition may be read


class TrackingConsumer(Consumer):  # type: ignore[misc]
    """Fetches batches for the agent and commits what it has completed."""

    trackers: Trackers

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.trackers = Trackers()
        self._moving = asyncio.Lock()
        self._failed = asyncio.Event()
        self._failure: GroupError | None = None
        super().__init__(*args, **kwargs)

    @property
    def open_transactions(self) -> OpenTransactions:
        """For how long partitions have been held back."""
        thread: TrackingConsumerThread = self._thread
        return thread.open_transactions

    # Membership

    def fail(self, failure: GroupError) -> None:
        """Note why the worker can't be a member of its group."""
        self._failure = failure
        self._failed.set()

    async def watch_membership(self) -> None:
        """Wait until the worker can't be a member of its group any more; raises GroupError then."""
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Begin nothing more before the drain; what is under way still counts."""
        self.trackers.revoke_all()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin a generation with trackers of its own; they take nothing before the seek to the committed offsets."""
        self.trackers.begin_generation((tp for tp in assigned if not self._is_changelog_tp(tp)), positioned=False)
        self._thread.forget_fetches()
        await super().on_partitions_assigned(assigned, generation_id)

    # Which partitions are fetched

    def takes(self, tp: TP) -> bool:
        """Whether records of ``tp`` are wanted now: it is neither paused nor moved, nor does a rebalance go on."""
        return self.flow_active and tp in self._get_active_partitions()

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Take no more of ``tps``. The client below need not fetch a changelog either.

        Faust does not pause the client, so it kept fetching unread changelog records and stalled other partitions of
        the same broker for up to 100 ms: hits stood still behind look-ups.

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

    # Seeks

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

    # Fetches

    async def _drain_messages(self, fetcher: Any) -> None:
        """Fetch until stopped, in place of Faust's loop, which makes four tasks for each record."""
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
            # A rebalance suspends the flow: what has not been handed over by then is fetched again.
            await self.wait_first(self._deliver(fetched), self.suspend_flow.wait())
        await asyncio.sleep(0)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's
        """By partition: one batch of ``webhooks``, or the records of a changelog."""
        async with self._moving:
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
            return None  # fetched for a generation that is over: Faust seeks to the committed offsets in the next
        tracker.track(record.offset for record in records)
        return Batch(tracker, records)

    async def _deliver(self, fetched: dict[TP, Batch | list[ConsumerRecord] | None]) -> None:
        for tp, found in fetched.items():
            if isinstance(found, Batch):
                await self.callback(message_of(tp, found, self.app.consumer_generation_id))
                await found.dispatched.wait()
            elif found:
                await apply_changes(self, tp, found)

    # Commits

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: FBT001, FBT002
        """Commit what is completed now.

        While a commit is under way Faust starts no other: it waits for that one, which does not know what was completed
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

    # What Faust asks of a consumer of its own

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return TrackingConsumerThread(self, loop=self.loop, beacon=self.beacon)


class TrackingTransport(Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with our consumer."""

    Consumer = TrackingConsumer
