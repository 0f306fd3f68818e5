"""Decides what a row of digits may be: a CPF, a Brazilian phone, or neither."""

from __future__ import annotations

import re
from operator import mul

CPF_DIGITS = 11
MIN_DIGITS, MAX_DIGITS = 10, 14  # digits in a row that are a phone or a CPF
EPOCH_DIGITS = 13  # of milliseconds since 1970; until 2033 they begin with a 1, as no phone of so many digits does
_WEIGHTS = range(11, 1, -1)  # of a CPF's digits, for its second check digit

_AREA = r"(?:1[1-9]|2[12478]|3[1-578]|4[1-9]|5[1345]|6[1-9]|7[134579]|8[1-9]|9[1-9])"
MOBILE = re.compile(rf"0*(?:55)?0?(?P<national>{_AREA}9\d{{8}})")
LANDLINE = re.compile(rf"0*(?:55)?0?(?P<national>{_AREA}[2-9]\d{{7}})")
WITH_COUNTRY = re.compile(rf"0*55(?P<national>{_AREA}(?:9\d{{8}}|[2-9]\d{{7}}))")


def is_identifier(digits: str) -> bool:
    """Whether a row of digits is a phone or a CPF, judged by its length."""
    return MIN_DIGITS <= len(digits) <= MAX_DIGITS and not (len(digits) == EPOCH_DIGITS and digits[0] == "1")


def is_cpf(digits: str) -> bool:
    """Whether eleven digits have the two check digits of a CPF."""
    if len(digits) != CPF_DIGITS:
        return False
    numbers = [int(digit) for digit in digits]
    first = sum(map(mul, numbers, _WEIGHTS[1:])) * 10 % 11 % 10
    second = sum(map(mul, numbers, _WEIGHTS)) * 10 % 11 % 10
    return bool(first == numbers[9] and second == numbers[10])


def is_mobile(digits: str) -> bool:
    """Whether digits are a mobile with its area code, or any Brazilian phone with its country code."""
    return bool(MOBILE.fullmatch(digits) or WITH_COUNTRY.fullmatch(digits))
