"""The log: structured lines in which no CPF, phone, e-mail, token or password is in clear.

Every value of every line is masked, whoever wrote it: our own code, aiokafka, Faust or aiohttp. Masking
here is the net below the code, which masks what it knows itself.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog
from pydantic import SecretStr

from stream.settings import Settings

SHORTEST_SECRET = 4  # characters; shorter ones would blot out ordinary words

_EMAIL = re.compile(r"[A-Za-z0-9._%+\-]+(?:@|%40)[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+")
_CPF = re.compile(r"(?<![\w.-])\d{3}\.\d{3}\.\d{3}-\d{2}(?!\w)")
# Ten to thirteen digits in a row are a phone or a CPF; a phone may also be typed with blanks and brackets.
_DIGITS = re.compile(r"(?<![\w.\-:])\+?\d{10,14}(?![\w\-:]|\.\d)")
_TYPED_PHONE = re.compile(r"(?<!\w)(?:\+?\d{2}[ -]?)?\(?\d{2}\)?[ -]?9?\d{4}-\d{4}(?!\w)")
_TOKEN = re.compile(
    r"(?i)((?:token|password|secret|google_key|authorization)[\"']?\s*[=:]\s*[\"']?(?:bearer |basic )?)[^\s&\"',}]+"
)
_URL_PASSWORD = re.compile(r"(://[^:/@\s]+:)[^@\s]+@")

_secrets: set[str] = set()


def mask(text: str) -> str:
    """``text`` with every identifier and secret blotted out."""
    for secret in _secrets:
        text = text.replace(secret, "***")
    text = _TOKEN.sub(r"\1***", text)
    text = _URL_PASSWORD.sub(r"\1***@", text)
    text = _EMAIL.sub("***@***", text)
    text = _CPF.sub("***.***.***-**", text)
    text = _TYPED_PHONE.sub("***phone***", text)
    return _DIGITS.sub(lambda found: f"***{found.group()[-2:]}", text)


def configure(settings: Settings, process: str) -> None:
    """Set up the log of this process: one line an event on standard error, JSON when asked for."""
    _secrets.update(secret for secret in _values(settings) if len(secret) >= SHORTEST_SECRET)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _mask_all,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    )
    level = logging.getLevelNamesMapping()[settings.log_level]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _mask_all, renderer],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Their chatter costs time on the hot path and says little; their warnings matter.
    for name in ("aiokafka", "faust", "mode", "asyncio", "aiohttp.access"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING) if level > logging.DEBUG else level)
    structlog.contextvars.bind_contextvars(process=process)


def get_logger(name: str) -> Any:
    """A logger; ``log.info("what happened", key=value)``."""
    return structlog.get_logger(name)


def _values(settings: Settings) -> Iterable[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for secret in value if isinstance(value, tuple) else (value,):
            if isinstance(secret, SecretStr):
                yield secret.get_secret_value()


def _mask_all(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if (
            not key.startswith("_")
            and key not in {"timestamp", "level"}
            and not isinstance(value, bool | int | float | None)
        ):
            event[key] = mask(str(value))
    return event
