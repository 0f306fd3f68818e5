"""The one line that there is for every webhook, made for all of a tick together; and the output of all lines."""

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

from stream.logs.masked import has_secret, mask_anew
from stream.logs.masking import is_identifier

DIGITS, LETTERS = string.digits.encode(), string.ascii_letters.encode()
# The same for many ids at once, as bytes: "0" is a digit, "a" a letter, "?" what has to be looked at more closely.
_PLAIN = bytes.maketrans(DIGITS + LETTERS + b"\n", b"0" * len(DIGITS) + b"a" * len(LETTERS) + b"\n")
_KINDS = bytes(kind if byte in DIGITS + LETTERS + b"\n" else b"?"[0] for byte, kind in enumerate(_PLAIN))
_LONG_RUN = re.compile(rb"0{10,}")

Line = tuple[str, str, str, str, str]  # of a webhook: event, contact, outcome, lead, event id


def webhook_line(event: str, contact: str, outcome: str, lead: str, event_id: str = "") -> None:
    """The one line that there is for every webhook; ``contact`` is masked already, ``event_id`` is a UUID.

    It says what ``log.info(event, contact=..., ...)`` would, in a tenth of its time: nothing is processed that can't
    be in it, and the lines of one turn of the loop are made and written together, with the instant of its end.
    """
    if _level <= logging.INFO:
        OUTPUT.later((event, contact, outcome, lead, event_id))


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
    if b"?" in kinds or kinds.count(b"\n") != len(leads) - 1 or has_secret(text):
        return [mask_anew(lead) if _json else flat(mask_anew(lead)) for lead in leads]
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
    """Writes to what is standard error now: tests and supervisors exchange it."""

    def __init__(self) -> None:
        self._waiting: deque[Line] = deque()

    def msg(self, line: str) -> None:
        """Write a line, behind those that wait."""
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


OUTPUT = StandardError()
_process, _json, _level = "", False, logging.INFO


def set_form(process: str, level: int, *, as_json: bool) -> None:
    """Say how lines are written from now on; ``level``: the least that is logged."""
    global _process, _json, _level
    _process, _json, _level = process, as_json, level


def flat(value: Any) -> str:
    """On one line, whatever was logged: nobody can forge a second one."""
    text = str(value)
    return text if text.isprintable() else repr(text)
