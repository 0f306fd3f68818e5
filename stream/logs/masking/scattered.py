"""Finds CPFs and phones with unusual signs in them: ``390;533;447;05``, ``11|98765|4321``.

The same signs stand between counters, in lists and in mappings, which an operator needs. So the digits decide: eleven
digits with the check digits of a CPF, or an area code and a number. Digits that may belong to a longer list stay,
unless they are grouped as people group a CPF or a phone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from stream.logs.masking.meaning import CPF_DIGITS, LANDLINE, MAX_DIGITS, MIN_DIGITS, MOBILE, WITH_COUNTRY, is_cpf

# Where people separate the digits of a CPF, a mobile and a landline, counted from the first (of the area code).
_CPF_CUTS = frozenset({3, 6, 9})
_MOBILE_CUTS, _MOBILE_IN_THREES = frozenset({2, 3, 7}), frozenset({2, 5, 8})
_LANDLINE_CUTS, _LANDLINE_IN_PAIRS = frozenset({2, 6}), frozenset({2, 4, 6, 8})
_MIN_LONGEST_GROUP = 3  # digits: cut where people cut, everything has a group of so many
_AREA_CUT = frozenset({2})

_MIN_MANY_SIGNS = 3  # different ones: no list and no mapping has so many
_MIN_LONG_LIST = 4  # numbers
_LIST = frozenset({",", ", "})
_MAPPING = re.compile(r"[\"']:\s?|:\s|@|[=-]>|\s[=-]>\s")  # a partition's to its offset's
_OPENING = ("(", "[", "{")


class _Section(NamedTuple):
    """Some neighbouring groups of a run. ``signs`` stand between them, ``beside`` before and after them."""

    digits: Sequence[str]
    signs: Sequence[str]
    beside: Sequence[str]
    is_opened: bool  # by the bracket of a list

    @property
    def stands_alone(self) -> bool:
        """Whether it is not a part of a longer list: no sign beside it is also in it."""
        return not any(one in self.signs for one in self.beside)

    @property
    def has_many_signs(self) -> bool:
        return len(set(self.signs)) >= _MIN_MANY_SIGNS

    @property
    def is_list(self) -> bool:
        """Whether it is written as the beginning of a list or tuple of numbers."""
        return self.is_opened and len(set(self.signs)) == 1 and self.signs[0] in _LIST

    def cuts(self, begin: int) -> frozenset[int]:
        """Where its digits are separated, counted from the digit at ``begin``."""
        at, found = -begin, set()
        for one in self.digits[:-1]:
            at += len(one)
            found.add(at)
        return frozenset(cut for cut in found if cut > 0)


def find_scattered(
    digits: Sequence[str], signs: Sequence[str], odd: Sequence[bool], before: str
) -> Iterator[tuple[int, int]]:
    """The first and the last group of each identifier that contains unusual signs.

    ``digits``: the groups; ``signs``: what stands between them, one fewer; ``odd``: which signs are unusual in a phone;
    ``before``: what stands before the first group.
    """
    if len(set(signs)) == 1 and max(map(len, digits)) < _MIN_LONGEST_GROUP:
        section = _section(digits, signs, before, 0, len(digits) - 1)
        if MIN_DIGITS <= sum(map(len, digits)) <= MAX_DIGITS and _is_identifier(section):
            yield 0, len(digits) - 1
        return  # a list of small numbers
    first = 0
    while first < len(digits):
        for last in _ends(digits, odd, first):
            if _is_identifier(_section(digits, signs, before, first, last)):
                yield first, last
                first = last
                break
        first += 1


def _ends(digits: Sequence[str], odd: Sequence[bool], first: int) -> list[int]:
    """The groups at which an identifier from ``first`` with an odd sign in it may end, the furthest first."""
    ends, length, is_odd = [], len(digits[first]), False
    for last in range(first + 1, len(digits)):
        length += len(digits[last])
        if length > MAX_DIGITS:
            break
        is_odd = is_odd or odd[last - 1]
        if is_odd and length >= MIN_DIGITS:
            ends.append(last)
    return ends[::-1]


def _section(digits: Sequence[str], signs: Sequence[str], before: str, first: int, last: int) -> _Section:
    opening = signs[first - 1] if first else before
    beside = [*signs[max(first - 1, 0) : first], *signs[last : last + 1]]
    return _Section(digits[first : last + 1], signs[first:last], beside, opening.endswith(_OPENING))


def _is_identifier(section: _Section) -> bool:
    joined = "".join(section.digits)
    if len(joined) == CPF_DIGITS and is_cpf(joined):
        return section.stands_alone or section.has_many_signs or section.cuts(0) <= _CPF_CUTS
    if found := MOBILE.fullmatch(joined) or WITH_COUNTRY.fullmatch(joined):
        return _is_mobile(section, section.cuts(found.start("national")))
    if found := LANDLINE.fullmatch(joined):
        return _is_landline(section, section.cuts(found.start("national")))
    return False


def _is_mobile(section: _Section, cuts: frozenset[int]) -> bool:
    """Whether a section with the digits of a mobile is one."""
    is_usual = cuts <= _MOBILE_CUTS or cuts == _MOBILE_IN_THREES
    if is_usual and (len(cuts) > 1 or section.stands_alone):
        return True
    if section.has_many_signs:
        return True
    return section.stands_alone and not (section.is_list and _rises(section.digits))


def _is_landline(section: _Section, cuts: frozenset[int]) -> bool:
    """Whether a section with the digits of a landline is one. Every second row of ten digits looks like a landline."""
    if not section.stands_alone or section.is_list:
        return False
    if cuts == _AREA_CUT and len(section.digits) == len(cuts) + 1 and _MAPPING.fullmatch(section.signs[0]):
        return False
    if cuts <= _LANDLINE_CUTS:
        return True
    by_digit = all(len(one) == 1 for one in section.digits)
    return (by_digit or section.has_many_signs or _LANDLINE_CUTS <= cuts <= _LANDLINE_IN_PAIRS) and not _rises(
        section.digits
    )


def _rises(digits: Sequence[str]) -> bool:
    """Whether each number is larger than the one before it, as in a list of partitions."""
    numbers = [int(one) for one in digits]
    return len(numbers) >= _MIN_LONG_LIST and all(one < other for one, other in pairwise(numbers))
