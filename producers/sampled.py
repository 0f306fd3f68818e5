"""Log lines that strangers can cause: at most one in each interval, which says how many were left out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from stream.logs import get_logger

log = get_logger(__name__)

INTERVAL = 1.0  # seconds
MOST_KINDS = 64


class SampledLog:
    """Warnings; each kind of line is sampled by itself."""

    def __init__(self, interval: float = INTERVAL, clock: Callable[[], float] = time.monotonic) -> None:
        """``interval``: seconds between two lines of one kind."""
        self._interval = interval
        self._clock = clock
        self._kinds: dict[object, list[float]] = {}  # when the last line was written, and how many were left out since

    def warning(self, event: str, *, kind: object = None, **fields: Any) -> None:
        """Write the line, or count it. ``kind``: of few values."""
        now = self._clock()
        known = self._kinds.get((event, kind))
        if known is None:
            if len(self._kinds) >= MOST_KINDS:
                self._kinds.clear()
            self._kinds[event, kind] = [now, 0]
            log.warning(event, **fields)
        elif now - known[0] >= self._interval:
            left_out = int(known[1])
            known[:] = now, 0
            log.warning(event, **fields, **({"suppressed": left_out} if left_out else {}))
        else:
            known[1] += 1
