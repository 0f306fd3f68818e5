"""The patterns of ``numbers.py``: how numbers, and the signs between their digits, are written.

Rule: every repetition is bounded or possessive, so that no text makes a search backtrack without end.
"""

from __future__ import annotations

import re

MAX_SIGNS = 6  # between two digits

_DATE = r"(?<!\d)(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?!\d)"
_TIME = r"[T\x20]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:\x20?[+-]\d\d:?\d\d)?"
_CLOCK = r"(?<![\d:])\d{1,3}:[0-5]\d:[0-5]\d(?:[.,]\d{1,9})?(?![\d:])"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_ADDRESS = rf"(?<![\d.])(?<!\d[\s_/()-])(?:{_OCTET}\.){{3}}{_OCTET}(?![\d.])"
_UUID = r"(?<![0-9a-fA-F])[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![0-9a-fA-F])"
_DIGEST = r"\b(?=[0-9]*[a-fA-F])[0-9a-fA-F]{32}(?:[0-9a-fA-F]{8}|[0-9a-fA-F]{32})?\b"
_HEXADECIMAL = r"\b0x[0-9a-fA-F]+"
_WITH_EXPONENT = r"(?<![\d.])\d{1,15}\.\d{1,15}[eE]\+?\d\d?(?![\d.])"
_BYTE = r"\\x[0-9a-fA-F]{2}"  # a byte as Python prints it: its two digits do not belong to a phone behind it

# The digits of an escape may belong to a phone ("%21" is "!", or a percent sign and an area code): both are tried.
_ESCAPED_BLANK = rf"%(?:20|09|2[BbDdEeFf89]|[Cc]2%[Aa]0)|\\u00[aA]0|{_BYTE}"
_ESCAPED_SIGN = (
    rf"{_BYTE}|\\u[0-9a-fA-F]{{4}}|\\U[0-9a-fA-F]{{8}}|&(?:\#(?:\d{{1,7}}|[xX][0-9a-fA-F]{{1,6}})|[A-Za-z]{{2,31}});"
)
_PERCENT = (
    r"%(?:25){0,3}(?:0[09AaDd]|2[0-9A-Fa-f]|3[A-Fa-f]|40|5[B-Fb-f]|60|7[B-Fb-f]"
    r"|[C-Fc-f][0-9A-Fa-f](?:%(?:25){0,3}[89ABab][0-9A-Fa-f]){1,3})"
)
_ESCAPED = f"{_ESCAPED_SIGN}|{_PERCENT}"
# In a run, an escape of a sign and digits only is read as these, because its digits may be the last of a phone.
_WITH_LETTERS = (
    rf"{_BYTE}|\\u[0-9a-fA-F]{{4}}|\\U[0-9a-fA-F]{{8}}|&(?:\#[xX][0-9a-fA-F]{{1,6}}|[A-Za-z]{{2,31}});"
    r"|%(?:25){0,3}(?:[02357][A-Fa-f]|[C-Fc-f][0-9A-Fa-f](?:%(?:25){0,3}[89ABab][0-9A-Fa-f]){0,3})"
)
_SIGN = rf"(?:\\[nrt]|{_WITH_LETTERS}|[\x00-/:-@\[-`{{-\x7f])"
_ORDINARY_SIGN = rf"(?:[\s.()/_+\x00-\x1f\x7f-]|\\[nrt]|{_ESCAPED_BLANK})"
_MASKED_BEFORE = r"(?<=\D\*\*\*)\d\d(?!\d)"
# Never an identifier, and never a part of a run.
_KEPT = f"{_DATE}|{_CLOCK}|{_ADDRESS}|{_UUID}|{_DIGEST}|{_HEXADECIMAL}|{_WITH_EXPONENT}|{_MASKED_BEFORE}"

NUMBERS = re.compile(
    rf"""
    (?=[\\0-9a-fA-F*+%&])
    (?:(?P<keep>{_UUID} | {_DIGEST} | {_HEXADECIMAL} | {_BYTE} | {_DATE}(?:{_TIME})? | \*\*\*\d\d(?!\d))
    | (?P<clock>{_CLOCK})
    | (?P<address>{_ADDRESS})(?::\d{{1,5}}\b)?
    | (?P<exponent>{_WITH_EXPONENT})
    | (?P<run>
        (?:(?<={_BYTE})|(?<!\d))
        (?:{_ESCAPED}){{0,{MAX_SIGNS}}}+ (?:\+{_ORDINARY_SIGN}{{0,3}}+)?
        \d++ (?:{_SIGN}{{1,{MAX_SIGNS}}}+ (?!{_KEPT}) \d++)*+
    ))
    """,
    re.VERBOSE | re.ASCII,
)
READINGS = [re.compile(rf"{escapes}|(?P<digits>\d+)", re.ASCII) for escapes in (_ESCAPED, _ESCAPED_SIGN, _WITH_LETTERS)]
DIGIT_GROUP = re.compile(r"(\d+)", re.ASCII)
MAY_ESCAPE = re.compile(r"[%\\&]")
ORDINARY = re.compile(rf"{_ORDINARY_SIGN}{{1,3}}", re.ASCII)
PLUS = re.compile(rf"(?:\+|%2[Bb]){_ORDINARY_SIGN}{{0,3}}\Z", re.ASCII)
TYPED_PHONE = re.compile(
    rf"(?P<uuid>{_UUID}|\b(?=[0-9]*[a-fA-F])[0-9a-fA-F]{{32}}\b)"
    r"|(?<![\w.])(?:\+?55[\s.-]*)?(?:\(0?\d{2}\)|0?\d{2})[\s.-]*(?:9[\s.-]?)?\d{4}[\s.-]?\d{4}(?!\w|\.\d)",
    re.ASCII,
)
WHOLE_UUID = re.compile(_UUID)
