"""The shadow of a text: a copy of the same length, in which characters that matter to masking are ASCII.

Digits of all scripts become ASCII digits; dashes, blanks and other signs become ASCII signs. The patterns search the
shadow, and the matches are replaced in the text itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_DOTS = "\u00b7\u2022\u2024\u2027\u2219\u22c5\u2212\u3002\uff0e"  # one is a minus
_FULL_WIDTH_AT = "\uff20\ufe6b"
_OTHER_SIGN = "~"  # means nothing to a pattern except that it may stand between digits


def shadow(text: str) -> str:
    """The shadow of ``text``, of the same length."""
    return text if text.isascii() else text.translate(_SHADOWS)


def replaced(pattern: re.Pattern[str], replacement: Callable[[re.Match[str]], str | None], text: str) -> str:
    """``text`` with each match of the pattern in its shadow replaced. A replacement of None leaves a match as it is."""
    pieces: list[str] = []
    at = 0
    for found in pattern.finditer(shadow(text)):
        new = replacement(found)
        if new is not None:
            pieces += text[at : found.start()], new
            at = found.end()
    return "".join([*pieces, text[at:]]) if pieces else text


class _Shadows(dict[int, int]):
    """Maps a character to its shadow; computed when the character first occurs."""

    def __missing__(self, code: int) -> int:
        self[code] = ord(_shadow_of(chr(code))) if code > 0x7F else code  # noqa: PLR2004 - the last of ASCII
        return self[code]


def _shadow_of(one: str) -> str:
    digit = unicodedata.digit(one, None)
    if digit is not None:
        return str(digit)
    category = unicodedata.category(one)
    if one in _FULL_WIDTH_AT:
        return "@"
    if category in {"Pd", "Cf"} or one in _DOTS:
        return "-"
    if one.isspace():
        return " "
    return one if category[0] in "LN" else _OTHER_SIGN


_SHADOWS = _Shadows()
