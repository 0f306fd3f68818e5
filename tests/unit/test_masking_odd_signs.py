"""Masking: a CPF or phone goes whatever signs stand in it; lists, mappings and counts of the same signs stay."""

from __future__ import annotations

from itertools import accumulate

import orjson
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from stream.logs.masked import _mask_value, mask
from tests.unit.test_masking import AREAS, CPFS, digits_of

# fmt: off
SIGNS = [
    ",", ";", ":", "|", "*", "~", "'", '"', "=", "#", "&", "!", "?", "$", "%", "^", "`", "<", ">", "[", "]", "{", "}",
    "@", "\\", ", ", " ; ", ",,", "','", '", "', "\u00b7", "\u2022", "\u00a0", "\u202f", "\u200b", "\u2060", "\ufeff",
    "\u2013", "\u00b4", "\u2019", "\u2217", "\u20ac", "\ufe0f\u20e3", "&nbsp;", "&#44;", "&#x2d;", "&middot;", "%2C",
    "%3B", "%3a", "%7C", "%2A", "%252C", "%C2%B7", "%E2%80%8B", r"\u00b7", r"\u200b", r"\xb7", r"\xa0", " ", ".", "-",
]
# fmt: on
SIGN = st.sampled_from(SIGNS)
MOBILES = st.tuples(
    st.sampled_from(["", "55", "0"]), st.sampled_from(AREAS), st.from_regex(r"9[0-9]{8}", fullmatch=True)
)
LANDLINES = st.tuples(
    st.sampled_from(["", "55"]), st.sampled_from(AREAS), st.from_regex(r"[2-8][0-9]{7}", fullmatch=True)
)
AROUND = st.sampled_from(
    [
        ("", ""),
        ("lead ", " failed"),
        ("no such person: ", ", tried 3 times"),
        ('{"cpf":"', '","attempt":2}'),
        ("{'phone': '", "', 'attempt': 2}"),
        ("offset=10231 contact=", " lag=3"),
        ("GET /Pessoa/", "?x=1 503"),
        ("cpf", "x"),
        ("at 2026-11-28T10:11:12.123456Z ", " from 10.0.0.7:9092"),
        ("<td>", "</td>"),
    ]
)


