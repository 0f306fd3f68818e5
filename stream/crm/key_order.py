"""Handles records one by one: records of one key in order, different keys concurrently."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from aiokafka import ConsumerRecord

from stream.domain.errors import TransientError
from stream.kafka.attempts import Attempts, Gate
from stream.kafka.consumer_loop import Fetched, RecordHandler, Work
from stream.kafka.record_identity import about
from stream.logs import get_logger

log = get_logger(__name__)

Handle = Callable[[ConsumerRecord], Awaitable[None]]


class KeyOrder(RecordHandler):
    """Calls ``handle`` for each record. A record that is retried delays the records of its key and no others."""

    def __init__(self, handle: Handle, *, concurrency: int, gate: Gate | None = None) -> None:
        """``concurrency``: how many records are handled at a time; reading stops while twice as many are in progress.

        ``gate`` is awaited before each attempt, see ``Attempts``.
        """
        self._handle = handle
        self._gate = gate
        self._slots = asyncio.Semaphore(concurrency)
        self._max_under_way = concurrency * 2
        self._last_of_key: dict[bytes, asyncio.Future[bool]] = {}

    def room(self, under_way: int) -> int:
        """Twice ``concurrency`` records, minus those in progress."""
        return self._max_under_way - under_way

    def start(self, fetched: Fetched, attempts: Attempts) -> list[Work]:
        """Take every record, each as its own ``Work``."""
        return [self._work(record, attempts) for records in fetched.values() for record in records]

    def _work(self, record: ConsumerRecord, attempts: Attempts) -> Work:
        """The ``Work`` of one record, which waits for the previous record of its key."""
        key = record.key or b""
        previous = self._last_of_key.get(key)
        completed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._last_of_key[key] = completed
        return Work((record,), partial(self._in_order, record, previous, completed, attempts))

    async def _in_order(
        self,
        record: ConsumerRecord,
        previous: asyncio.Future[bool] | None,
        completed: asyncio.Future[bool],
        attempts: Attempts,
    ) -> None:
        """Handle a record after its ``previous`` one; ``completed`` tells the next record whether it succeeded."""
        try:
            if previous is not None:
                await attempts.wait_idle(asyncio.wait({previous}))
                if not previous.result():
                    raise asyncio.CancelledError  # no record of a key is handled after one that was not completed
            await attempts.until_completed(
                partial(self._try, record, attempts),
                report=partial(_report, record),
                about=partial(about, record),
                gate=self._gate,
            )
            completed.set_result(True)
        finally:
            if not completed.done():
                completed.set_result(False)
            key = record.key or b""
            if self._last_of_key.get(key) is completed:
                del self._last_of_key[key]

    async def _try(self, record: ConsumerRecord, attempts: Attempts) -> None:
        async with self._slots:
            attempts.raise_if_stopping()  # a stop may have begun while this task waited for the slot
            await self._handle(record)


def _report(record: ConsumerRecord, error: TransientError, seconds: float) -> None:
    log.warning("attempt failed, will try again", reason=error.reason, seconds=seconds, **about(record))
