"""Makes text from outside safe to show: one line, without characters that act on a terminal, spreadsheet or page.

Rule 1: every name and value that somebody else wrote passes through here once, where it is shown to a person: in the
CRM, a terminal, a spreadsheet, a page. What is stored and published stays as it was received.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

CUT_MARK = "…"
MAX_MARKS_PER_LETTER = 4  # more combining marks would paint over the lines above and below
_REMOVED = frozenset({"Cc", "Cf", "Cs", "Co"})  # control, format (bidi, zero-width, tags), surrogates, private use
_MARKS = frozenset({"Mn", "Me"})
# Invisible characters whose category says letter, symbol or mark: fillers, joiners, variation selectors. The two
# selectors that choose between the text and the emoji form of a character are kept.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0d\U000e0100-\U000e01ef]"
)
# What a terminal executes: titles and hyperlinks (OSC and the like, with their end), movements and colours (CSI).
_SEQUENCE = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
)
# A spreadsheet takes a cell that begins with one of these for a formula, also with a full-width form.
_FORMULA = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_BEGINS_FORMULA = re.compile(f"[{_FORMULA}]")
# In locales with a decimal comma, a spreadsheet cuts cells at semicolons, quoted or not.
_LATER_FORMULA = re.compile(f"([;,|])(?= *[{_FORMULA}])")
_FIGURE = re.compile(r"[+-]?\d+(?:[.,]\d+)*%?", re.ASCII)
_MAX_DECODINGS = 3


def one_line(text: str, limit: int | None = None) -> str:
    """``text`` as one line: control and format characters are removed, white space is collapsed.

    Accents, other scripts and emoji stay. ``limit``: the most characters; a text that was cut ends with "…".
    """
    if not (text.isascii() and text.isprintable()):
        text = _harmless(text)
    text = " ".join(text.split())
    if limit is None or len(text) <= limit:
        return text
    return text[: limit - 1].rstrip() + CUT_MARK


def cell(text: str) -> str:
    """``text`` as a cell of a CSV file: one line, and no formula. Numbers stay numbers."""
    text = one_line(text)
    if _FIGURE.fullmatch(text):
        return text
    return ("'" if _BEGINS_FORMULA.match(text) else "") + _LATER_FORMULA.sub(r"\1'", text)


def is_id(text: str) -> bool:
    """Whether ``text`` is safe as an id: it is printable, and a URL's path with it names no other resource.

    As a segment of a path "." and ".." would name another resource, also if a proxy decodes the path once more.
    """
    if not text.isprintable() or not text.strip():
        return False
    if "." not in text and "%" not in text:
        return True
    for _ in range(_MAX_DECODINGS):
        if any(part.strip() in {".", ".."} for part in re.split(r"[/\\]", text)):
            return False
        text = unquote(text)
    return True


def _harmless(text: str) -> str:
    text = _INVISIBLE.sub("", _SEQUENCE.sub("", text))
    kept: list[str] = []
    marks = 0
    for one in text:
        category = unicodedata.category(one)
        marks = marks + 1 if category in _MARKS else 0
        if one.isspace():
            kept.append(" ")
        elif category not in _REMOVED and marks <= MAX_MARKS_PER_LETTER:
            kept.append(one)
    return "".join(kept)
