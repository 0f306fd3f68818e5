"""What is away, said once when it goes, once a minute while it stays away, and once when it is back.

A broker that is away makes its clients write hundreds of lines a second. Rule 1: whatever reports a failed connection,
our own code or a library's logger, tells the ``Outage`` of the broker or of the database, and that writes the lines.
Rule 2: every other warning of a library passes once a minute by logger and text, with a count of those held back.
Called from every thread.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import asyncpg
import structlog
from aiokafka import errors as kafka
from structlog.typing import FilteringBoundLogger

REMIND_EVERY = 60.0  # seconds between lines while something stays away, or of one kind
# Seconds without a failure after which what nobody probes is back; above every pause and time-out between two tries.
QUIET = 20.0
SETTLE = 10.0  # seconds after which failed connections beside a probe that is answered are said; as long after a return
MOST_KINDS = 500  # kinds of lines remembered

# A connection that failed: nothing else is wrong.
AWAY = (
    kafka.KafkaConnectionError,
    kafka.NodeNotReadyError,
    kafka.RequestTimedOutError,
    kafka.KafkaTimeoutError,
    kafka.CorrelationIdError,
    OSError,  # a TimeoutError is one
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
# What follows from an absence, and happens for a moment at other times: at a start, a rebalance, when a leader moves.
_MOMENTARY = (
    kafka.GroupCoordinatorNotAvailableError,
    kafka.NotCoordinatorForGroupError,
    kafka.GroupLoadInProgressError,
    kafka.LeaderNotAvailableError,
    kafka.NotLeaderForPartitionError,
    kafka.UnknownMemberIdError,
    kafka.IllegalGenerationError,
    kafka.RebalanceInProgressError,
    asyncpg.TooManyConnectionsError,
)
_AWAY_TEXT = re.compile(r"Unable to update metadata|Unable connect to node|Failed to restore the pool connection floor")
_MOMENTARY_TEXT = re.compile(r"Marking the coordinator dead|Heartbeat failed|OffsetCommit failed")
_FOLLOWING_TEXT = re.compile(r"Heartbeat session expired|Timer \S+ is overlapping|Request timed out")


class Outage:
    """The absence of one thing that a process needs."""

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        """``what``: its name, as ``the broker``."""
        self._what = what
        self._clock = clock
        self._lock = threading.RLock()
        self.has_probe = False  # whether somebody asks it all the time, and tells ``missed`` and ``answered``
        self._reset()

    def _reset(self) -> None:
        self._since: float | None = None
        self._back_at = self._said_at = self._missed_at = self._doubted_at = float("-inf")
        self._missed = 0  # since the last line
        self._cause = ""
        self._timer: threading.Timer | None = None

    def forget(self) -> None:
        """Begin anew, as a process does."""
        with self._lock:
            self._stop_timer()
            self._reset()
            self.has_probe = False

    @property
    def is_away(self) -> bool:
        """Whether it was said to be away, and not yet to be back."""
        return self._since is not None

    @property
    def explains_failures(self) -> bool:
        """Whether it is away, or has only just come back: what fails now fails for that."""
        return self.is_away or self._clock() < self._back_at + SETTLE

    def missed(self, cause: str, *, sure: bool = False) -> None:
        """It did not answer. ``cause`` holds no identifier; ``sure``: a probe says so, not some connection."""
        with self._lock:
            if self.is_away:
                self._missed, self._cause, self._missed_at = self._missed + 1, cause, self._clock()
            elif sure or not self.has_probe:
                self._since = self._said_at = self._missed_at = self._clock()
                self._missed, self._cause = 0, cause
                self._start_timer(QUIET, self._tick)
                _log().warning(f"{self._what} is away", error=cause)
            else:
                self.doubt(cause)

    def doubt(self, cause: str) -> None:
        """Something failed that may be over at once: it is said where it goes on."""
        with self._lock:
            if self.explains_failures:
                self._missed += self.is_away
                return
            self._missed, self._cause, self._doubted_at = self._missed + 1, cause, self._clock()
            if self._timer is None:
                self._start_timer(max(SETTLE, self._said_at + REMIND_EVERY - self._clock()), self._end_doubt)

    def answered(self) -> None:
        """It has answered."""
        if self._since is None:  # nearly always
            return
        with self._lock:
            if self._since is not None:
                self._say_back(self._clock())

    def _say_back(self, now: float) -> None:
        assert self._since is not None
        away, held_back = now - self._since, self._missed
        self._stop_timer()
        self._since, self._back_at, self._missed = None, now, 0
        _log().info(f"{self._what} is back", away=f"{away:.1f} s", **_counted(held_back))

    def _tick(self) -> None:
        """Say once a minute that it is still away; or, where nobody probes it and nothing fails, that it is back."""
        with self._lock:
            if self._since is None:
                return
            now = self._clock()
            if not self.has_probe and now - self._missed_at >= QUIET:
                self._say_back(now)
                return
            self._start_timer(QUIET, self._tick)
            if now - self._said_at < REMIND_EVERY:
                return
            away, held_back, self._missed, self._said_at = now - self._since, self._missed, 0, now
            _log().warning(
                f"{self._what} is still away", error=self._cause, away=f"{away:.0f} s", **_counted(held_back)
            )

    def _end_doubt(self) -> None:
        """Say that connections fail and go on to, though a probe is answered: one broker of several may be away."""
        with self._lock:
            self._timer = None
            failures, self._missed = self._missed, 0
            if not self.is_away and self._clock() < self._doubted_at + SETTLE / 2:
                self._said_at = self._clock()
                _log().warning(f"connections to {self._what} fail", error=self._cause, failures=failures)

    def _start_timer(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = threading.Timer(seconds, then)
        self._timer.daemon = True
        self._timer.start()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Repeats:
    """Lets one line of a kind pass a minute, and counts the others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()  # when one passed, and those held back

    def take(self, kind: Hashable) -> int | None:
        """How many of its kind were held back before this one; None when this one is held back too."""
        with self._lock:
            now = self._clock()
            passed, held_back = self._kinds.pop(kind, (float("-inf"), 0))
            passes = now - passed >= REMIND_EVERY
            self._kinds[kind] = (now, 0) if passes else (passed, held_back + 1)
            while len(self._kinds) > MOST_KINDS:
                self._kinds.popitem(last=False)
            return held_back if passes else None

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self._kinds.clear()


