"""Tries work until it is completed, with growing pauses. Between two tries nothing of the work is under way.

What is tried again, and what is not: a ``TransientError`` is, since nothing was carried out; any other error stops the
process, since going on would lose the record. A handler that wants a record out of the way publishes a dead letter and
returns.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from stream.domain.errors import CredentialsRefusedError, DatabaseUnavailableError, StopError, TransientError
from stream.logs import get_logger
from stream.logs.outages import DATABASE

log = get_logger(__name__)

RETRY_PAUSES_S = (0.2, 1.0, 5.0, 15.0)  # seconds between tries; the last one is repeated
MAX_RETRY_AFTER_S = 300.0  # a Retry-After beyond that is not waited for: nothing else would be read meanwhile

Gate = Callable[[], Awaitable[None]]


class Attempts:
    """The tries of one loop's work; knows which work rests, so that a stop need not wait for it."""

    def __init__(self, stop: asyncio.Event) -> None:
        """``stop``: once it is set no try begins."""
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
        """Call ``attempt`` until it returns. Raises StopError for what must not be tried again.

        ``report`` logs a failure and the seconds until the next try; a database that is away is reported already.
        ``about``: log fields of the work. ``gate`` is waited for before each try; it holds back what a partner refuses
        for all records, and reports that.
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
                # Nobody foresaw it. Its text may hold what it stumbled over; the log masks that.
                log.exception("a record can't be ended", **about())
                raise StopError(f"a record can't be ended: {type(error).__name__}") from error
        return None

    def raise_if_stopping(self) -> None:
        """Raise CancelledError once the loop stops: a try that began now might be cut before its end."""
        if self._stop.is_set():
            raise asyncio.CancelledError

    async def wait_idle(self, wait: Awaitable[object]) -> None:
        """Wait where nothing is under way: a stop cancels the calling task here at once."""
        task = asyncio.current_task()
        assert task is not None
        self._idle_tasks.add(task)
        try:
            await wait
        finally:
            self._idle_tasks.discard(task)

    def cancel_idle(self) -> None:
        """Cancel the work that rests: it has written nothing, and its records come again."""
        for task in self._idle_tasks:
            task.cancel()
