"""Finds CPFs and phones with signs in them that nobody writes there: ``390;533;447;05``, ``11|98765|4321``.

The same signs stand between counters, in lists and in mappings, which an operator needs. So the digits decide: eleven
with the check digits of a CPF, or an area code and a number. Digits that could be a part of a longer list are left,
unless they are cut where people cut a CPF or a phone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from stream.logs.masking.meaning import CPF_DIGITS, FEWEST, LANDLINE, MOBILE, MOST, WITH_COUNTRY, is_cpf

# Where people cut a CPF, a mobile and a landline, in digits from its first one (of the area code).
_CPF_CUTS = frozenset({3, 6, 9})
_MOBILE_CUTS, _MOBILE_IN_THREES = frozenset({2, 3, 7}), frozenset({2, 5, 8})
_LANDLINE_CUTS, _LANDLINE_IN_PAIRS = frozenset({2, 6}), frozenset({2, 4, 6, 8})
_SHORTEST_USUAL = 3  # digits: cut where people cut, everything has a group of so many
_AREA_CUT = frozenset({2})

_MANY_SIGNS = 3  # different ones: no list and no mapping has so many
_LONG_LIST = 4  # numbers
_LIST = frozenset({",", ", "})
_MAPPING = re.compile(r"[\"']:\s?|:\s|@|[=-]>|\s[=-]>\s")  # a partition's to its offset's
_OPENING = ("(", "[", "{")


class _Part(NamedTuple):
    """Some neighbours of a run: ``signs`` stand between them, ``beside`` between them and others."""

    digits: Sequence[str]
    signs: Sequence[str]
    beside: Sequence[str]
    is_opened: bool  # by the bracket of a list

    @property
    def stands_alone(self) -> bool:
        """Whether it does not go on in a list: what is beside it is not what is in it."""
        return not any(one in self.signs for one in self.beside)

    @property
    def has_many_signs(self) -> bool:
        return len(set(self.signs)) >= _MANY_SIGNS

    @property
    def is_list(self) -> bool:
        """Whether it is written as the beginning of a list or tuple of numbers."""
        return self.is_opened and len(set(self.signs)) == 1 and self.signs[0] in _LIST

    def cuts(self, begin: int) -> frozenset[int]:
        """Where it is cut, in digits from the one at ``begin``."""
        at, found = -begin, set()
        for one in self.digits[:-1]:
            at += len(one)
            found.add(at)
        return frozenset(cut for cut in found if cut > 0)


def scattered(
    digits: Sequence[str], signs: Sequence[str], odd: Sequence[bool], before: str
) -> Iterator[tuple[int, int]]:
    """The groups of ``digits``, from one to another, that together are somebody's.

    ``signs`` stand between the groups, one fewer than these; ``odd`` says which of them nobody writes in a phone;
    ``before`` is what stands before the first group.
    """
    if len(set(signs)) == 1 and max(map(len, digits)) < _SHORTEST_USUAL:
        part = _part(digits, signs, before, 0, len(digits) - 1)
        if FEWEST <= sum(map(len, digits)) <= MOST and _is_somebodys(part):
            yield 0, len(digits) - 1
        return  # a list of small numbers
    first = 0
    while first < len(digits):
        for last in _ends(digits, odd, first):
            if _is_somebodys(_part(digits, signs, before, first, last)):
                yield first, last
                first = last
                break
        first += 1


def _ends(digits: Sequence[str], odd: Sequence[bool], first: int) -> list[int]:
    """Where what begins at a group may end behind an odd sign, the furthest first."""
    ends, length, is_odd = [], len(digits[first]), False
    for last in range(first + 1, len(digits)):
        length += len(digits[last])
        if length > MOST:
            break
        is_odd = is_odd or odd[last - 1]
        if is_odd and length >= FEWEST:
            ends.append(last)
    return ends[::-1]


def _part(digits: Sequence[str], signs: Sequence[str], before: str, first: int, last: int) -> _Part:
    opening = signs[first - 1] if first else before
    beside = [*signs[max(first - 1, 0) : first], *signs[last : last + 1]]
    return _Part(digits[first : last + 1], signs[first:last], beside, opening.endswith(_OPENING))


def _is_somebodys(part: _Part) -> bool:
    joined = "".join(part.digits)
    if len(joined) == CPF_DIGITS and is_cpf(joined):
        return part.stands_alone or part.has_many_signs or part.cuts(0) <= _CPF_CUTS
    if found := MOBILE.fullmatch(joined) or WITH_COUNTRY.fullmatch(joined):
        return _is_mobile(part, part.cuts(found.start("national")))
    if found := LANDLINE.fullmatch(joined):
        return _is_landline(part, part.cuts(found.start("national")))
    return False


def _is_mobile(part: _Part, cuts: frozenset[int]) -> bool:
    """Whether what has the digits of a mobile is one."""
    is_usual = cuts <= _MOBILE_CUTS or cuts == _MOBILE_IN_THREES
    if is_usual and (len(cuts) > 1 or part.stands_alone):
        return True
    if part.has_many_signs:
        return True
    return part.stands_alone and not (part.is_list and _rises(part.digits))


def _is_landline(part: _Part, cuts: frozenset[int]) -> bool:
    """Whether what has the digits of a landline is one: every second row of ten digits has."""
    if not part.stands_alone or part.is_list:
        return False
    if cuts == _AREA_CUT and len(part.digits) == len(cuts) + 1 and _MAPPING.fullmatch(part.signs[0]):
        return False
    if cuts <= _LANDLINE_CUTS:
        return True
    by_digit = all(len(one) == 1 for one in part.digits)
    return (by_digit or part.has_many_signs or _LANDLINE_CUTS <= cuts <= _LANDLINE_IN_PAIRS) and not _rises(part.digits)


def _rises(digits: Sequence[str]) -> bool:
    """Whether each number is larger than the one before it, as in a list of partitions."""
    numbers = [int(one) for one in digits]
    return len(numbers) >= _LONG_LIST and all(one < other for one, other in pairwise(numbers))
