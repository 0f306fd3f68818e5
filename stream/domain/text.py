"""Text from outside, made fit for a person to read: one line, and nothing in it that acts on what shows it.

Every name and value that somebody else wrote passes through here once, where it leaves for a person: the CRM, a
terminal, a spreadsheet, a page. What is stored and published stays as it was received.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

CUT = "…"
MOST_MARKS = 4  # combining marks on one letter; more of them paint over the lines above and below
_REMOVED = frozenset({"Cc", "Cf", "Cs", "Co"})  # control, format (bidi, zero-width, tags), surrogates, private use
_MARKS = frozenset({"Mn", "Me"})
# Invisible although their category says letter, symbol or mark: fillers, joiners, variation selectors but for the two
# that choose between the text and the emoji form of a character.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\ufe00-\ufe0d\U000e0100-\U000e01ef]"
)
# What a terminal carries out: a title or hyperlink (OSC and its kin, up to their end), a movement or colour (CSI).
_SEQUENCE = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
)
# A spreadsheet takes a cell that begins so for a formula, full-width forms too.
_FORMULA = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_BEGINS_FORMULA = re.compile(f"[{_FORMULA}]")
# Where a comma is the decimal sign, a spreadsheet cuts cells at semicolons, quoted or not.
_LATER_FORMULA = re.compile(f"([;,|])(?= *[{_FORMULA}])")
_FIGURE = re.compile(r"[+-]?\d+(?:[.,]\d+)*%?", re.ASCII)
_MOST_DECODINGS = 3


def one_line(text: str, limit: int | None = None) -> str:
    """``text`` as one line that does nothing: control and format characters removed, white space collapsed.

    Accents, other scripts and emoji stay. ``limit``: at most so many characters; what was cut ends with "…".
    """
    if not (text.isascii() and text.isprintable()):
        text = _harmless(text)
    text = " ".join(text.split())
    if limit is None or len(text) <= limit:
        return text
    return text[: limit - 1].rstrip() + CUT


def cell(text: str) -> str:
    """``text`` as a cell of a CSV file: one line, and no formula. Figures stay figures."""
    text = one_line(text)
    if _FIGURE.fullmatch(text):
        return text
    return ("'" if _BEGINS_FORMULA.match(text) else "") + _LATER_FORMULA.sub(r"\1'", text)


def is_id(text: str) -> bool:
    """Whether ``text`` can be an id of ours to pass on: it is printable, and no path leads elsewhere through it.

    As one segment of a URL's path, "." and ".." would name another resource, also where somebody decodes them once
    more on the way.
    """
    if not text.isprintable() or not text.strip():
        return False
    if "." not in text and "%" not in text:
        return True
    for _ in range(_MOST_DECODINGS):
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
        elif category not in _REMOVED and marks <= MOST_MARKS:
            kept.append(one)
    return "".join(kept)
