"""Finds phones, CPFs and e-mails in a text, however they are written, and blots them out.

A phone or CPF is ten to fourteen digits; people and libraries put blanks, dots, dashes, brackets and worse between
them, anywhere, and write digits of other scripts. What an operator needs stays: UUIDs, dates and times, addresses of
servers, offsets, milliseconds since 1970, versions, decimals.

Everything is looked for in a *shadow* of the text, character for character the same, in which digits of all scripts
are ASCII and so are dashes and blanks; what is found there is cut out of the text itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

CPF_DIGITS = 11
FEWEST, MOST = 10, 14  # digits in a row that are a phone or a CPF
FEWEST_FOREIGN, MOST_FOREIGN = 8, 15  # digits after a plus
LONGEST_RUN = 1_000  # characters of digits and what is between them; nobody reads more, and looking closer takes long
EPOCH_DIGITS = 13  # milliseconds since 1970, until 2033; no phone of so many digits begins with a 1

_AREA = r"(?:1[1-9]|2[12478]|3[1-578]|4[1-9]|5[1345]|6[1-9]|7[134579]|8[1-9]|9[1-9])"
_MOBILE = re.compile(rf"0*(?:55)?0?{_AREA}9\d{{8}}")
_LANDLINE = re.compile(rf"0*(?:55)?0?{_AREA}[2-9]\d{{7}}")
_WITH_COUNTRY = re.compile(rf"0*55{_AREA}(?:9\d{{8}}|[2-9]\d{{7}})")

_DATE = r"(?<!\d)(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?!\d)"
_TIME = r"[T\x20]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:\x20?[+-]\d\d:?\d\d)?"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_ADDRESS = rf"(?<![\d.])(?<!\d[\s_/()-])(?:{_OCTET}\.){{3}}{_OCTET}(?![\d.])"
_BYTE = r"\\x[0-9a-fA-F]{2}"  # of a record, as Python writes it: its two digits are no part of a phone behind it
_ESCAPED = rf"%(?:20|09|2[BbDdEeFf89]|[Cc]2%[Aa]0)|\\u00[aA]0|{_BYTE}"
_BETWEEN = rf"(?:[\s.()/_+\x00-\x1f\x7f-]|\\[nrt]|{_ESCAPED})"
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_NUMBERS = re.compile(
    rf"""
    (?=[\\0-9a-fA-F*+%])
    (?:(?P<keep>
        (?<![0-9a-fA-F]){_UUID.pattern}(?![0-9a-fA-F])
        | \b(?=[0-9]*[a-fA-F])[0-9a-fA-F]{{32}}(?:[0-9a-fA-F]{{8}}|[0-9a-fA-F]{{32}})?\b  # a digest
        | \b0x[0-9a-fA-F]+
        | {_BYTE}
        | {_DATE}(?:{_TIME})?
        | \*\*\*\d\d(?!\d)  # masked before
    )
    | (?P<address>{_ADDRESS})(?::\d{{1,5}}\b)?
    | (?P<run>
        (?:(?<={_BYTE})|(?<!\d))(?:(?:\+|%2[Bb]){_BETWEEN}{{0,3}})?
        \d(?:{_BETWEEN}{{0,3}}(?!{_DATE}|{_ADDRESS})\d){{7,}}
    ))
    """,
    re.VERBOSE | re.ASCII,
)
_DIGITS = b"0123456789"
_GROUP = re.compile(rf"{_ESCAPED}|(?P<digits>\d+)", re.ASCII)
_TYPED_PHONE = re.compile(
    rf"(?P<uuid>(?<![0-9a-fA-F]){_UUID.pattern}(?![0-9a-fA-F])|\b(?=[0-9]*[a-fA-F])[0-9a-fA-F]{{32}}\b)"
    r"|(?<![\w.])(?:\+?55[\s.-]*)?(?:\(0?\d{2}\)|0?\d{2})[\s.-]*(?:9[\s.-]?)?\d{4}[\s.-]?\d{4}(?!\w|\.\d)",
    re.ASCII,
)
_CPF_SHAPES = ((3, 3, 3, 2), (9, 2))
_SHAPED = frozenset(".-")
_DECIMALS = re.compile(r"(?:\d+\.\d+\s+)+\d+\.\d+")

_DOTS = "\u00b7\u2022\u2024\u2027\u2219\u22c5\u2212\u3002\uff0e"  # and a minus
_FULL_WIDTH_AT = "\uff20\ufe6b"

# One word with an "@" in it, however that is spelt; and one whose "@" stands between blanks.
_WORD = re.compile(r"[^\s\"'<>()\[\]{},;:/=?&]+")
_AT = re.compile(r"@|%(?:25)*40|\\+u0040", re.IGNORECASE)
_QUOTED_LOCAL = re.compile(r"\"[^\"\n]{1,64}\"(?=@|%(?:25)*40)")
_SPACED_AT = re.compile(
    r"(?<!\S)[^\s\"'<>()\[\]{},;:/=?&@]{1,64}(?:\s{1,3}@\s{0,3}|@\s{1,3})(?:[\w-]{1,63}\s?\.\s?){1,8}\w{2,63}"
)
_MASKED_EMAIL = re.compile(r"[^@*]?\*{3}@[^@*]?\*{3}")


def without_emails(text: str) -> str:
    """``text`` without e-mails: any word with something before and after an "@"."""
    if not _AT.search(_shadow(text)):
        return text
    text = _replaced(_SPACED_AT, lambda _: "***@***", text)
    text = _replaced(_QUOTED_LOCAL, lambda _: "quoted", text)
    return _replaced(_WORD, _without_email, text)


def without_numbers(text: str) -> str:
    """``text`` without phones and CPFs."""
    if _has_few_digits(_shadow(text)) or _UUID.fullmatch(text):
        return text
    return _replaced(
        _TYPED_PHONE, lambda found: None if found["uuid"] else "***phone***", _replaced(_NUMBERS, _without_number, text)
    )


def is_identifier(digits: str) -> bool:
    """Whether so many digits in a row are a phone or a CPF."""
    return FEWEST <= len(digits) <= MOST and not (len(digits) == EPOCH_DIGITS and digits[0] == "1")


def is_cpf(digits: str) -> bool:
    """Whether eleven digits have the two check digits of a CPF."""
    if len(digits) != CPF_DIGITS:
        return False
    numbers = [int(digit) for digit in digits]
    return all(
        sum(number * weight for number, weight in zip(numbers, range(count + 1, 1, -1), strict=False)) * 10 % 11 % 10
        == numbers[count]
        for count in (9, 10)
    )


def _has_few_digits(shadow: str) -> bool:
    """Whether there are too few for any phone: so it is with nearly every line."""
    raw = shadow.encode("ascii", "replace")
    return len(raw) - len(raw.translate(None, _DIGITS)) < FEWEST_FOREIGN


def _without_email(found: re.Match[str]) -> str | None:
    word = found[0]
    at = _AT.search(word)
    if at is None or _MASKED_EMAIL.fullmatch(word):
        return None
    local, domain = word[: at.start()], word[at.end() :]
    is_password = not local.strip("*") and local  # what is left of a URL's, before the host
    return "***@***" if local and domain and not is_password else None


def _without_number(found: re.Match[str]) -> str | None:
    """What stands for a match; None leaves it as it is."""
    if found["keep"]:
        return None
    if found["address"]:
        return "***" if is_cpf(found["address"].replace(".", "")) else None
    run = found["run"]
    if len(run) > LONGEST_RUN:
        return "***"
    groups = [(group.start("digits"), group.end("digits")) for group in _GROUP.finditer(run) if group["digits"]]
    digits = [run[start:end] for start, end in groups]
    if run[0] in "+%" and FEWEST_FOREIGN <= sum(map(len, digits)) <= MOST_FOREIGN:
        return f"***{run[-2:]}" if len(digits) == 1 else "***"
    pieces: list[str] = []
    at = 0
    for first, last in _identifiers(run, groups, digits):
        start, end = groups[first][0], groups[last][1]
        pieces += run[at:start], f"***{run[end - 2 : end]}" if first == last else "***"
        at = end
    return "".join([*pieces, run[at:]]) if pieces else None


def _identifiers(run: str, groups: list[tuple[int, int]], digits: list[str]) -> Iterator[tuple[int, int]]:
    """The groups of digits, from one to another, that together are a phone or a CPF."""
    count = len(groups)
    if count > 1 and _is_whole(run, digits):
        yield 0, count - 1
        return
    first = 0
    while first < count:
        last = next((last for last in _ends(digits, first) if _is_part(run, groups, digits, first, last)), None)
        if last is None:
            first += 1
        else:
            yield first, last
            first = last + 1


def _ends(digits: list[str], first: int) -> list[int]:
    """Where what begins at a group may end, the furthest first."""
    ends, length = [], 0
    for last in range(first, len(digits)):
        length += len(digits[last])
        if length > MOST:
            break
        if length >= FEWEST:
            ends.append(last)
    return ends[::-1]


def _is_whole(run: str, digits: list[str]) -> bool:
    """Whether a run is a phone, in whatever way it is cut: nothing else stands beside it."""
    joined = "".join(digits)
    if len(joined) > MOST or not _LANDLINE.fullmatch(joined):
        return False
    is_place = len(digits) == 2 and len(digits[0]) == 1  # noqa: PLR2004 - a partition and an offset
    return not is_place and not _DECIMALS.fullmatch(run)


def _is_part(run: str, groups: list[tuple[int, int]], digits: list[str], first: int, last: int) -> bool:
    if first == last:
        start, end = groups[first]
        is_fraction = run[start - 1 : start] == "." and run[max(start - 2, 0) : start - 1].isdigit()
        has_fraction = run[end : end + 1] == "." and run[end + 1 : end + 2].isdigit()
        return is_identifier(digits[first]) and not is_fraction and not has_fraction
    some = digits[first : last + 1]
    joined = "".join(some)
    if is_cpf(joined) or _MOBILE.fullmatch(joined) or _WITH_COUNTRY.fullmatch(joined):
        return True
    written = run[groups[first][0] : groups[last][1]]
    return tuple(map(len, some)) in _CPF_SHAPES and bool(_SHAPED & set(written))


def _replaced(pattern: re.Pattern[str], replacement: Callable[[re.Match[str]], str | None], text: str) -> str:
    """``text`` with what the pattern finds in its shadow replaced; None leaves a match as it is."""
    pieces: list[str] = []
    at = 0
    for found in pattern.finditer(_shadow(text)):
        new = replacement(found)
        if new is not None:
            pieces += text[at : found.start()], new
            at = found.end()
    return "".join([*pieces, text[at:]]) if pieces else text


def _shadow(text: str) -> str:
    return text if text.isascii() else text.translate(_SHADOWS)


class _Shadows(dict[int, int]):
    """What a character stands for; made when it is first met."""

    def __missing__(self, code: int) -> int:
        one = chr(code)
        digit = unicodedata.digit(one, None)
        if digit is not None:
            self[code] = ord("0") + digit
            return self[code]
        category = unicodedata.category(one)
        if one in _FULL_WIDTH_AT:
            self[code] = ord("@")
        elif category in {"Pd", "Cf"} or one in _DOTS:
            self[code] = ord("-")
        elif one.isspace():
            self[code] = ord(" ")
        else:
            return code
        return self[code]


_SHADOWS = _Shadows()
