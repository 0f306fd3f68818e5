"""Finds phones in typed text: one number in any spelling, several numbers, or a number among words.

Rule 1: groups of digits are joined only where people write a phone in such groups, and never across a word or another
number.
Rule 2: digits without ``+`` or ``00`` are Brazilian. A number after ``+55`` without an area code is no phone.
Rule 3: non-geographic numbers (0800, 4004 and the like) are no person's phone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from stream.domain.phone_noise import BREAK, without_noise

BRAZIL = "55"
MAX_GROUPS = 30  # of digits in one text; further groups are not read
MAX_GROUPS_PER_PHONE = 8
MAX_COUNTRY_DIGITS = 3
MOBILE_DIGITS = 9
FIRST_OF_LEGACY_MOBILES = "6789"
ORDINAL = "\N{MASCULINE ORDINAL INDICATOR}"  # as in "nº", before a house number
MINUS = "\N{MINUS SIGN}"

# Anatel defines the area codes and the form of numbers. They change less often than a library's list of ranges.
AREA_CODE = r"1[1-9]|2[12478]|3[1-578]|4[1-9]|5[1345]|6[1-9]|7[134579]|8[1-9]|9[1-9]"
NON_GEOGRAPHIC = r"300|400|4020"  # firms' numbers that are the same in every area begin so
# Nine digits of a mobile, eight of a landline (2 to 5) or of a mobile as it was until 2016 (6 to 9).
_NUMBER = rf"9\d{{8}}|(?!{NON_GEOGRAPHIC})[2-9]\d{{7}}"
_TRUNK = r"(?:0(?:1[245]|2[1-35]|31|4[13]|[56]5|99)?)?"  # a 0, and a carrier
# 00, 55 (sometimes typed twice), trunk, area, number.
_BRAZILIAN = re.compile(rf"0{{0,2}}(?:55){{0,2}}{_TRUNK}(?P<area>{AREA_CODE})(?P<number>{_NUMBER})", re.ASCII)
_AFTER_PLUS_55 = re.compile(rf"0{{0,2}}(?:55){{1,2}}{_TRUNK}(?P<area>{AREA_CODE})(?P<number>{_NUMBER})", re.ASCII)
_WITHOUT_AREA = re.compile(rf"(?P<number>{_NUMBER})", re.ASCII)
# Positions at which people divide the digits after the area code, by the number of digits.
_DIVISIONS = {
    8: {(), (1,), (4,), (2, 4, 6), (3, 6), (3, 5), (2, 5)},
    9: {(), (1,), (5,), (4,), (1, 5), (3, 6), (2, 5), (1, 3, 5, 7), (3, 5, 7)},
}
# Without an area code fewer divisions count: 22041-001 is a postal code.
_PLAIN_DIVISIONS = {8: {(), (4,)}, 9: {(), (1,), (5,), (1, 5), (3, 6)}}

_GAP = re.compile(r"[\s.(){}\[\]_*~-]{1,8}")
_GROUP = re.compile(r"\d+", re.ASCII)
_PLUS = re.compile(r"\+[\s(\[]{0,3}\Z")
_TIGHT = frozenset({"-", "."})
_WHATSAPP_ID = re.compile(r"\s*\+?(\d+)(?::\d+)?@\S+\s*", re.ASCII)
_ADDRESSES = re.compile(r"\S*@\S*|(?:https?://|www\.)(?!wa\.me|(?:\w+\.)?whatsapp)\S+")
_FLOAT = re.compile(r"\s*\+?(\d{10,15})[.,]00?\s*", re.ASCII)
_EXPONENT = re.compile(r"\d[.,]?\d*e[+-]?\d+", re.ASCII)
_WHOLE_EXPONENT = re.compile(r"\s*(\d)[.,](\d+)e\+?(\d{1,2})\s*", re.ASCII)
_AREA_LABEL = re.compile(r"\bddd\W{0,4}(\d\d)(?!\d)[^\d|]{0,15}", re.ASCII)
_AREA_APART = re.compile(r"^(\D*0?\d\d\)?)\s*[/,:]\s*(?=\d{4}|9[ .-]?\d{4})", re.ASCII)
_DIGITS_ONLY = re.compile(r"[\d\s()+-]*", re.ASCII)
_DIGIT_BY_DIGIT = re.compile(r"\s*\d(?:[\s.-]{1,2}\d){9,14}\s*", re.ASCII)
_DATE = re.compile(r"(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2])(?:19|20)\d\d|20[0-4]\d20[0-4]\d", re.ASCII)


class _Group(NamedTuple):
    """Adjacent digits. ``gap``: the text between them and the group before, in the same run."""

    digits: str
    gap: str
    after_letter: bool


class _Run(NamedTuple):
    """Groups with only the punctuation of phones between them. ``plus``: a ``+`` stands before the first."""

    groups: list[_Group]
    plus: bool

    @property
    def digits(self) -> str:
        return "".join([group.digits for group in self.groups])


def find_phones(raw: str) -> Iterator[str]:
    """Each phone that was typed with its area code or country code, as E.164, in the order of the text."""
    text = _cleaned(raw)
    for run in _runs(text):
        yield from _phones(run, worded=_has_words(text))


def find_local(raw: str) -> str | None:
    """The only number in ``raw`` that lacks its area code, a mobile with its ninth digit; None if there are more."""
    found = {number for run in _runs(_cleaned(raw)) if (number := _local(run)) is not None}
    return found.pop() if len(found) == 1 else None


def is_only_phone(raw: str, e164: str) -> bool:
    """Whether ``raw`` contains the phone ``e164`` and nothing else."""
    text = unicodedata.normalize("NFKC", raw)
    digits = "".join(_GROUP.findall(text))
    if any(character.isalpha() or character == "@" for character in text):
        return False
    return digits.removeprefix("00") == e164[1:] or _matched(_BRAZILIAN, digits) == e164


def with_ninth_digit(number: str) -> str:
    """Add the ninth digit to a mobile of eight digits. Until 2016 mobiles had eight; then a 9 was put before them."""
    return f"9{number}" if len(number) < MOBILE_DIGITS and number[0] in FIRST_OF_LEGACY_MOBILES else number


def _cleaned(raw: str) -> str:
    """``raw`` in small letters, without accents, invisible characters and numbers that are no phone."""
    text = _plain(raw)
    known = _WHATSAPP_ID.fullmatch(text) or _FLOAT.fullmatch(text)
    if known is not None:
        return known[1]
    if _DIGIT_BY_DIGIT.fullmatch(text):
        return "".join(_GROUP.findall(text))
    exponent = _WHOLE_EXPONENT.fullmatch(text)
    if exponent is not None and len(exponent[2]) == int(exponent[3]):  # otherwise digits are lost
        return exponent[1] + exponent[2]
    if _DIGITS_ONLY.fullmatch(text) and "00" not in text and "303" not in text:
        return text
    if "@" in text or "//" in text or "www." in text:
        text = _ADDRESSES.sub(BREAK, text)
    text = _EXPONENT.sub(BREAK, text)
    text = re.sub(r"0\s*xx\s*", "0", text)
    if not _has_words(text):
        text = _AREA_APART.sub(r"\1 ", text)
    return without_noise(_AREA_LABEL.sub(r" (\1) ", text))


def _plain(raw: str) -> str:
    if raw.isascii():
        return raw.lower()
    decomposed = unicodedata.normalize("NFKD", raw.replace(ORDINAL, "\N{DEGREE SIGN}")).casefold()
    kinds = ((character, unicodedata.category(character)) for character in decomposed)
    return "".join(["-" if kind == "Pd" or one == MINUS else one for one, kind in kinds if kind not in {"Mn", "Cf"}])


def _has_words(text: str) -> bool:
    return any(character.isalpha() for character in text)


def _runs(text: str) -> Iterator[_Run]:
    run: _Run | None = None
    end = 0
    for count, found in enumerate(_GROUP.finditer(text)):
        if count == MAX_GROUPS:
            break
        between = text[end : found.start()]
        follows = run is not None and _GAP.fullmatch(between) is not None
        before = text[found.start() - 1 : found.start()]
        group = _Group(found[0], between if follows else "", before.isalpha())
        if run is not None and follows:
            run.groups.append(group)
        else:
            if run is not None:
                yield run
            run = _Run([group], _PLUS.search(between) is not None)
        end = found.end()
    if run is not None:
        yield run


def _phones(run: _Run, *, worded: bool) -> Iterator[str]:
    abroad = _abroad(run)
    if abroad.startswith(BRAZIL):
        phone = _after_plus_55(run)
        if phone is not None:
            yield phone
        return
    strict = _foreign(abroad, strictly=True) if abroad else None
    if strict is not None:
        yield strict
        return
    # "+11 98765-4321" is no number of any country: the + was meant for Brazil.
    brazilian = _brazilian_phones(run, worded=worded, whole=bool(abroad))
    yield from brazilian
    loose = _foreign(abroad, strictly=False) if abroad and not brazilian else None
    if loose is not None:
        yield loose


def _abroad(run: _Run) -> str:
    """The digits after ``+`` or ``00``; "" for a number without either."""
    digits = run.digits
    if run.plus:
        return digits
    return digits[2:] if run.groups[0].digits.startswith("00") else ""


def _after_plus_55(run: _Run) -> str | None:
    """A Brazilian phone that was typed with its country code; None if it has no area code."""
    for end in range(min(len(run.groups), MAX_GROUPS_PER_PHONE), 0, -1):
        phone = _read(_AFTER_PLUS_55, run.groups[:end])
        if phone is not None and not _is_cut_off(run.groups, end):
            return phone
    return None


def _brazilian_phones(run: _Run, *, worded: bool, whole: bool) -> list[str]:
    """The phones of a run, in order. The list ends where the same digits can be read in two ways.

    ``whole``: the first phone must begin with the run. It must also if no word explains the digits before it, because
    they may be a country code: 54 11 4321-5678 is in Buenos Aires.
    """
    phones: list[str] = []
    groups, at = run.groups, 0
    while at < len(groups):
        end, phone = _longest_at(groups, at)
        if phone is None:
            if not phones and (whole or (not worded and len(groups[0].digits) <= MAX_COUNTRY_DIGITS)):
                return phones
            at += 1
            continue
        if _is_doubtful(groups, at, end, phone) or not (worded or _is_ended(groups, at, end)):
            return phones
        phones.append(phone)
        at = end
    return phones


def _longest_at(groups: list[_Group], at: int) -> tuple[int, str | None]:
    if at and groups[at].gap in _TIGHT:
        return at, None
    for end in range(min(len(groups), at + MAX_GROUPS_PER_PHONE), at, -1):
        phone = _read(_BRAZILIAN, groups[at:end])
        if phone is not None and not _is_cut_off(groups, end):
            return end, phone
    return at, None


def _is_cut_off(groups: list[_Group], end: int) -> bool:
    """Whether the digits continue after ``end``: 119.876.501-23 is no phone, although it begins like one."""
    return end < len(groups) and groups[end].gap in _TIGHT


def _is_doubtful(groups: list[_Group], at: int, end: int, phone: str) -> bool:
    """Whether another phone begins within this one and ends after it."""
    for begin in range(at + 1, end):
        last, other = _longest_at(groups, begin)
        if other is not None and last > end and other != phone:
            return True
    return False


def _is_ended(groups: list[_Group], at: int, end: int) -> bool:
    """Whether the digits after the phone, which no word explains, are not part of it: 11 98765 0123 4 has too many."""
    behind = sum(len(group.digits) for group in groups[end:])
    return end - at == 1 or behind == 0 or behind >= MOBILE_DIGITS - 1


def _read(pattern: re.Pattern[str], groups: list[_Group]) -> str | None:
    digits = "".join([group.digits for group in groups])
    found = pattern.fullmatch(digits)
    if found is None:
        return None
    cuts, at = [], 0
    for group in groups[:-1]:
        at += len(group.digits)
        cuts.append(at)
    begin, number = found.span("number")
    area = found.start("area")
    if area + 1 in cuts or tuple(cut - begin for cut in cuts if cut > begin) not in _DIVISIONS[number - begin]:
        return None
    if begin in cuts and groups[0].after_letter and area == 0:
        return None  # B21 98765-4321: a flat, not the area code
    return _e164(found)


def _matched(pattern: re.Pattern[str], digits: str) -> str | None:
    found = pattern.fullmatch(digits)
    return None if found is None else _e164(found)


def _e164(found: re.Match[str]) -> str:
    return f"+{BRAZIL}{found['area']}{with_ninth_digit(found['number'])}"


def _local(run: _Run) -> str | None:
    """A number without an area code, alone in its run or after +55."""
    digits, groups = run.digits, run.groups
    abroad = _abroad(run)
    if abroad:
        if not abroad.startswith(BRAZIL) or groups[0].digits.removeprefix("00") != BRAZIL:
            glued = abroad.removeprefix(BRAZIL)
            return _numbered(glued) if len(groups) == 1 and glued != abroad else None
        digits, groups = abroad[len(BRAZIL) :], groups[1:]
    cuts, at = [], 0
    for group in groups[:-1]:
        at += len(group.digits)
        cuts.append(at)
    return _numbered(digits) if tuple(cuts) in _PLAIN_DIVISIONS.get(len(digits), ()) else None


def _numbered(digits: str) -> str | None:
    found = _WITHOUT_AREA.fullmatch(digits)
    return None if found is None or _DATE.fullmatch(digits) else with_ninth_digit(found["number"])


def _foreign(digits: str, *, strictly: bool) -> str | None:
    """A foreign number. ``strictly``: the library must know its range as used; otherwise a possible length will do."""
    try:
        number = phonenumbers.parse(f"+{digits}")
    except NumberParseException:
        return None
    accepted = phonenumbers.is_valid_number(number) if strictly else phonenumbers.is_possible_number(number)
    if str(number.country_code) == BRAZIL or not accepted:
        return None
    return str(phonenumbers.format_number(number, PhoneNumberFormat.E164))