def in_groups(digits: str, lengths: tuple[int, ...]) -> list[str]:
    """Digits cut into groups of these lengths; the last group has the rest."""
    ends = [*accumulate(lengths), len(digits)]
    return [digits[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]


def joined(groups: list[str], signs: list[str]) -> str:
    """Groups with a sign between any two of them."""
    return "".join(sign + group for group, sign in zip(groups, ["", *signs], strict=False))


def clear_runs(text: str, groups: list[str]) -> list[str]:
    """Groups of three digits and more that are in clear, and the first and last ones."""
    return [group for group in groups if len(group) >= 3 and group in text]


@st.composite
def identifiers(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A CPF, mobile or landline, as one text and in the groups that people write."""
    kind = draw(st.sampled_from(["cpf", "mobile", "landline"]))
    if kind == "cpf":
        digits = draw(CPFS)
        return digits, in_groups(digits, draw(st.sampled_from([(3, 3, 3), (9,), (3, 6), (1,) * 10])))
    country, area, number = draw(MOBILES if kind == "mobile" else LANDLINES)
    shapes = [(5,), (1, 4), (1,) * 8, ()] if kind == "mobile" else [(4,), (4, 2), ()]
    prefix = [country] if country else []
    return country + area + number, [*prefix, area, *in_groups(number, draw(st.sampled_from(shapes)))]


@given(identifiers(), st.lists(SIGN, min_size=13, max_size=13), AROUND)
@example(("39053344705", ["390", "533", "447", "05"]), [";"] * 13, ("", ""))
@example(("39053344705", ["390", "533", "447", "05"]), ["%"] * 13, ("lead ", ""))
@example(("11987654321", ["11", "98765", "4321"]), [","] * 13, ("", ""))
@example(("1133334444", ["11", "3333", "4444"]), ["|"] * 13, ("", ""))
def test_a_grouped_identifier_is_masked_whatever_its_signs(
    identifier: tuple[str, list[str]], signs: list[str], around: tuple[str, str]
) -> None:
    """It is masked with one sign or several, in a line, in JSON and in the repr of a dict."""
    _, groups = identifier
    for between in (signs, signs[:1] * 13):
        shown = mask(around[0] + joined(groups, between) + around[1])
        if _is_a_place(groups, between):
            continue
        assert joined(groups, between) not in shown
        rest = shown.removeprefix(around[0]).removesuffix(around[1])
        assert not clear_runs(rest, groups), shown


def _is_a_place(groups: list[str], between: list[str]) -> bool:
    """Whether a bare landline is written as a partition and its offset are: "12: 34567890"."""
    return len(groups) == 2 and len("".join(groups)) == 10 and between[0] in {"@", " ; "}


@given(
    st.one_of(CPFS, MOBILES.map("".join)),
    st.lists(st.one_of(st.just(""), SIGN), min_size=14, max_size=14),
    st.sampled_from([("", ""), ("lead ", " failed"), ('{"x":"', '"}'), ("cpf=", "&a=b"), ("tel", "x")]),
)
def test_a_cpf_and_a_mobile_are_masked_however_they_are_grouped(
    digits: str, between: list[str], around: tuple[str, str]
) -> None:
    """It is masked with any signs between any digits, if no other digits stand beside it."""
    groups = "".join(digit + ("\n" if sign else "") for digit, sign in zip(digits, between, strict=False)).split()
    signs = [sign for sign in between[: len(digits) - 1] if sign]
    assume(around[0][-1:] not in {*signs, *(sign[-1:] for sign in signs)})
    shown = mask(around[0] + joined(groups, signs) + around[1])
    assert len(digits_of(shown)) <= 2, shown


@given(identifiers(), SIGN)
def test_a_field_of_a_line_with_an_identifier_in_pieces_is_masked(identifier: tuple[str, list[str]], sign: str) -> None:
    """The field is masked as a text and as a list of texts or numbers."""
    digits, groups = identifier
    assume(len(digits) > 10)
    for value in ({"x": {"y": joined(groups, [sign] * 13)}}, {"x": groups}, {"x": tuple(digits)}):
        shown = orjson.dumps(_mask_value("value", value)).decode()
        assert not clear_runs(shown, groups), shown
    assert _mask_value("value", [int(one) for one in digits]) == ["***"]


MAX_LOOKS_PER_DIGIT = 20  # a digit: five lengths of what begins there, in four readings of the escapes

STAYS = r"""
webhooks/3@10231
webhooks/3@1023112, webhooks/12@34567890
[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]
[4, 5, 6, 7, 8, 9, 10, 11]
[21, 22, 23, 24, 25]
[31,32,33,34,35]
{1, 2, 3, 4, 5, 6, 7, 8}
{0: 10231, 1: 10455, 2: 99312, 3: 10000, 4: 10231}
{12: 34567890, 13: 34567111}
{"12":34567890,"13":34567111}
[(12, 34567890), (13, 34567111)]
lag [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
12,345,678
12,345,678,901 bytes
R$ 1.234.567,89
R$ 12.345.678,90
10:11:12.123456
21:32:33.123456, 21:32:34.654321
1 day, 10:11:12.123456
0:00:01.234567
[28/Nov/2026:21:32:33 +0000]
28/11/2026 21:32:33 -0300
2026-11-28T10:11:12.123456Z, 2026-11-28T10:11:13.123456Z
2026-11-28T10:11:12.123456-03:00;2026-11-28
[1769860800123, 1769860800456]
at=1769860800123;offset=10231
127.0.0.1:9092,127.0.0.1:9093,10.244.13.201:54321
[::1]:9092, db:5432, kafka-0:9092
took=0.00123456789
took 0.11987654321 s
p50=0.0012, p99=0.0119, max=1.5
0.12, 0.34, 0.56, 1.98, 2.75
3.11.14, 0.14.0, 18.1
"POST /api/v1/webhooks/c2s HTTP/1.1" 200 123
(c34c2cc6-06e3-5b23-950b-525987654321, 52998224-7251-1987-6543-210987654321)
7: 52998224-7251-1987-6543-210987654321
[1, 0x7f1234567890]
5; 80ad440011987650123f00000000000000000000000000000000000000000ab0
9 of 10; 8/8; 12|34|56
+12,345,678
1e10, 1.5e10, 2.5E+11, 1.769860800123e12, 5e-07, 1.23456789e-05
10231;10455;99312
""".strip().splitlines()


@pytest.mark.parametrize("text", STAYS)
def test_what_an_operator_needs_stays(text: str) -> None:
    """Places, lists, mappings, counts, money, times, addresses, durations and versions stay, alone or side by side."""
    assert mask(text) == text
    assert mask(f"at start: {text}; and then") == f"at start: {text}; and then"


@given(st.lists(st.integers(0, 99), min_size=15, max_size=60), st.sampled_from([", ", ",", " ", ";"]))
def test_a_longer_list_of_small_integers_stays(numbers: list[int], sign: str) -> None:
    """A part of a list is no identifier unless it is grouped as people group a phone."""
    assume(sign != " ")
    text = f"[{sign.join(map(str, numbers))}]"
    assert mask(text) == text


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=40, unique=True))
def test_rising_offsets_of_partitions_stay(offsets: list[int]) -> None:
    """Offsets stay behind the name of their topic and their partition."""
    text = ", ".join(f"webhooks/{partition}@{offset}" for partition, offset in enumerate(offsets))
    assert mask(text) == text


def test_the_sections_that_are_checked_grow_linearly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of checked sections grows linearly with the length of a text, whatever it is made of."""
    from stream.logs.masking import scattered as module  # noqa: PLC0415 - counted here only

    looked: list[int] = []
    real = module._is_identifier  # noqa: SLF001 - what takes the time
    monkeypatch.setattr(module, "_is_identifier", lambda section: looked.append(len(section.digits)) or real(section))
    for unit in ("1,", "11;", "119;8|", "1%2C", "&#44;9", "12:34@", '9","', "55,11;9", "1\u200b2~"):
        looked.clear()
        text = (unit * 10_000)[:10_000]
        mask(text)
        assert len(looked) <= MAX_LOOKS_PER_DIGIT * sum(one.isdigit() for one in text), unit
        assert max(looked, default=0) <= 14
