"""Log lines that strangers can cause: at most one of a kind in each interval, with the number of suppressed ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from stream.logs import get_logger

log = get_logger(__name__)

INTERVAL_SECONDS = 1.0
MAX_KINDS = 64  # remembered


class SampledLog:
    """Writes warnings; each kind of line has its own interval."""

    def __init__(self, interval: float = INTERVAL_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """``interval``: seconds between two lines of a kind."""
        self._interval = interval
        self._clock = clock
        self._kinds: dict[object, list[float]] = {}  # time of the last line, number of suppressed ones since

    def warning(self, event: str, *, kind: object = None, **fields: Any) -> None:
        """Write a line, or count it as suppressed. ``kind``: a value out of few; with ``event`` it names the kind."""
        now = self._clock()
        known = self._kinds.get((event, kind))
        if known is None:
            if len(self._kinds) >= MAX_KINDS:
                self._kinds.clear()
            self._kinds[event, kind] = [now, 0]
            log.warning(event, **fields)
        elif now - known[0] >= self._interval:
            suppressed = int(known[1])
            known[:] = now, 0
            log.warning(event, **fields, **({"suppressed": suppressed} if suppressed else {}))
        else:
            known[1] += 1
