"""The thread in which Faust runs the aiokafka consumer: it fetches, commits and controls the client.

Rule 1: a commit that fails does not stop the worker. It only means that work may be done twice.
Rule 2: only committed records are read, and the broker holds an empty fetch for ``FETCH_MAX_WAIT_MS`` at most.
Rule 3: a failure of the group coordinator is reported to the worker, because Faust never asks for it.
Rule 4: requests of other threads are executed in this thread, in order.
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

COMMIT_TIMEOUT_S = 10.0  # a commit that takes longer is retried at the next interval
FETCH_MAX_WAIT_MS = 100  # after a recovery the first webhook may wait for one fetch
COORDINATOR_CHECK_S = 0.5


class Fetched(dict[TP, list[ConsumerRecord]]):
    """The records of one fetch. ``reached``: the consumer's new positions, also where a fetch only skipped offsets."""

    def __init__(self, records: Mapping[TP, list[ConsumerRecord]], reached: Mapping[TP, int]) -> None:
        super().__init__(records)
        self.reached = reached


class TrackingConsumerThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's consumer thread, changed by the rules of this module."""

    consumer: TrackingConsumer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._fetching_since: dict[TP, float] = {}  # epoch seconds, as the client dates its fetches
        self._coordinator_watch: asyncio.Task[None] | None = None
        super().__init__(*args, **kwargs)
        self.open_transactions = OpenTransactions()

    async def on_start(self) -> None:
        """Start the client, and watch its group coordinator."""
        await super().on_start()
        self._coordinator_watch = asyncio.create_task(self._watch_coordinator())

    async def on_thread_stop(self) -> None:
        """Stop the client."""
        if self._coordinator_watch is not None:
            self._coordinator_watch.cancel()
        await super().on_thread_stop()

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Log a crash of the thread. Faust would print its traceback past the log."""
        del msg, fmt, kwargs
        error = sys.exc_info()[1]
        if isinstance(error, AWAY_ERRORS):
            BROKER.missed(type(error).__name__)
        else:
            log.error("consumer thread crashed", exc_info=error)

    async def _watch_coordinator(self) -> None:
        """Report to the worker why the group coordinator has failed.

        aiokafka's coordinator ends, or waits until its error is asked for, and Faust never asks. The member would send
        no heartbeat and get no partition until the watchdog acts.
        """
        while True:
            await asyncio.sleep(COORDINATOR_CHECK_S)
            coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001 - aiokafka has no public access
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
        """Restart the fetch check after an assignment: the client has forgotten its earlier fetches."""
        self._fetching_since.clear()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's check that ``tp`` is fetched, limited to partitions that are to be fetched, from when they are.

        Faust calls it for every partition, counts from the start of the worker, and subtracts the client's epoch
        seconds from its own monotonic ones. So it never reported a partition that stood still, and always reported one
        that is not fetched on purpose: the changelog after recovery, or a paused partition.
        """
        del now
        paused = self._ensure_consumer().paused()
        if not self.consumer.wants(tp) or TopicPartition(tp.topic, tp.partition) in paused:
            self._fetching_since.pop(tp, None)
            return
        epoch = time.time()
        since = self._fetching_since.setdefault(tp, epoch)
        if epoch - since >= self.tp_fetch_request_timeout_secs:
            self.time_started = since
            super().verify_event_path(epoch, tp)

    def _create_worker_consumer(self, transport: Transport) -> AIOKafkaConsumer:
        """Create Faust's client, but let it read committed records only, and shorten its fetches.

        By default the broker holds an empty fetch for 1.5 s, and a seek waits for a running fetch.
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

    def set_fetching(self, partitions: Iterable[TP], *, wanted: bool) -> None:
        """Start or stop to fetch ``partitions``. Called in another thread, executed in this one, in order."""
        with suppress(RuntimeError):  # the loop of the thread has ended: nothing is fetched any more
            self.thread_loop.call_soon_threadsafe(self._set_fetching, frozenset(partitions), wanted)

    def _set_fetching(self, partitions: frozenset[TP], wanted: bool) -> None:  # noqa: FBT001 - call_soon passes by position
        consumer = self._consumer
        assigned = consumer.assignment() if consumer is not None else ()
        affected = [partition for partition in assigned if partition in partitions]
        if affected:
            (consumer.resume if wanted else consumer.pause)(*affected)

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
