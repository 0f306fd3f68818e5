"""Whether a partner can be asked, and how many parked webhooks may return to ``webhooks`` for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

TRIAL_PAUSE_SECONDS = 1.0  # between the last webhook of a trial and the next trial, which is twice as large
FIRST_TRIAL_WEBHOOKS = 1
# A webhook that is overdue by this much returns although its partner is down, and is parked again or given up. It must
# be below ``parking.MAX_LATE``: the headers of a webhook that returns later are not trusted.
MAX_HOLD = timedelta(hours=1)


class Availability(Enum):
    """Whether a partner can be asked: yes, no, or a trial must tell."""

    AVAILABLE = auto()
    UNAVAILABLE = auto()
    TRIAL = auto()


@dataclass(slots=True)
class _Trial:
    """``left`` of ``size`` webhooks may still return; the next trial begins at ``pause_ends`` (monotonic seconds)."""

    size: int
    left: int
    pause_ends: float = 0.0


class PartnerGate:
    """Lets parked webhooks return for a partner that was down: none, then one, then more and more.

    Another worker may make the call that tells whether the partner is up again, and this worker may never see its
    result. So a trial does not wait for a result. While nothing says that the partner is down, each trial lets twice as
    many webhooks return. After a successful call of this worker all of them may.
    """

    def __init__(
        self,
        availability: Callable[[str], Availability],
        clock: Callable[[], float],
        max_hold: timedelta = MAX_HOLD,
    ) -> None:
        """``availability``: by a partner's name; it must accept any other text as well. ``clock``: monotonic seconds.

        ``max_hold``: how overdue a webhook may become before it returns in any case.
        """
        self.max_hold = min(max_hold, MAX_HOLD)
        self._availability = availability
        self._clock = clock
        self._trials: dict[str, _Trial] = {}

    def room(self, partner: str) -> int | None:
        """How many webhooks may return for ``partner`` now; None if there is no limit."""
        availability = self._availability(partner)
        if availability is not Availability.TRIAL:
            self._trials.pop(partner, None)
            return None if availability is Availability.AVAILABLE else 0
        trial = self._trials.get(partner)
        if trial is None:
            trial = self._trials[partner] = _Trial(FIRST_TRIAL_WEBHOOKS, FIRST_TRIAL_WEBHOOKS)
        elif not trial.left and self._clock() >= trial.pause_ends:
            trial.size = trial.left = 2 * trial.size
        return trial.left

    def take(self, partner: str) -> bool:
        """Count one webhook that returns. False if none may return now."""
        room = self.room(partner)
        if room is None:
            return True
        if not room:
            return False
        trial = self._trials[partner]
        trial.left -= 1
        trial.pause_ends = self._clock() + TRIAL_PAUSE_SECONDS
        return True


def partner_of(reason: str) -> str:
    """The partner for which a webhook was parked: the word before the colon in ``diretrix: status 503``, else ""."""
    partner, separator, _ = reason.partition(":")
    return partner if separator else ""
