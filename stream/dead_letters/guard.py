"""Stops the process when it would write too many dead letters. Settings and log lines call this the fuse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from stream import metrics
from stream.domain.dead_letter_limit import DlqLimit, DlqLimitState
from stream.domain.errors import DlqLimitError, GivenUpError, LeadRefusedError, PoisonError

CRM_ADVICE = "most likely C2S_BASE_URL is wrong: correct it, then run `python -m stream dlq redrive --stage crm`"
ADVICE = "see `python -m stream dlq list` and correct the cause, or raise FUSE_IN_A_ROW or FUSE_SHARE if there is none"


class DlqGuard:
    """The dead-letter limit of one process. The dead letter that exceeds it is not written; its record stays."""

    def __init__(self, limit: DlqLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = DlqLimitState(limit)
        self._clock = clock
        self._blown = asyncio.Event()
        self._valid_records = 0
        self._advice = ADVICE

    def record_valid(self) -> None:
        """Count a record that was understood. ``tally`` passes the count on."""
        self._valid_records += 1

    def tally(self) -> None:
        """Add the valid records since the last call to the limit's state. Call it often: the limit covers a minute."""
        if self._valid_records:
            self._state.record_valid(self._clock(), self._valid_records)
            self._valid_records = 0

    def written(self) -> None:
        """Count a write that the CRM accepted."""
        self._state.record_crm_write()

    def check(self, error: PoisonError) -> None:
        """Call before a dead letter is written. Raises DlqLimitError if there are too many."""
        if isinstance(error, GivenUpError):
            return  # the record was valid: an outage of a day is not the fault of a release
        self.tally()
        refused = isinstance(error, LeadRefusedError)
        if self._state.record_crm_refusal() if refused else self._state.record_invalid(self._clock()):
            self._advice = CRM_ADVICE if refused else self._advice
            metrics.FUSE_BLOWN.set(1)
            self._blown.set()
            raise self.error()

    def error(self) -> DlqLimitError:
        """The error that stops the process."""
        return DlqLimitError(f"the dead-letter fuse is blown: {self._state.exceeded}; {self._advice}")

    async def watch(self) -> None:
        """Wait until the limit is exceeded, then raise DlqLimitError."""
        await self._blown.wait()
        raise self.error()
