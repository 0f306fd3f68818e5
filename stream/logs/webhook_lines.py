"""Writes the one log line of every webhook, for all webhooks of a tick together; and the output of all log lines."""

from __future__ import annotations

import asyncio
import logging
import re
import string
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson

from stream.logs.masked import has_secret, mask_uncached
from stream.logs.masking import is_identifier

DIGITS, LETTERS = string.digits.encode(), string.ascii_letters.encode()
# Translate the bytes of many ids at once: "0" stands for a digit, "a" for a letter, "?" for what needs a closer look.
_PLAIN = bytes.maketrans(DIGITS + LETTERS + b"\n", b"0" * len(DIGITS) + b"a" * len(LETTERS) + b"\n")
_KINDS = bytes(kind if byte in DIGITS + LETTERS + b"\n" else b"?"[0] for byte, kind in enumerate(_PLAIN))
_LONG_RUN = re.compile(rb"0{10,}")

Line = tuple[str, str, str, str, str]  # event, contact, outcome, lead, event id


def webhook_line(event: str, contact: str, outcome: str, lead: str, event_id: str = "") -> None:
    """Log the one line of a webhook. ``contact`` must be masked already, ``event_id`` must be a UUID.

    The line equals that of ``log.info(event, contact=..., ...)`` and takes a tenth of the time: only ``lead`` is
    masked, and the lines of one tick are made and written together, with the time of its end.
    """
    if _level <= logging.INFO:
        OUTPUT.write_later((event, contact, outcome, lead, event_id))


def _webhook_lines(webhooks: list[Line]) -> str:
    events, contacts, outcomes, leads, ids = zip(*webhooks, strict=True)
    masked = zip(events, contacts, outcomes, _mask_leads(leads), ids, strict=True)
    stamp = datetime.now(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
    if _json:
        return "".join([_webhook_as_json(stamp, *webhook) for webhook in masked])
    head = f"{stamp} info {_process}: "
    return "".join(
        [
            f"{head}{event} contact={contact} outcome={outcome} lead={lead}{' event_id=' if one else ''}{one}\n"
            for event, contact, outcome, lead, one in masked
        ]
    )


def _mask_leads(leads: Sequence[str]) -> list[str]:
    """Masked ids of leads. Most ids are letters and digits only, so all ids of a tick are masked together."""
    text = "\n".join(leads)
    kinds = text.encode("utf-8", "replace").translate(_KINDS)
    if b"?" in kinds or kinds.count(b"\n") != len(leads) - 1 or has_secret(text):
        return [mask_uncached(lead) if _json else flat(mask_uncached(lead)) for lead in leads]
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


class StandardError:
    """Writes to the current ``sys.stderr``, which tests replace."""

    def __init__(self) -> None:
        self._waiting: deque[Line] = deque()

    def msg(self, line: str) -> None:
        """Write a line, after the webhooks' lines that wait."""
        self._write()
        sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = msg

    def write_later(self, webhook: Line) -> None:
        """Write a webhook's line at the end of this tick; at once where no loop runs."""
        if not self._waiting:
            try:
                asyncio.get_running_loop().call_soon(self._write)
            except RuntimeError:
                sys.stderr.write(_webhook_lines([webhook]))
                return
        self._waiting.append(webhook)

    def _write(self) -> None:
        webhooks = []
        with suppress(IndexError):  # other threads write too: popleft gives each line to one of them only
            while True:
                webhooks.append(self._waiting.popleft())
        if webhooks:
            sys.stderr.write(_webhook_lines(webhooks))


OUTPUT = StandardError()
_process, _json, _level = "", False, logging.INFO


def set_format(process: str, level: int, *, as_json: bool) -> None:
    """Set how lines are written from now on. ``level``: the minimum level."""
    global _process, _json, _level
    _process, _json, _level = process, as_json, level


def flat(value: Any) -> str:
    """``value`` on one line, so that no value can forge a log line."""
    text = str(value)
    return text if text.isprintable() else repr(text)