BROKER, DATABASE = Outage("the broker"), Outage("the database")
_OUTAGES = {"the broker": BROKER, "the database": DATABASE}
_REPEATS = Repeats()
_LIBRARIES = {"aiokafka": BROKER, "faust": BROKER, "mode": BROKER, "asyncpg": DATABASE}


def outage(what: str) -> Outage:
    """The outage of this name, one a process."""
    return _OUTAGES.setdefault(what, Outage(what))


def forget() -> None:
    """Begin anew, as a process does."""
    for one in _OUTAGES.values():
        one.forget()
    _REPEATS.forget()


def broker_failed(log: FilteringBoundLogger, event: str, error: BaseException, **fields: Any) -> None:
    """Report that the broker did not carry something out: as its absence, or with ``event`` once a minute."""
    if isinstance(error, AWAY):
        BROKER.missed(type(error).__name__)
    elif isinstance(error, _MOMENTARY):
        BROKER.doubt(type(error).__name__)
    else:
        warn_seldom(log, event, error=type(error).__name__, **fields)


def warn_seldom(log: FilteringBoundLogger, event: str, **fields: Any) -> None:
    """Warn, once a minute for one event and error or reason."""
    held_back = _REPEATS.take((event, fields.get("error"), fields.get("reason")))
    if held_back is not None:
        log.warning(event, **fields, **_counted(held_back))


class RepeatFilter(logging.Filter):
    """For the libraries' lines: an absence goes to its ``Outage``, and what repeats itself passes once a minute."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written. A line that passes after others were held back has their count."""
        if record.levelno < logging.WARNING:
            return True
        errors = _errors(record)
        if _is_absorbed(record, errors):
            return False
        if any(isinstance(error, AWAY) for error in errors):
            record.exc_info = None  # the text says what failed; where it did helps nobody
        template = str(record.msg).partition("\n")[0]
        held_back = _REPEATS.take((record.name, record.levelno, template))
        record.held_back = held_back
        return held_back is not None


def _is_absorbed(record: logging.LogRecord, errors: list[BaseException]) -> bool:
    """Whether an outage is told instead of this line being written."""
    away = [error for error in errors if isinstance(error, AWAY)]
    one = _LIBRARIES.get(record.name.partition(".")[0])
    if one is None and record.name == "asyncio":
        one = next((found for error in errors if (found := _outage_of(error)) is not None), None)
    if one is None:
        return False
    message = record.getMessage().partition("\n")[0]
    if not away and not _AWAY_TEXT.search(message):
        if _MOMENTARY_TEXT.search(message) or any(isinstance(error, _MOMENTARY) for error in errors):
            one.doubt(message)
            return True
        if not _FOLLOWING_TEXT.search(message) or not one.explains_failures:
            return False
    one.missed(message)
    return True


def _outage_of(error: BaseException) -> Outage | None:
    """Whose absence an error that nobody waited for comes from, where it comes from one and that can be told."""
    if not isinstance(error, AWAY + _MOMENTARY):
        return None
    if isinstance(error, kafka.KafkaError):
        return BROKER
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        return DATABASE
    return next((one for one in (BROKER, DATABASE) if one.explains_failures), None)


def _errors(record: logging.LogRecord) -> list[BaseException]:
    """The errors that a line is about: some are handed over as classes."""
    said = record.args.values() if isinstance(record.args, dict) else record.args or ()
    errors = [record.exc_info[1]] if record.exc_info else []
    for one in said:
        if isinstance(one, BaseException):
            errors.append(one)
        elif isinstance(one, type) and issubclass(one, kafka.KafkaError):
            errors.append(one())
    return [error for error in errors if error is not None]


def _counted(held_back: int) -> dict[str, int]:
    return {"suppressed": held_back} if held_back else {}


def _log() -> FilteringBoundLogger:
    logger: FilteringBoundLogger = structlog.get_logger(__name__)
    return logger
