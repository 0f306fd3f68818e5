"""Masks phones and CPFs: ten to fourteen digits, with anything between them, of any script, or written as a number.

A *run* is digits with signs between them. *Ordinary* signs are those that people write between the digits of a phone:
blanks, dots, dashes, brackets and their encodings. All other signs cut a run into *pieces*, and a piece with ten digits
or more is searched for identifiers. ``scattered.py`` finds identifiers that contain other signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

from stream.logs.masking.grammar import (
    DIGIT_GROUP,
    MAY_ESCAPE,
    NUMBERS,
    ORDINARY,
    PLUS,
    READINGS,
    TYPED_PHONE,
    WHOLE_UUID,
)
from stream.logs.masking.meaning import LANDLINE, MAX_DIGITS, MIN_DIGITS, is_cpf, is_identifier, is_mobile
from stream.logs.masking.scattered import find_scattered
from stream.logs.masking.shadow import replaced, shadow

MIN_FOREIGN_DIGITS, MAX_FOREIGN_DIGITS = 8, 15  # digits after a plus
MAX_PIECE_CHARACTERS = 1_000  # a longer piece is masked as a whole
MAX_ESCAPED_CHARACTERS = 1_000  # a longer run with escapes, which are read in several ways, is masked as a whole
MAX_PLUS_CHARACTERS = 24  # of a plus and the signs behind it
MIN_SIGNIFICANT_DIGITS = 6  # of a number with an exponent; one with fewer, such as 1e10, is a round number
MAX_FRACTION_ZEROS = 2  # after the point of a number without a fraction

_DIGITS = b"0123456789"
_CPF_SHAPES = ((3, 3, 3, 2), (9, 2))
_SHAPED = frozenset(".-")
_DECIMALS = re.compile(r"(?:\d+\.\d+\s+)+\d+\.\d+")


def without_numbers(text: str) -> str:
    """``text`` without phones and CPFs."""
    seen = shadow(text)
    fewest = MIN_FOREIGN_DIGITS if "+" in seen or "%" in seen else MIN_DIGITS
    if _count_digits(seen) < fewest or WHOLE_UUID.fullmatch(text):
        return text  # true of nearly every text
    return replaced(
        TYPED_PHONE, lambda found: None if found["uuid"] else "***phone***", replaced(NUMBERS, _without_number, text)
    )


def _count_digits(text: str) -> int:
    raw = text.encode("ascii", "replace")
    return len(raw) - len(raw.translate(None, _DIGITS))


def _without_number(found: re.Match[str]) -> str | None:
    """The replacement of a match; None leaves it as it is."""
    kind, text = found.lastgroup, found[0]
    if kind == "run":
        return _without_run(text, found.string[max(found.start() - 1, 0) : found.start()])
    if kind == "clock":
        digits = "".join(filter(str.isdigit, text))
        return "***" if is_cpf(digits) else None
    if kind == "address":
        return "***" if is_cpf(found["address"].replace(".", "")) else None
    if kind == "exponent":
        return "***" if _is_identifier_number(text) else None
    return None


def _is_identifier_number(text: str) -> bool:
    """Whether a number with an exponent is a CPF or a phone."""
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    zeros = int(exponent) - len(fraction)
    if zeros < 0:
        fraction, rest = fraction[:zeros], fraction[zeros:]
        if rest.strip("0"):
            return False
    digits = (whole + fraction).lstrip("0")
    if len(digits.rstrip("0")) < MIN_SIGNIFICANT_DIGITS or len(digits) + zeros > MAX_DIGITS:
        return False
    digits += "0" * zeros
    return is_cpf(digits.zfill(11)) or is_mobile(digits) or bool(LANDLINE.fullmatch(digits))


class _Run(NamedTuple):
    """Groups of digits and the signs between them; ``starts`` says where in ``text`` each group begins."""

    text: str
    starts: Sequence[int]
    digits: Sequence[str]
    signs: Sequence[str]

    @classmethod
    def plain(cls, text: str) -> _Run:
        """The run in which all digits of a text count."""
        parts = DIGIT_GROUP.split(text)
        starts = list(accumulate(map(len, parts)))
        return cls(text, starts[:-1:2], parts[1::2], parts[2:-1:2])

    @classmethod
    def escaped(cls, text: str, reading: re.Pattern[str]) -> _Run:
        """The run in which the digits of an escape count as a part of the sign that it encodes."""
        spans = [found.span() for found in reading.finditer(text) if found.lastgroup]
        signs = [text[one[1] : other[0]] for one, other in pairwise(spans)]
        return cls(text, [start for start, _ in spans], [text[start:end] for start, end in spans], signs)

    def piece(self, first: int, last: int) -> _Run:
        """The part of the run from one group to another."""
        whole = slice(first, last + 1)
        return _Run(self.text, self.starts[whole], self.digits[whole], self.signs[first:last])

    def end(self, group: int) -> int:
        return self.starts[group] + len(self.digits[group])


Mask = tuple[int, int, str]  # start, end, replacement


def _without_run(text: str, before: str) -> str | None:
    if text.isdigit():
        return f"***{text[-2:]}" if is_identifier(text) else None
    if len(text) < MIN_FOREIGN_DIGITS or (_count_digits(text) < MIN_DIGITS and "+" not in text and "%" not in text):
        return None
    if not MAY_ESCAPE.search(text):
        masks = _masks(_Run.plain(text), before)
    elif len(text) > MAX_ESCAPED_CHARACTERS:
        return "***"
    else:
        masks = _masks(_Run.plain(text), before)
        masks = sorted(masks + [mask for one in READINGS for mask in _masks(_Run.escaped(text, one), before)])
    pieces: list[str] = []
    at = 0
    for start, end, shown in masks:
        if start >= at:
            pieces += text[at:start], shown
        elif end > at:
            pieces.append("***")
        at = max(at, end)
    return "".join([*pieces, text[at:]]) if pieces else None


def _masks(run: _Run, before: str) -> list[Mask]:
    if not run.digits:
        return []
    ordinary = {one: _is_ordinary(one) for one in set(run.signs)}
    if all(ordinary.values()):
        return _of_piece(run)
    odd = [not ordinary[one] for one in run.signs]
    masks: list[Mask] = []
    first = 0
    begin = run.starts[0]
    for start, end in find_scattered(run.digits, run.signs, odd, run.text[:begin] if begin else before):
        masks += _of_pieces(run, odd, first, start - 1)
        masks.append((run.starts[start], run.end(end), "***"))
        first = end + 1
    return masks + _of_pieces(run, odd, first, len(run.digits) - 1)


def _of_pieces(run: _Run, odd: Sequence[bool], first: int, last: int) -> list[Mask]:
    """The masks from one group to another, for identifiers with ordinary signs only."""
    masks: list[Mask] = []
    begin = first
    for at in range(first, last + 1):
        if at == last or odd[at]:
            if at > begin or len(run.digits[at]) >= MIN_FOREIGN_DIGITS:
                masks += _of_piece(run.piece(begin, at))
            begin = at + 1
    return masks


def _of_piece(piece: _Run) -> list[Mask]:
    text, start, end = piece.text, piece.starts[0], piece.end(-1)
    count = sum(map(len, piece.digits))
    if count < MIN_FOREIGN_DIGITS:
        return []
    if end - start > MAX_PIECE_CHARACTERS:
        return [(start, end, "***")]
    plus = start and PLUS.search(text, max(start - MAX_PLUS_CHARACTERS, 0), start)
    if plus and count <= MAX_FOREIGN_DIGITS:
        return [(plus.start(), end, _shown(piece, 0, len(piece.digits) - 1))]
    return [(piece.starts[first], piece.end(last), _shown(piece, first, last)) for first, last in _identifiers(piece)]


def _shown(piece: _Run, first: int, last: int) -> str:
    """The replacement of an identifier. It keeps the last two digits of one that is written without signs."""
    return f"***{piece.digits[first][-2:]}" if first == last else "***"


@lru_cache(maxsize=1_024)
def _is_ordinary(signs: str) -> bool:
    return bool(ORDINARY.fullmatch(signs))


def _identifiers(piece: _Run) -> Iterator[tuple[int, int]]:
    """The first and the last group of each phone or CPF."""
    count = len(piece.digits)
    if count > 1 and _is_whole(piece):
        yield 0, count - 1
        return
    first = 0
    while first < count:
        last = next((last for last in _ends(piece.digits, first) if _is_part(piece, first, last)), None)
        if last is None:
            first += 1
        else:
            last += _has_empty_fraction(piece, last)
            yield first, last
            first = last + 1


def _ends(digits: Sequence[str], first: int) -> list[int]:
    """The groups at which an identifier that begins at ``first`` may end, the furthest first."""
    ends, length = [], 0
    for last in range(first, len(digits)):
        length += len(digits[last])
        if length > MAX_DIGITS:
            break
        if length >= MIN_DIGITS:
            ends.append(last)
    return ends[::-1]


def _is_whole(piece: _Run) -> bool:
    """Whether a whole piece is a landline, however its digits are grouped."""
    joined = "".join(piece.digits)
    if len(joined) > MAX_DIGITS or not LANDLINE.fullmatch(joined):
        return False
    is_place = len(piece.digits) == 2 and len(piece.digits[0]) == 1  # noqa: PLR2004 - a partition and an offset
    return not is_place and not _DECIMALS.fullmatch(piece.text, piece.starts[0], piece.end(-1))


def _is_part(piece: _Run, first: int, last: int) -> bool:
    text = piece.text
    start, end = piece.starts[first], piece.end(last)
    if first == last:
        is_fraction = text[start - 1 : start] == "." and text[max(start - 2, 0) : start - 1].isdigit()
        has_fraction = text[end : end + 1] == "." and text[end + 1 : end + 2].isdigit()
        is_number = not has_fraction or _has_empty_fraction(piece, last)
        return is_identifier(piece.digits[first]) and not is_fraction and is_number
    some = piece.digits[first : last + 1]
    joined = "".join(some)
    written = text[start:end]
    if written == f"0.{some[-1]}":  # a share, or a time in seconds
        return False
    if is_cpf(joined) or is_mobile(joined):
        return True
    return tuple(map(len, some)) in _CPF_SHAPES and bool(_SHAPED & set(written))


def _has_empty_fraction(piece: _Run, last: int) -> bool:
    """Whether the next group is the ``.0`` of a number without a fraction."""
    if last + 1 >= len(piece.digits):
        return False
    start, end = piece.starts[last + 1], piece.end(last + 1)
    return (
        piece.signs[last] == "."
        and end - start <= MAX_FRACTION_ZEROS
        and not piece.digits[last + 1].strip("0")
        and not (piece.text[end : end + 1] == "." and piece.text[end + 1 : end + 2].isdigit())
    )
