"""Holds dead letters back, and the process with them, once the fuse is blown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from stream import metrics
from stream.domain.dead_letter_limit import DlqLimit, DlqLimitState
from stream.domain.errors import DlqLimitError, GivenUpError, LeadRefusedError, PoisonError

CRM_ADVICE = (
    "most likely C2S_BASE_URL is wrong: mend it, then redrive them with `python -m stream dlq redrive --stage crm`"
)
ADVICE = (
    "look with `python -m stream dlq list`, mend it, or raise FUSE_IN_A_ROW or FUSE_SHARE where it is as it should be"
)


class DlqGuard:
    """The fuse of one process. The letter that blows it is not written: its record stays unfinished."""

    def __init__(self, limit: DlqLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = DlqLimitState(limit)
        self._clock = clock
        self._blown = asyncio.Event()
        self._valid_records = 0
        self._advice = ADVICE

    def record_valid(self) -> None:
        """A record was understood. Counted with the others of its turn: see ``tally``."""
        self._valid_records += 1

    def tally(self) -> None:
        """Tell the fuse what was understood since the last time; before long, since the fuse looks at a minute."""
        if self._valid_records:
            self._state.record_valid(self._clock(), self._valid_records)
            self._valid_records = 0

    def written(self) -> None:
        """The CRM took a write."""
        self._state.written()

    def check(self, error: PoisonError) -> None:
        """Raise DlqLimitError instead of letting a letter be written, once there are too many."""
        if isinstance(error, GivenUpError):
            return  # it was understood, and an outage of a day is no bad release
        self.tally()
        refused = isinstance(error, LeadRefusedError)
        if self._state.refused() if refused else self._state.record_invalid(self._clock()):
            self._advice = CRM_ADVICE if refused else self._advice
            metrics.FUSE_BLOWN.set(1)
            self._blown.set()
            raise self.error()

    def error(self) -> DlqLimitError:
        """Why the process leaves."""
        return DlqLimitError(f"the dead-letter fuse is blown: {self._state.exceeded}; {self._advice}")

    async def watch(self) -> None:
        """Wait until the fuse is blown; raises DlqLimitError then."""
        await self._blown.wait()
        raise self.error()
