"""Outages of the broker and the database: logged when they begin, once a minute while they last, and when they end.

Without this module, clients of a broker that is away would write hundreds of lines a second.

Rule 1: Everything that reports a failed connection, project code and library loggers, tells the ``Outage`` of the
broker or of the database. Only the ``Outage`` writes lines about it.
Rule 2: Any other warning of a library is written once a minute for each logger and text, with the number of
suppressed ones.
Everything here may be called from every thread.
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

REMINDER_INTERVAL_SECONDS = 60.0  # between two lines of an outage, or of one kind
# Without a probe, an outage ends after so long without a failure. Longer than every pause and time-out between tries.
BACK_AFTER_SECONDS = 20.0
# Failures beside a healthy probe are logged only if they last so long; so long after an outage they belong to it.
PROBE_GRACE_SECONDS = 10.0
MAX_KINDS = 500  # of lines, remembered

# Errors of a connection: they say that the server is away and nothing else.
AWAY_ERRORS = (
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
# Errors that an outage causes, and that also occur for a moment at a start, a rebalance or a change of leader.
_MOMENTARY_ERRORS = (
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
    """The outages of one server that a process needs."""

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        """``what``: the name of the server in log lines, such as ``the broker``."""
        self._what = what
        self._clock = clock
        self._lock = threading.RLock()
        self.has_probe = False  # whether a probe asks the server all the time and calls ``missed`` and ``answered``
        self._reset()

    def _reset(self) -> None:
        self._since: float | None = None
        self._back_at = self._logged_at = self._missed_at = self._doubted_at = float("-inf")
        self._missed = 0  # since the last line
        self._cause = ""
        self._timer: threading.Timer | None = None

    def forget(self) -> None:
        """Forget everything, as at the start of a process."""
        with self._lock:
            self._stop_timer()
            self._reset()
            self.has_probe = False

    @property
    def is_away(self) -> bool:
        """Whether an outage has begun and has not ended."""
        return self._since is not None

    @property
    def explains_failures(self) -> bool:
        """Whether a failure now is a consequence of an outage, which lasts or has ended a few seconds ago."""
        return self.is_away or self._clock() < self._back_at + PROBE_GRACE_SECONDS

    def missed(self, cause: str, *, from_probe: bool = False) -> None:
        """Report that the server did not answer.

        ``cause`` goes to the log and must hold no identifier. ``from_probe``: the probe reports it, so it is certain.
        """
        with self._lock:
            if self.is_away:
                self._missed, self._cause, self._missed_at = self._missed + 1, cause, self._clock()
            elif from_probe or not self.has_probe:
                self._since = self._logged_at = self._missed_at = self._clock()
                self._missed, self._cause = 0, cause
                self._start_timer(BACK_AFTER_SECONDS, self._tick)
                _log().warning(f"{self._what} is away", error=cause)
            else:
                self.doubt(cause)

    def doubt(self, cause: str) -> None:
        """Report a failure that may be over at once. It is logged only if failures go on."""
        with self._lock:
            if self.explains_failures:
                self._missed += self.is_away
                return
            self._missed, self._cause, self._doubted_at = self._missed + 1, cause, self._clock()
            if self._timer is None:
                self._start_timer(
                    max(PROBE_GRACE_SECONDS, self._logged_at + REMINDER_INTERVAL_SECONDS - self._clock()),
                    self._end_doubt,
                )

    def answered(self) -> None:
        """Report that the server has answered: ends an outage."""
        if self._since is None:  # nearly always
            return
        with self._lock:
            if self._since is not None:
                self._log_back(self._clock())

    def _log_back(self, now: float) -> None:
        assert self._since is not None
        away, held_back = now - self._since, self._missed
        self._stop_timer()
        self._since, self._back_at, self._missed = None, now, 0
        _log().info(f"{self._what} is back", away=f"{away:.1f} s", **_counted(held_back))

    def _tick(self) -> None:
        """Log once a minute that the outage lasts. Without a probe, end it when nothing has failed for a while."""
        with self._lock:
            if self._since is None:
                return
            now = self._clock()
            if not self.has_probe and now - self._missed_at >= BACK_AFTER_SECONDS:
                self._log_back(now)
                return
            self._start_timer(BACK_AFTER_SECONDS, self._tick)
            if now - self._logged_at < REMINDER_INTERVAL_SECONDS:
                return
            away, held_back, self._missed, self._logged_at = now - self._since, self._missed, 0, now
            _log().warning(
                f"{self._what} is still away", error=self._cause, away=f"{away:.0f} s", **_counted(held_back)
            )

    def _end_doubt(self) -> None:
        """Log that connections keep failing although the probe is answered: one of several brokers may be away."""
        with self._lock:
            self._timer = None
            failures, self._missed = self._missed, 0
            if not self.is_away and self._clock() < self._doubted_at + PROBE_GRACE_SECONDS / 2:
                self._logged_at = self._clock()
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
    """Admits one line of a kind in a minute and counts the others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()  # time of the last line, suppressed since

    def admit(self, kind: Hashable) -> int | None:
        """The number of lines of this kind that were suppressed before this one; None: suppress this one too."""
        with self._lock:
            now = self._clock()
            passed, held_back = self._kinds.pop(kind, (float("-inf"), 0))
            passes = now - passed >= REMINDER_INTERVAL_SECONDS
            self._kinds[kind] = (now, 0) if passes else (passed, held_back + 1)
            while len(self._kinds) > MAX_KINDS:
                self._kinds.popitem(last=False)
            return held_back if passes else None

    def forget(self) -> None:
        """Forget everything, as at the start of a process."""
        with self._lock:
            self._kinds.clear()


