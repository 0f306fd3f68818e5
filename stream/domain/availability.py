"""Whether a partner can be asked, and how many parked webhooks may come back for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

TRIAL_PAUSE = 1.0  # seconds after a trial's webhooks have come back until twice as many may
FIRST_TRIAL = 1  # webhooks
# What is due comes back then, were its partner still down, and is parked again or given up for its age. Below
# ``parking.LATE``: until then it is believed since when it is tried.
LONGEST_HELD = timedelta(hours=1)


class Availability(Enum):
    """Whether a partner can be asked: yes; no; or nobody knows before somebody has tried."""

    AVAILABLE = auto()
    UNAVAILABLE = auto()
    TRIAL = auto()


@dataclass(slots=True)
class _Trial:
    """``left`` of ``size`` webhooks may still come back; the next begins at ``pause_ends`` (monotonic seconds)."""

    size: int
    left: int
    pause_ends: float = 0.0


class PartnerGate:
    """Lets parked webhooks come back for a partner that was down: none, then one, then ever more.

    One call tells whether the partner is back, and it may be another worker that makes it. So a trial does not wait
    for an answer that this worker may never see: while nothing says that the partner is down, twice as many
    webhooks come back in each trial, and all of them as soon as a call has succeeded here.
    """

    def __init__(
        self,
        availability: Callable[[str], Availability],
        clock: Callable[[], float],
        longest: timedelta = LONGEST_HELD,
    ) -> None:
        """``availability``: of a partner by its name, and of whatever is no partner; ``clock``: monotonic seconds.

        ``longest``: after which what is due comes back all the same.
        """
        self.longest = min(longest, LONGEST_HELD)
        self._availability = availability
        self._clock = clock
        self._trials: dict[str, _Trial] = {}

    def room(self, partner: str) -> int | None:
        """How many webhooks may come back for ``partner`` now; None where there is no limit."""
        availability = self._availability(partner)
        if availability is not Availability.TRIAL:
            self._trials.pop(partner, None)
            return None if availability is Availability.AVAILABLE else 0
        trial = self._trials.get(partner)
        if trial is None:
            trial = self._trials[partner] = _Trial(FIRST_TRIAL, FIRST_TRIAL)
        elif not trial.left and self._clock() >= trial.pause_ends:
            trial.size = trial.left = 2 * trial.size
        return trial.left

    def take(self, partner: str) -> bool:
        """Let one webhook come back; False when there is no room."""
        room = self.room(partner)
        if room is None:
            return True
        if not room:
            return False
        trial = self._trials[partner]
        trial.left -= 1
        trial.pause_ends = self._clock() + TRIAL_PAUSE
        return True


def partner_of(reason: str) -> str:
    """The partner that a webhook was parked for, "" where its reason names none: ``diretrix: status 503``."""
    partner, separator, _ = reason.partition(":")
    return partner if separator else ""
