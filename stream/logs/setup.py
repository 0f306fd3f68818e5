"""Sets up the log: structured lines in which no CPF, phone, e-mail, token or password is in clear.

Every value of every line is masked, whoever wrote it: project code, aiokafka, Faust or aiohttp. This is the second
safeguard: project code masks the identifiers that it knows itself. Lines of project code do not pass through
``logging``, which takes eight times as long, and there is a line for every webhook.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import orjson
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from stream.logs import outages
from stream.logs.masked import mask_fields, remember_secrets
from stream.logs.webhook_lines import OUTPUT, flat, set_format
from stream.settings import Settings


def configure(settings: Settings, process: str) -> None:
    """Set up the log of this process: one line for each event on standard error, as JSON if LOG_JSON is set."""
    remember_secrets(settings)
    level = logging.getLevelNamesMapping()[settings.log_level]
    set_format(process, level, as_json=settings.log_json)

    def name_process(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["process"] = process
        return event

    outages.forget()
    chain: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_process,
        structlog.processors.format_exc_info,
        mask_fields,
    ]
    renderer = _as_json if settings.log_json else _as_line
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: OUTPUT,
        cache_logger_on_first_use=True,
    )
    _route_library_lines(chain, renderer, level)
    _log_uncaught_errors()


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger: ``log.info("what happened", key=value)``."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


class _Handler(logging.Handler):
    """Writes the lines of libraries to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 - the contract of logging: a line never stops the program
            self.handleError(record)


def _route_library_lines(chain: list[Processor], renderer: Processor, level: int) -> None:
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
    # Lines of libraries below WARNING cost time on the hot path and say little.
    for name in ("aiokafka", "faust", "mode", "asyncio", "aiohttp.access"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING) if level > logging.DEBUG else level)


def _count_held_back(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if held_back := getattr(event.get("_record"), "held_back", 0):
        event["suppressed"] = held_back
    return event


def _log_uncaught_errors() -> None:
    """Log errors that nobody catches. Python would print their tracebacks to standard error, unmasked."""
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

    # Hooks that something else has set, such as a test runner, stay.
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = uncaught_in_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = unraisable


def _as_json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    return orjson.dumps(dict(event), default=str).decode()


def _as_line(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    """``2026-01-31T12:00:00Z info worker: what happened key=value``, and a traceback below it."""
    head = f"{event.pop('timestamp')} {event.pop('level')} {event.pop('process')}: {flat(event.pop('event'))}"
    trace = event.pop("exception", "")
    fields = "".join([f" {key}={flat(value)}" for key, value in event.items()])
    # A traceback may quote text from outside. Indented and flat, it can't imitate a log line or control a terminal.
    lines = "\n".join([f"    {flat(line)}" for line in str(trace).splitlines()])
    return f"{head}{fields}\n{lines}" if trace else head + fields
