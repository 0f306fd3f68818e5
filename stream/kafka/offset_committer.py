"""Commits the completed records of a consumer, soon after their completion, and nothing else."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from stream.kafka.offset_tracker import Trackers
from stream.logs import get_logger
from stream.logs.outages import broker_failed

log = get_logger(__name__)

COMMIT_TIMEOUT_S = 5.0  # aiokafka itself retries forever while the broker is away
RETRY_PAUSE_S = 0.2  # after a commit that failed


class OffsetCommitter:
    """Commits the watermarks of partitions in which a record was completed since their last commit."""

    def __init__(
        self, consumer: AIOKafkaConsumer, trackers: Trackers, *, interval_s: float, failed: str, refused: str
    ) -> None:
        """``interval_s``: from a completion to its commit. ``failed``, ``refused``: the log events of a commit."""
        self._consumer = consumer
        self._trackers = trackers
        self._interval_s = interval_s
        self._failed = failed
        self._refused = refused
        self._uncommitted: set[tuple[str, int]] = set()
        self._due = asyncio.Event()

    def mark_completed(self, partition: tuple[str, int]) -> None:
        """Record that something in ``partition`` is completed and must be committed."""
        self._uncommitted.add(partition)
        self._due.set()

    def begin_generation(self) -> None:
        """Forget uncommitted completions after a rebalance: the partitions' owners read those records again."""
        self._uncommitted.clear()

    async def commit_for_ever(self) -> None:
        """Commit completed records until cancelled."""
        while True:
            await self._due.wait()
            await asyncio.sleep(self._interval_s)
            self._due.clear()
            if not await self.commit():
                self._due.set()
                await asyncio.sleep(RETRY_PAUSE_S)

    async def commit(self) -> bool:
        """Commit the completed records. Returns False if the commit failed and may be repeated."""
        moved = self._trackers.committable()
        due = {partition: offset for partition, offset in moved.items() if partition in self._uncommitted}
        if not due:
            return True
        self._uncommitted -= due.keys()  # before the request: a completion during it needs another commit
        is_acknowledged = False
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._consumer.commit({TopicPartition(*partition): offset for partition, offset in due.items()})
            is_acknowledged = True
            self._trackers.committed(due)
        except (CommitFailedError, IllegalStateError):
            log.info(self._refused)
        except (KafkaError, OSError) as error:
            broker_failed(log, self._failed, error)
            return False
        finally:
            if not is_acknowledged:  # also if a stop cancels the request: the last commit must include it
                self._uncommitted |= due.keys()
        return True
