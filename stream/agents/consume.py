"""A plain consumer loop: records of one key in order, keys side by side, commits of the finished prefix.

The handler must end every record: what it raises as TransientError is tried again, with growing pauses, while
the record's key waits; anything else stops the process, since going on would lose the record.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from stream.domain.errors import TransientError
from stream.engine.tracker import Trackers
from stream.logs import get_logger

log = get_logger(__name__)

COMMIT_EVERY = 1.0  # seconds
PAUSES = (0.2, 1.0, 5.0, 15.0)  # seconds between tries; the last one is repeated
POLL = 500  # ms

Handler = Callable[[ConsumerRecord], Awaitable[None]]


class Consuming(ConsumerRebalanceListener):  # type: ignore[misc]
    """Runs a handler over a topic."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, handler: Handler, *, at_once: int) -> None:
        """``at_once``: records handled side by side; reading stops while twice as many wait."""
        self._consumer = consumer
        self._handler = handler
        self._trackers = Trackers()
        self._slots = asyncio.Semaphore(at_once)
        self._most = at_once * 2
        self._last: dict[bytes, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        consumer.subscribe([topic], listener=self)

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        """Commit what is finished before the partitions go."""
        if revoked:
            await self._commit()

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Begin a generation."""
        self._trackers.renew({(one.topic, one.partition) for one in assigned})

    async def run(self, stop: asyncio.Event) -> None:
        """Read until ``stop``; then end what is under way and commit. Raises what a handler could not end."""
        committer = asyncio.create_task(self._commit_for_ever())
        try:
            while not stop.is_set():
                await self._turn()
        finally:
            committer.cancel()
            await asyncio.wait(self._tasks, timeout=20) if self._tasks else None
            await self._commit()

    async def _turn(self) -> None:
        for batch in (await self._consumer.getmany(timeout_ms=POLL, max_records=self._most)).values():
            for record in batch:
                self._begin(record)
        while len(self._tasks) >= self._most:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            task.result()  # what no handler foresaw ends the process

    def _begin(self, record: ConsumerRecord) -> None:
        tracker = self._trackers.of((record.topic, record.partition))
        tracker.start(record.offset)
        key = record.key or b""
        before = self._last.get(key)
        task = asyncio.create_task(self._handle(record, before))
        self._last[key] = task
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            if self._last.get(key) is task:
                del self._last[key]
            if not task.cancelled() and task.exception() is None:
                tracker.finish(record.offset)

        task.add_done_callback(done)

    async def _handle(self, record: ConsumerRecord, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
            try:
                async with self._slots:
                    return await self._handler(record)
            except TransientError as error:
                seconds = error.retry_after or pause
                log.warning("will try again", reason=error.reason, seconds=seconds)
                await asyncio.sleep(seconds)
        return None

    async def _commit_for_ever(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY)
            await self._commit()

    async def _commit(self) -> None:
        moved = self._trackers.committable()
        if not moved:
            return
        try:
            await self._consumer.commit({TopicPartition(*partition): offset for partition, offset in moved.items()})
        except (CommitFailedError, IllegalStateError):
            log.info("commit refused: the group has rebalanced")
        except KafkaError as error:
            log.warning("commit failed, will try again", error=type(error).__name__)
        else:
            self._trackers.committed(moved)
