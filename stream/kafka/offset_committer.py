"""Commits what a consumer's handler has completed, soon after it was completed, and nothing else."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from stream.kafka.offset_tracker import Trackers
from stream.logs import get_logger
from stream.logs.outages import broker_failed

log = get_logger(__name__)

COMMIT_TIMEOUT_S = 5.0  # aiokafka itself asks a broker that is away for ever
RETRY_PAUSE_S = 0.2  # after a commit that the broker did not carry out


class OffsetCommitter:
    """Commits the watermarks of the partitions of which something was completed since their last commit."""

    def __init__(
        self, consumer: AIOKafkaConsumer, trackers: Trackers, *, interval_s: float, failed: str, refused: str
    ) -> None:
        """``every``: seconds from a completion to its commit. ``failed``, ``refused``: the lines of the log."""
        self._consumer = consumer
        self._trackers = trackers
        self._interval_s = interval_s
        self._failed = failed
        self._refused = refused
        self._uncommitted: set[tuple[str, int]] = set()
        self._due = asyncio.Event()

    def mark_completed(self, partition: tuple[str, int]) -> None:
        """Something of a partition was completed: commit it soon."""
        self._uncommitted.add(partition)
        self._due.set()

    def begin_generation(self) -> None:
        """The group has rebalanced: what was not committed is read again by whoever has it."""
        self._uncommitted.clear()

    async def commit_for_ever(self) -> None:
        """Commit whatever is completed."""
        while True:
            await self._due.wait()
            await asyncio.sleep(self._interval_s)
            self._due.clear()
            if not await self.commit():
                self._due.set()
                await asyncio.sleep(RETRY_PAUSE_S)

    async def commit(self) -> bool:
        """Commit what is completed. False when the broker did not carry it out and may be asked again."""
        moved = self._trackers.committable()
        due = {partition: offset for partition, offset in moved.items() if partition in self._uncommitted}
        if not due:
            return True
        self._uncommitted -= due.keys()  # before the broker is asked: what is completed meanwhile is due again
        is_carried_out = False
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._consumer.commit({TopicPartition(*partition): offset for partition, offset in due.items()})
            is_carried_out = True
            self._trackers.committed(due)
        except (CommitFailedError, IllegalStateError):
            log.info(self._refused)
        except (KafkaError, OSError) as error:
            broker_failed(log, self._failed, error)
            return False
        finally:
            if not is_carried_out:  # also where a stop cuts it: the last commit must have it
                self._uncommitted |= due.keys()
        return True
