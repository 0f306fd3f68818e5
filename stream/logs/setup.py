"""The log: structured lines in which no CPF, phone, e-mail, token or password is in clear.

Every value of every line is masked, whoever wrote it: our own code, aiokafka, Faust or aiohttp. Masking here
is the net below the code, which masks what it knows itself. Our own lines do not pass through ``logging``:
there is one for every webhook, and that way is eight times as long.
"""

from __future__ import annotations

import asyncio
import logging
import re
import string
import sys
import threading
from base64 import b64encode
from collections import deque
from collections.abc import Iterable, MutableMapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any
from urllib.parse import quote

import orjson
import structlog
from pydantic import SecretStr
from structlog.typing import FilteringBoundLogger, Processor

from stream.logs import outages
from stream.logs.masking import is_identifier, is_secret_key, without_emails, without_numbers, without_secrets
from stream.settings import Settings

SHORTEST_SECRET = 4  # characters; shorter ones would blot out ordinary words
SMALLEST_NUMBER = 10**9  # an integer from here on may be a phone or a CPF, but for those that COUNT something
COUNTS = frozenset(
    {"offset", "lag", "bytes", "watermark", "position", "entries", "records", "epoch", "epoch_ms", "nanoseconds"}
)
REMEMBERED = 8_192  # texts whose masked form is remembered
LONGEST_REMEMBERED = 200  # characters
DIGITS, LETTERS = string.digits.encode(), string.ascii_letters.encode()

_TEN_DIGITS = re.compile(r"\d{10}")
# The same for many ids at once, as bytes: "0" is a digit, "a" a letter, "?" what has to be looked at more closely.
_PLAIN = bytes.maketrans(DIGITS + LETTERS + b"\n", b"0" * len(DIGITS) + b"a" * len(LETTERS) + b"\n")
_KINDS = bytes(kind if byte in DIGITS + LETTERS + b"\n" else b"?"[0] for byte, kind in enumerate(_PLAIN))
_LONG_RUN = re.compile(rb"0{10,}")

Line = tuple[str, str, str, str, str]  # of a webhook: event, contact, outcome, lead, event id

_secrets: set[str] = set()


def mask(text: str) -> str:
    """``text`` with every identifier and secret blotted out."""
    return _masked(text) if len(text) <= LONGEST_REMEMBERED else _mask(text)


def configure(settings: Settings, process: str) -> None:
    """Set up the log of this process: one line an event on standard error, JSON when asked for."""
    _secrets.update(_spellings(secret for secret in _values(settings) if len(secret) >= SHORTEST_SECRET))
    _masked.cache_clear()
    _secrets_pattern.cache_clear()
    level = logging.getLevelNamesMapping()[settings.log_level]
    global _process, _json, _level
    _process, _json, _level = process, settings.log_json, level

    def name_process(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["process"] = process
        return event

    outages.forget()
    chain: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_process,
        structlog.processors.format_exc_info,
        _mask_all,
    ]
    renderer = _as_json if settings.log_json else _as_line
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _out,
        cache_logger_on_first_use=True,
    )
    _route_the_others(chain, renderer, level)
    _catch_the_uncaught()


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger; ``log.info("what happened", key=value)``."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


def webhook_line(event: str, contact: str, outcome: str, lead: str, event_id: str = "") -> None:
    """The one line that there is for every webhook; ``contact`` is masked already, ``event_id`` is a UUID.

    It says what ``log.info(event, contact=..., ...)`` would, in a tenth of its time: nothing is processed that can't
    be in it, and the lines of one turn of the loop are made and written together, with the instant of its end.
    """
    if _level <= logging.INFO:
        _out.later((event, contact, outcome, lead, event_id))


