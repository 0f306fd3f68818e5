"""The stream runtime without Faust: a plain aiokafka consumer, and a changelog that is read to its end.

Its size is the size of the exit (docs/adr/0018-what-it-would-take-to-leave-faust.md). It keeps the two protocols that
the worker and the pages ask for, ``stream.worker.lifecycle.StreamRuntime`` and ``stream.worker.health.Progress``.

Invariants.

1. A record is tracked when it is fetched: ``getmany`` returns it in this loop, and nothing runs in between.
2. Nothing of a generation is taken before the changelogs of its partitions are read to their ends: until then the
   partitions are paused. The reader polls all the same, since that alone tells why the coordinator has failed.
3. What no tracker takes is sought back to: it is read again, and nothing behind it is committed.
4. Only the completed prefix that the trackers know is committed. A commit that fails ends nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AsyncExitStack, suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from stream import topics
from stream.domain.errors import StopError
from stream.kafka.batches import Batch
from stream.kafka.clients import consumer_options, open_consumer, positions, positions_reached
from stream.kafka.header_names import tolerate_invalid_header_names
from stream.kafka.offset_tracker import Trackers
from stream.kafka.open_transactions import OpenTransactions
from stream.logs import get_logger
from stream.logs.outages import broker_failed
from stream.settings import Settings

log = get_logger(__name__)

COMMIT_INTERVAL_S = 1.0
POLL_TIMEOUT_MS = 200
MAX_POLL_RECORDS = 2_000
REBALANCE_TIMEOUT_MS = 60_000  # for who loses partitions to end what is under way


class PlainRuntime(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads ``webhooks`` for one agent, in the worker's group."""

    def __init__(self, settings: Settings) -> None:
        tolerate_invalid_header_names()
        self.trackers = Trackers()
        self.table: dict[bytes, bytes] = {}
        self._settings = settings
        self._stack = AsyncExitStack()
        self._open_transactions = OpenTransactions()
        self._is_joined = False  # the group has given an assignment, and takes none away
        self._committing = asyncio.Lock()
        self._generation = self._restored = 0
        self._is_stopping = False
        self._ended = asyncio.get_running_loop().create_future()

    def add_agent(self, run: Callable[[AsyncIterable[Batch]], Awaitable[None]]) -> None:
        """Give the batches of ``webhooks`` to ``run``."""
        self._run = run

    def on_revoked(self, handler: Callable[[], Awaitable[None]]) -> None:
        """Call ``handler`` when partitions are taken away, before another worker gets them."""
        self._revoked = handler

    def on_recovered(self, handler: Callable[[], None]) -> None:
        """Call ``handler`` after each assignment, when the table is back."""
        self._recovered = handler

    # The worker's life

    async def start(self) -> None:
        """Join the group and read."""
        name = self._settings.worker_instance_id
        options: dict[str, Any] = {"group_instance_id": name} if name else {}
        options["rebalance_timeout_ms"] = REBALANCE_TIMEOUT_MS
        opening = open_consumer(self._settings, None, topics.WORKER_GROUP, **options)
        self._consumer: AIOKafkaConsumer = await self._stack.enter_async_context(opening)
        self._consumer.subscribe([topics.WEBHOOKS.name], listener=self)
        for work in (self._run(self._batches()), self._commit_again_and_again()):
            task = asyncio.ensure_future(work)
            task.add_done_callback(self._note_end)
            self._stack.push_async_callback(_cancel, task)

    async def watch(self) -> None:
        """Wait until it can't go on; raises why."""
        reason = await asyncio.shield(self._ended)
        raise StopError(f"the reader has ended: {reason!r}")

    def stop_fetching(self) -> None:
        """Fetch nothing more, for good, whatever is assigned yet."""
        self._is_stopping = True
        if self._generation:  # else the group has given nothing yet
            self._consumer.pause(*self._consumer.assignment())

    async def stop(self) -> None:
        """Leave the group; what is not committed is read again."""
        await self._stack.aclose()

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not self._ended.done():
            self._ended.set_result(task.exception())

    # What the watchdog and the pages ask

    @property
    def is_rebalancing(self) -> bool:
        """Whether the group is being joined."""
        return not self._is_joined

    def join_progress(self) -> Hashable | None:
        """How far joining and recovering are; None when both are done."""
        return None if self._is_joined and self._restored == self._generation else (self._generation, len(self.table))

    def open_transaction_seconds(self) -> float:
        """For how long another producer's open transaction has held partitions back."""
        return self._open_transactions.seconds()

    # Assignments

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Begin nothing more, and let the worker end and commit what is under way. aiokafka goes on heart-beating."""
        self._is_joined = False
        self.trackers.revoke_all()
        if revoked:
            await self._revoked()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Begin a generation. aiokafka sends no heartbeat meanwhile, so the table is restored by the reader."""
        self.trackers.begin_generation([(tp.topic, tp.partition) for tp in assigned], positioned=False)
        self._consumer.pause(*assigned)
        self._generation += 1
        self._is_joined = True

    async def _restore(self) -> None:
        """Read the changelogs of the partitions that are assigned: webhooks of a partition use those entries only."""
        generation = self._generation
        self.table.clear()  # in the meantime another worker may have had what we have got back
        mine = [TopicPartition(topics.CHANGELOG.name, tp.partition) for tp in self._consumer.assignment()]
        if mine:
            await self._read_to_the_end(mine)
        if self._is_joined and generation == self._generation and not self._is_stopping:
            self.trackers.restart()
            self._consumer.resume(*self._consumer.assignment())
            self._restored = generation
            self._recovered()

    async def _read_to_the_end(self, mine: list[TopicPartition]) -> None:
        changelog = AIOKafkaConsumer(**consumer_options(self._settings), enable_auto_commit=False)
        await changelog.start()
        try:
            changelog.assign(mine)
            await changelog.seek_to_beginning(*mine)
            ends = await changelog.end_offsets(mine)
            while any([await changelog.position(tp) < end for tp, end in ends.items()]):
                for records in (await changelog.getmany(timeout_ms=POLL_TIMEOUT_MS)).values():
                    for record in records:
                        self._apply(record)
        finally:
            await changelog.stop()

    def _apply(self, record: ConsumerRecord) -> None:
        if record.value is None:
            self.table.pop(record.key, None)
        else:
            self.table[record.key] = record.value

    # Fetches and commits

    async def _batches(self) -> AsyncIterator[Batch]:
        while True:
            if self._is_joined and self._restored != self._generation and not self._is_stopping:
                await self._restore()
            before = positions(self._consumer)
            fetched = await self._consumer.getmany(timeout_ms=POLL_TIMEOUT_MS, max_records=MAX_POLL_RECORDS)
            batches = [batch for tp, records in fetched.items() if (batch := self._track(tp, records))]
            for tp, position in positions_reached(self._consumer, before, fetched).items():
                tracker = self.trackers.of((tp.topic, tp.partition))
                if tracker is not None:
                    tracker.advance_to(position)
            self._open_transactions.observe(self._consumer, self._consumer.assignment())
            for batch in batches:
                yield batch

    def _track(self, tp: TopicPartition, records: list[ConsumerRecord]) -> Batch | None:
        tracker = self.trackers.of((tp.topic, tp.partition))
        if tracker is None:
            with suppress(IllegalStateError):  # it is not ours any more
                self._consumer.seek(tp, records[0].offset)
            return None
        tracker.track(record.offset for record in records)
        return Batch(tracker, records)

    async def _commit_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_INTERVAL_S)
            await self.commit()

    async def commit(self) -> None:
        """Commit the completed prefix of each partition."""
        async with self._committing:
            moved = {TopicPartition(*at): offset for at, offset in self.trackers.committable().items()}
            offsets = {tp: offset for tp, offset in moved.items() if tp in self._consumer.assignment()}
            if not offsets:
                return
            try:
                await self._consumer.commit(offsets)
            except (KafkaError, IllegalStateError, OSError) as error:
                broker_failed(log, "commit failed, will try again", error)
            else:
                self.trackers.committed({(tp.topic, tp.partition): offset for tp, offset in offsets.items()})


async def _cancel(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
