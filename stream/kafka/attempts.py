"""Repeats work until it succeeds, with growing pauses. Between two attempts nothing of the work is in progress.

A ``TransientError`` leads to another attempt, because nothing was carried out. Any other error stops the process,
because continuing would lose the record. A handler that must get past a record publishes a dead letter and returns.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from stream.domain.errors import CredentialsRefusedError, DatabaseUnavailableError, StopError, TransientError
from stream.logs import get_logger
from stream.logs.outages import DATABASE

log = get_logger(__name__)

RETRY_PAUSES_S = (0.2, 1.0, 5.0, 15.0)  # between attempts; the last pause is repeated
MAX_RETRY_AFTER_S = 300.0  # a longer Retry-After is cut to this: a waiting record holds up those behind it

Gate = Callable[[], Awaitable[None]]


class Attempts:
    """The attempts of one loop. It knows which tasks are idle between attempts, so that a stop can cancel them."""

    def __init__(self, stop: asyncio.Event) -> None:
        """``stop``: no attempt begins after it is set."""
        self._stop = stop
        self._idle_tasks: set[asyncio.Task[None]] = set()

    async def until_completed(
        self,
        attempt: Callable[[], Awaitable[None]],
        *,
        report: Callable[[TransientError, float], None],
        about: Callable[[], dict[str, str]] = dict,
        gate: Gate | None = None,
    ) -> None:
        """Call ``attempt`` until it returns. Raises StopError for an error that is not transient.

        ``report`` logs a failure and the seconds until the next attempt; it is not called while the database does not
        answer, because the outage log reports that. ``about`` returns the log fields of the work. ``gate`` is awaited
        before each attempt: it waits, and logs why, while a partner refuses every record.
        """
        for pause in itertools.chain(RETRY_PAUSES_S, itertools.repeat(RETRY_PAUSES_S[-1])):
            if gate is not None:
                await self.wait_idle(gate())
            self.raise_if_stopping()
            try:
                return await attempt()
            except TransientError as error:
                if isinstance(error, CredentialsRefusedError) and gate is not None:
                    continue
                seconds = min(error.retry_after or pause, MAX_RETRY_AFTER_S)
                if isinstance(error, DatabaseUnavailableError) and error.is_away:
                    DATABASE.missed(error.reason)
                else:
                    report(error, seconds)
                await self.wait_idle(asyncio.sleep(seconds))
            except StopError:
                raise
            except Exception as error:
                # An unforeseen error. Its text may hold a value of the record; the log masks that.
                log.exception("a record can't be handled", **about())
                raise StopError(f"a record can't be handled: {type(error).__name__}") from error
        return None

    def raise_if_stopping(self) -> None:
        """Raise CancelledError once the loop stops: an attempt that began now might be cancelled half-way."""
        if self._stop.is_set():
            raise asyncio.CancelledError

    async def wait_idle(self, wait: Awaitable[object]) -> None:
        """Await ``wait`` while the calling task does nothing else; ``cancel_idle`` may cancel the task here."""
        task = asyncio.current_task()
        assert task is not None
        self._idle_tasks.add(task)
        try:
            await wait
        finally:
            self._idle_tasks.discard(task)

    def cancel_idle(self) -> None:
        """Cancel the tasks that are idle: they have written nothing, and their records are read again."""
        for task in self._idle_tasks:
            task.cancel()
