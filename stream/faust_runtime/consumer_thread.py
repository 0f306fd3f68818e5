"""The thread in which Faust runs the aiokafka consumer: fetches, commits, and what the client is told.

Invariants.

1. A commit that fails ends nothing: it only means that work is done twice.
2. Only committed records are read, and no empty fetch is held by the broker for longer than ``FETCH_MAX_WAIT_MS``.
3. A failure of the group coordinator is reported to the worker: Faust never asks for it.
4. What another thread asks for is done in this thread, in order.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Transport
from faust.types import TP

from stream.domain.errors import GroupError
from stream.kafka.clients import READ_COMMITTED, positions, positions_reached
from stream.kafka.open_transactions import OpenTransactions
from stream.logs import get_logger
from stream.logs.outages import AWAY_ERRORS, BROKER, broker_failed

if TYPE_CHECKING:
    from stream.faust_runtime.consumer import TrackingConsumer

log = get_logger(__name__)

COMMIT_TIMEOUT_S = 10.0  # a commit that takes longer is tried again at the next interval
FETCH_MAX_WAIT_MS = 100  # after a recovery the first webhook may wait as long
COORDINATOR_CHECK_S = 0.5  # between looks at the client's group coordinator


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
        if isinstance(error, AWAY_ERRORS):
            BROKER.missed(type(error).__name__)
        else:
            log.error("the consumer's thread has crashed", exc_info=error)

    async def _watch_coordinator(self) -> None:
        """Tell the worker why the group coordinator has failed.

        aiokafka's coordinator ends, or waits until somebody asks for its error, and Faust never asks: the member would
        send no heartbeat and get no partition until the watchdog acts.
        """
        while True:
            await asyncio.sleep(COORDINATOR_CHECK_S)
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
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS  # noqa: SLF001 - Faust has no setting for it
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
        self.open_transactions.observe(consumer, active_partitions)
        return Fetched(records, positions_reached(consumer, before, records))

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
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._ensure_consumer().commit(wanted)
        except CommitFailedError:
            log.info("commit refused: the group has rebalanced")
        except (KafkaError, IllegalStateError, TimeoutError, OSError) as error:
            broker_failed(log, "commit failed, will try again", error)
        else:
            return True
        return False