def _webhook_lines(webhooks: list[Line]) -> str:
    events, contacts, outcomes, leads, ids = zip(*webhooks, strict=True)
    shown = zip(events, contacts, outcomes, _shown(leads), ids, strict=True)
    stamp = datetime.now(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
    if _json:
        return "".join([_webhook_as_json(stamp, *webhook) for webhook in shown])
    head = f"{stamp} info {_process}: "
    return "".join(
        [
            f"{head}{event} contact={contact} outcome={outcome} lead={lead}{' event_id=' if one else ''}{one}\n"
            for event, contact, outcome, lead, one in shown
        ]
    )


def _shown(leads: Sequence[str]) -> list[str]:
    """Ids of leads as lines may show them. Most are letters and digits only, so those of a turn are masked as one."""
    text = "\n".join(leads)
    kinds = text.encode("utf-8", "replace").translate(_KINDS)
    if b"?" in kinds or kinds.count(b"\n") != len(leads) - 1 or _has_secret(text):
        return [_mask(lead) if _json else _flat(_mask(lead)) for lead in leads]
    pieces: list[str] = []
    at = 0
    for run in _LONG_RUN.finditer(kinds):
        start, end = run.span()
        if is_identifier(text[start:end]):
            pieces += text[at:start], "***"
            at = end - 2
    return "".join([*pieces, text[at:]]).split("\n")


def _webhook_as_json(stamp: str, event: str, contact: str, outcome: str, lead: str, event_id: str) -> str:  # noqa: PLR0913
    fields = {
        "contact": contact,
        "outcome": outcome,
        "lead": lead,
        **({"event_id": event_id} if event_id else {}),
        "event": event,
        "level": "info",
    }
    return orjson.dumps({**fields, "timestamp": stamp, "process": _process}).decode() + "\n"


class _StandardError:
    """Writes to what is standard error now: tests and supervisors exchange it."""

    def __init__(self) -> None:
        self._waiting: deque[Line] = deque()

    def msg(self, line: str) -> None:
        self._write()
        sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = msg

    def later(self, webhook: Line) -> None:
        """Write a webhook's line at the end of this turn of the loop, at once where no loop runs."""
        if not self._waiting:
            try:
                asyncio.get_running_loop().call_soon(self._write)
            except RuntimeError:
                sys.stderr.write(_webhook_lines([webhook]))
                return
        self._waiting.append(webhook)

    def _write(self) -> None:
        webhooks = []
        with suppress(IndexError):  # the threads of libraries write too: no line may be taken twice
            while True:
                webhooks.append(self._waiting.popleft())
        if webhooks:
            sys.stderr.write(_webhook_lines(webhooks))


_out = _StandardError()
_process, _json, _level = "", False, logging.INFO


class _Handler(logging.Handler):
    """The libraries' way to the same place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - logging's own contract: a line never stops the program
            self.handleError(record)


def _route_the_others(chain: list[Processor], renderer: Processor, level: int) -> None:
    handler = _Handler()
    handler.addFilter(outages.RepeatFilter())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[_count_held_back, *chain],
        )
    )
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if type(one) not in {logging.StreamHandler, _Handler}] + [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    # Their chatter costs time on the hot path and says little; their warnings matter.
    for name in ("aiokafka", "faust", "mode", "asyncio", "aiohttp.access"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING) if level > logging.DEBUG else level)


def _count_held_back(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if held_back := getattr(event.get("_record"), "held_back", 0):
        event["suppressed"] = held_back
    return event


def _catch_the_uncaught() -> None:
    """What ends a process, a thread or a finaliser would print its trace past the log, in clear."""
    log = get_logger(__name__)

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("uncaught", exc_info=(kind, error, trace))

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        log.critical("uncaught in a thread", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        log.error("uncaught in a finaliser", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    # Hooks of somebody else, such as a test's runner, stay.
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = uncaught_in_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = unraisable


@lru_cache(maxsize=REMEMBERED)
def _masked(text: str) -> str:
    return _mask(text)


def _mask(text: str) -> str:
    return _without_identifiers(_secrets_pattern().sub("***", text) if _has_secret(text) else text)


def _has_secret(text: str) -> bool:
    return any(map(text.__contains__, _secrets))


def _without_identifiers(text: str) -> str:
    if text.isascii() and text.isalnum() and not _TEN_DIGITS.search(text):
        return text  # no identifier is shorter or without a sign between its parts
    return without_numbers(without_emails(without_secrets(text)))


@lru_cache(maxsize=1)
def _secrets_pattern() -> re.Pattern[str]:
    return re.compile("|".join(re.escape(secret) for secret in sorted(_secrets, key=len, reverse=True)))


def _spellings(secrets: Iterable[str]) -> Iterable[str]:
    """A secret as it is and as a URL has it; of ``user:password`` also the password alone, and as HTTP Basic has it."""
    for secret in secrets:
        yield from {secret, quote(secret, safe=""), quote(secret)}
        password = secret.partition(":")[2]
        if len(password) >= SHORTEST_SECRET:
            yield from {password, b64encode(secret.encode()).decode()}


def _values(settings: Settings) -> Iterable[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for secret in value if isinstance(value, tuple) else (value,):
            if isinstance(secret, SecretStr):
                yield secret.get_secret_value()


def _mask_all(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key not in {"timestamp", "level", "process"} and key[0] != "_":
            event[key] = "***" if is_secret_key(key) else _mask_value(key, value)
    return event


def _mask_value(key: object, value: Any) -> Any:
    if isinstance(value, str):
        return mask(str(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) < SMALLEST_NUMBER or key in COUNTS else _mask_number(value)
    if isinstance(value, dict):
        return {
            mask(str(name)): "***" if is_secret_key(str(name)) else _mask_value(name, one)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        masked = [_mask_value(key, one) for one in value]
        return masked if key in COUNTS else _mask_list(masked)
    return mask(str(value))


def _mask_number(value: float) -> float | str:
    """A number as it is, or what is left of it where it is a phone or a CPF; one with a fraction is none."""
    if isinstance(value, float) and not value.is_integer():
        return value
    text = str(int(value))
    masked = mask(text)
    return value if masked == text else masked


def _mask_list(values: list[Any]) -> list[Any]:
    """A list as it is, unless its values together are a phone or a CPF."""
    if len(values) == 1 or not all(isinstance(one, int | str) for one in values):
        return values
    text = str([one if isinstance(one, int) else str(one) for one in values])
    return values if mask(text) == text else ["***"]


def _as_json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    return orjson.dumps(dict(event), default=str).decode()


def _as_line(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    """``2026-01-31T12:00:00Z info worker: what happened key=value``, and below it where it went wrong."""
    head = f"{event.pop('timestamp')} {event.pop('level')} {event.pop('process')}: {_flat(event.pop('event'))}"
    trace = event.pop("exception", "")
    fields = "".join([f" {key}={_flat(value)}" for key, value in event.items()])
    # A trace may quote somebody else's text: no line of it looks like one of the log, and none acts on a terminal.
    lines = "\n".join([f"    {_flat(line)}" for line in str(trace).splitlines()])
    return f"{head}{fields}\n{lines}" if trace else head + fields


def _flat(value: Any) -> str:
    """On one line, whatever was logged: nobody can forge a second one."""
    text = str(value)
    return text if text.isprintable() else repr(text)