BROKER, DATABASE = Outage("the broker"), Outage("the database")
_OUTAGES = {"the broker": BROKER, "the database": DATABASE}
_REPEATS = Repeats()
_LIBRARIES = {"aiokafka": BROKER, "faust": BROKER, "mode": BROKER, "asyncpg": DATABASE}


def outage(what: str) -> Outage:
    """The outage of this name. A process has one of each."""
    return _OUTAGES.setdefault(what, Outage(what))


def forget() -> None:
    """Forget all outages and suppressed lines, as at the start of a process."""
    for one in _OUTAGES.values():
        one.forget()
    _REPEATS.forget()


def broker_failed(log: FilteringBoundLogger, event: str, error: BaseException, **fields: Any) -> None:
    """Report a request that the broker did not carry out: as an outage, or as ``event``, once a minute."""
    if isinstance(error, AWAY_ERRORS):
        BROKER.missed(type(error).__name__)
    elif isinstance(error, _MOMENTARY_ERRORS):
        BROKER.doubt(type(error).__name__)
    else:
        warn_seldom(log, event, error=type(error).__name__, **fields)


def warn_seldom(log: FilteringBoundLogger, event: str, **fields: Any) -> None:
    """Log a warning, at most once a minute for the same event, error and reason."""
    held_back = _REPEATS.admit((event, fields.get("error"), fields.get("reason")))
    if held_back is not None:
        log.warning(event, **fields, **_counted(held_back))


class RepeatFilter(logging.Filter):
    """A filter for the lines of libraries: reports outages to their ``Outage`` and suppresses repeated lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written. A written line has the number of the suppressed ones before it."""
        if record.levelno < logging.WARNING:
            return True
        errors = _errors(record)
        if _is_reported_as_outage(record, errors):
            return False
        if any(isinstance(error, AWAY_ERRORS) for error in errors):
            record.exc_info = None  # the text says what failed; a traceback would add nothing
        template = str(record.msg).partition("\n")[0]
        held_back = _REPEATS.admit((record.name, record.levelno, template))
        record.held_back = held_back
        return held_back is not None


def _is_reported_as_outage(record: logging.LogRecord, errors: list[BaseException]) -> bool:
    """Report a line that is about an outage to its ``Outage``. Returns whether that was done."""
    away = [error for error in errors if isinstance(error, AWAY_ERRORS)]
    one = _LIBRARIES.get(record.name.partition(".")[0])
    if one is None and record.name == "asyncio":
        one = next((found for error in errors if (found := _outage_of(error)) is not None), None)
    if one is None:
        return False
    message = record.getMessage().partition("\n")[0]
    if not away and not _AWAY_TEXT.search(message):
        if _MOMENTARY_TEXT.search(message) or any(isinstance(error, _MOMENTARY_ERRORS) for error in errors):
            one.doubt(message)
            return True
        if not _FOLLOWING_TEXT.search(message) or not one.explains_failures:
            return False
    one.missed(message)
    return True


def _outage_of(error: BaseException) -> Outage | None:
    """The outage that caused an error of a forgotten task; None if no outage did, or it is not clear which one."""
    if not isinstance(error, AWAY_ERRORS + _MOMENTARY_ERRORS):
        return None
    if isinstance(error, kafka.KafkaError):
        return BROKER
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        return DATABASE
    return next((one for one in (BROKER, DATABASE) if one.explains_failures), None)


def _errors(record: logging.LogRecord) -> list[BaseException]:
    """The errors that a line is about. Libraries pass some of them as classes."""
    arguments = record.args.values() if isinstance(record.args, dict) else record.args or ()
    errors = [record.exc_info[1]] if record.exc_info else []
    for one in arguments:
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
