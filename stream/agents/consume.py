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

from stream.agents.about import about
from stream.domain.errors import CredentialsRefusedError, DatabaseUnavailableError, StopError, TransientError
from stream.engine.probe import Probe
from stream.engine.tracker import Trackers
from stream.kafka import positions, reached
from stream.logs import get_logger
from stream.outages import DATABASE, broker_failed

log = get_logger(__name__)

COMMIT_EVERY = 1.0  # seconds
LONGEST_OBEDIENCE = 300.0  # seconds; a Retry-After beyond that is not waited for: nothing else would be read meanwhile
PAUSES = (0.2, 1.0, 5.0, 15.0)  # seconds between tries; the last one is repeated
POLL = 500  # ms
STOP_LIMIT = 20.0  # seconds for what is under way when the process is to leave
COMMIT_LIMIT = 5.0  # seconds

Handler = Callable[[ConsumerRecord], Awaitable[None]]
Gate = Callable[[], Awaitable[None]]


class Consuming(ConsumerRebalanceListener):  # type: ignore[misc]
    """Runs a handler over a topic."""

    def __init__(
        self, consumer: AIOKafkaConsumer, topic: str, handler: Handler, *, at_once: int, gate: Gate | None = None
    ) -> None:
        """``at_once``: records handled side by side; reading stops while twice as many wait.

        ``gate`` is waited for before each try; it holds back what a partner refuses for all records, and says so.
        """
        self._consumer = consumer
        self._gate = gate
        self._handler = handler
        self._trackers = Trackers()
        self._slots = asyncio.Semaphore(at_once)
        self._most = at_once * 2
        self._last: dict[bytes, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._resting: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        consumer.subscribe([topic], listener=self)

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        """Commit what is finished before the partitions go."""
        if revoked:
            await self._commit()

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Begin a generation."""
        self._trackers.renew({(one.topic, one.partition) for one in assigned})

    async def run(self, stop: asyncio.Event) -> None:
        """Read until ``stop``; then end what is under way and commit. Raises StopError where a handler gave up."""
        self._stop = stop
        committer = asyncio.create_task(self._commit_for_ever())
        probe = asyncio.create_task(Probe("the broker").run(self._consumer.topics))
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                await self._turn(stopped)
                ended = next((task for task in (committer, probe) if task.done()), None)
                if ended is not None:
                    raise StopError(f"a loop that must not end has ended: {ended.exception()!r}")
        finally:
            stop.set()  # also where a handler gave up: nothing more begins
            committer.cancel()
            probe.cancel()
            stopped.cancel()
            await self._end()
            await self._commit()

    async def _turn(self, stopped: asyncio.Task[bool]) -> None:
        room = self._most - len(self._tasks)
        if room > 0:
            before = positions(self._consumer)
            batches = await self._consumer.getmany(timeout_ms=POLL, max_records=room)
            for record in itertools.chain.from_iterable(batches.values()):
                self._begin(record)
            self._pass_over(reached(self._consumer, before, batches))
        else:
            await asyncio.wait({*self._tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
        self._collect()

    def _pass_over(self, reached: dict[TopicPartition, int]) -> None:
        """What was read and is no record need not be waited for."""
        for partition, position in reached.items():
            tracker = self._trackers.of((partition.topic, partition.partition))
            if tracker is not None:
                tracker.pass_over(position)

    def _collect(self) -> None:
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None:
                raise error

    async def _end(self) -> None:
        """Give what is under way its time; what rests between two tries has written nothing and comes again."""
        limit = asyncio.get_running_loop().time() + STOP_LIMIT
        while self._tasks and (left := limit - asyncio.get_running_loop().time()) > 0:
            for task in self._resting:
                task.cancel()
            _, self._tasks = await asyncio.wait(self._tasks, timeout=min(left, 0.2))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, record: ConsumerRecord) -> None:
        tracker = self._trackers.of((record.topic, record.partition))
        if tracker is None:
            return  # the partition was taken away while it was fetched; its next owner reads it
        tracker.arrive([record.offset])
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
            await self._rest(asyncio.wait({before}))
            if before.cancelled() or before.exception() is not None:
                raise asyncio.CancelledError  # nothing of a key is handled after what was not ended
        for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
            if self._gate is not None:
                await self._rest(self._gate())
            try:
                return await self._try(record)
            except TransientError as error:
                if isinstance(error, CredentialsRefusedError) and self._gate is not None:
                    continue
                seconds = min(error.retry_after or pause, LONGEST_OBEDIENCE)
                if isinstance(error, DatabaseUnavailableError) and error.is_away:
                    DATABASE.missed(error.reason)
                else:
                    log.warning("will try again", reason=error.reason, seconds=seconds, **about(record))
                await self._rest(asyncio.sleep(seconds))
            except StopError:
                raise
            except Exception as error:
                # Nobody foresaw it. Its text may hold what it stumbled over; the log masks that.
                log.exception("a record can't be ended", **about(record))
                raise StopError(f"a record can't be ended: {type(error).__name__}") from error
        return None

    async def _try(self, record: ConsumerRecord) -> None:
        async with self._slots:
            if self._stop.is_set():
                raise asyncio.CancelledError  # begun now, it might be cut before its end; so it comes again
            await self._handler(record)

    async def _rest(self, wait: Awaitable[object]) -> None:
        """Wait where nothing is under way."""
        task = asyncio.current_task()
        assert task is not None
        self._resting.add(task)
        try:
            await wait
        finally:
            self._resting.discard(task)

    async def _commit_for_ever(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY)
            await self._commit()

    async def _commit(self) -> None:
        due = self._trackers.committable()
        if not due:
            return
        try:
            async with asyncio.timeout(COMMIT_LIMIT):  # aiokafka itself asks a broker that is away for ever
                await self._consumer.commit({TopicPartition(*partition): offset for partition, offset in due.items()})
        except (CommitFailedError, IllegalStateError):
            log.info("commit refused: the group has rebalanced")
        except (KafkaError, OSError) as error:
            broker_failed(log, "commit failed, will try again", error)
        else:
            self._trackers.committed(due)
