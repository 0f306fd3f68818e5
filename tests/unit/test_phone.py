"""Phones: every spelling of a number is one phone, and a text without a phone is None."""

from __future__ import annotations

from dataclasses import dataclass

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.domain.identity import _PLAIN_PHONE, MAX_PHONE_CHARS, Phone, _read_any_phone

AREAS = [
    *range(11, 20), 21, 22, 24, 27, 28, *range(31, 36), 37, 38, *range(41, 50), 51, 53, 54, 55, *range(61, 70),
    71, 73, 74, 75, 77, 79, *range(81, 90), *range(91, 100),
]  # fmt: skip
CARRIERS = ["12", "14", "15", "21", "31", "41", "43", "99"]
FULL_WIDTH = "".join(chr(ord(digit) + 0xFEE0) for digit in "11987654321")


@dataclass(frozen=True)
class Number:
    """A number of the Brazilian numbering plan: the area code, and the number without its ninth digit."""

    area: str
    eight: str
    is_mobile: bool = True

    @property
    def number(self) -> str:
        """The digits after the area code."""
        return f"9{self.eight}" if self.is_mobile else self.eight

    @property
    def e164(self) -> str:
        """The number in E.164."""
        return f"+55{self.area}{self.number}"


areas = st.sampled_from(AREAS).map(str)
sevens = st.text("0123456789", min_size=7, max_size=7)
firsts = {"mobile": "123456789", "landline": "2345"}  # of the eight digits
NON_GEOGRAPHIC = ("300", "400", "4020")  # firms' numbers, the same in every area
mobiles = st.builds(Number, areas, st.tuples(st.sampled_from(firsts["mobile"]), sevens).map("".join))
landlines = st.builds(
    Number,
    areas,
    st.tuples(st.sampled_from(firsts["landline"]), sevens)
    .map("".join)
    .filter(lambda eight: not eight.startswith(NON_GEOGRAPHIC)),
    is_mobile=st.just(value=False),
)
numbers = st.one_of(mobiles, landlines)


@st.composite
def spelled(draw: st.DrawFn) -> tuple[Number, str]:
    """A number, and one of the ways in which people and databases write it."""
    one = draw(numbers)
    digits = one.number
    if one.is_mobile and one.eight[0] in "6789":
        digits = draw(st.sampled_from([digits, one.eight]))
    gap = draw(st.sampled_from(["", " ", ".", "-", " - "]))
    body = draw(st.sampled_from([digits, f"{digits[:-4]}{gap}{digits[-4:]}", f"{digits[0]} {digits[1:]}"]))
    area = draw(st.sampled_from([one.area, f"({one.area})", f"{one.area} ", f"({one.area}) ", f"[{one.area}]-"]))
    country = ["", "+55", "+55 ", "55", "0055 ", "(+55) ", "+55 0", "+ 55 (0) ", "Tel.: +55 ", "whatsapp "]
    carriers = [f"0{carrier} " for carrier in CARRIERS]
    before = draw(st.sampled_from([*country, "0", "0xx", "(0xx) ", *carriers, "00 55 ", "5555"]))
    after = draw(st.sampled_from(["", " ", " ramal 123", " Ramal: 9", " r.12", " x45", " ext. 7", "\n", " #12", " /"]))
    return one, f"{before}{area}{body}{after}"


@given(spelled())
@example((Number("55", "99887766"), "(55) 99988-7766"))
@example((Number("11", "87654321"), FULL_WIDTH))
@example((Number("11", "87654321"), "5511987654321@c.us"))
@example((Number("11", "87654321"), "https://wa.me/5511987654321"))
def test_every_spelling_of_a_phone_is_one_phone(case: tuple[Number, str]) -> None:
    """Every spelling of a Brazilian phone is read as the same phone."""
    number, typed = case
    assert Phone.parse(typed) == Phone(number.e164)


@given(numbers)
def test_a_phone_read_again_is_itself(number: Number) -> None:
    """Parsing is idempotent, and each spelling that a database is asked for is that phone and no other."""
    phone = Phone.parse(number.e164)
    assert phone is not None
    assert phone.national == number.area + number.number
    assert set(map(Phone.parse, (*phone.spellings(), str(phone.e164), phone.national))) == {phone}


@given(numbers)
def test_the_library_accepts_the_length_of_every_phone(number: Number) -> None:
    """The library calls the length of every Brazilian phone possible."""
    assert phonenumbers.is_possible_number(phonenumbers.parse(number.e164))


@given(areas, st.text("0123456789", min_size=8, max_size=9))
def test_what_the_library_calls_a_persons_number_is_one(area: str, digits: str) -> None:
    """Every landline and mobile in the library's ranges is read; a mobile of eight digits gets its 9."""
    number = phonenumbers.parse(f"+55{area}{digits}")
    kinds = {phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE}
    is_firms = len(digits) == 8 and digits.startswith(NON_GEOGRAPHIC)
    if not is_firms and phonenumbers.is_valid_number(number) and phonenumbers.number_type(number) in kinds:
        nine = "9" if len(digits) == 8 and digits[0] in "6789" else ""
        assert Phone.parse(area + digits) == Phone(f"+55{area}{nine}{digits}")


@given(st.text())
@example("+")
@example("00")
@example("+55" * 20)
@example("ramal")
def test_any_text_is_a_phone_or_none(text: str) -> None:
    """No text raises. A phone that was read is E.164 and is read as itself."""
    phone = Phone.parse(text)
    if phone is not None:
        assert phone.e164[0] == "+"
        assert phone.e164[1:].isascii()
        assert phone.e164[1:].isdecimal()
        assert Phone.parse(phone.e164) == phone


@pytest.mark.parametrize(
    ("typed", "e164"),
    [
        ("+351 912 345 678", "+351912345678"),
        ("00351912345678", "+351912345678"),
        ("(+1) 212-555-0123 ext 5", "+12125550123"),
        ("0043 664 1234567", "+436641234567"),  # 43 is a carrier in Brazil, too
        ("+51 987 654 321", "+51987654321"),  # 51 is an area in Brazil, too
    ],
)
def test_a_foreign_number_keeps_its_country(typed: str, e164: str) -> None:
    """A foreign phone keeps its country code, is not asked of Diretrix, and has one spelling."""
    phone = Phone.parse(typed)
    assert phone == Phone(e164)
    assert (phone.is_brazilian, phone.national, phone.spellings()) == (False, "", (e164,))


def test_a_plus_before_an_area_code_is_ignored() -> None:
    """``+11 98765-4321`` is a number of no country, so it is read as a Brazilian one."""
    assert Phone.parse("+11 98765-4321") == Phone("+5511987654321")


@pytest.mark.parametrize("typed", ["11 98765-4321 / 11 3333-4444", "11987654321 ou 21912344321", "11987654321,abc"])
def test_of_two_phones_in_one_field_the_first_counts(typed: str) -> None:
    """Of two phones in one field the first is read."""
    assert Phone.parse(typed) == Phone("+5511987654321")


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "0800 123 4567",
        "4004-1234",
        "98765-4321",
        "nao tem",
        "011 98765-43210",
        "(10) 98765-4321",
        "(11) 08765-4321",
        "11 88765-43210",
        "joao11987654321@gmail.com",
        "1" * 65,
    ],
)
def test_a_text_without_a_persons_phone_is_none(typed: str) -> None:
    """Toll-free numbers, missing or wrong area codes, too many digits and e-mails are no phone."""
    assert Phone.parse(typed) is None


def test_a_ninth_digit_is_taken_away_only_where_it_was_added() -> None:
    """``spellings`` drops the 9 of older ranges only: a newer mobile without it would be another person's landline."""
    assert Phone("+5511987654321").spellings() == ("11987654321", "5511987654321", "1187654321", "551187654321")
    assert Phone("+5511941234567").spellings() == ("11941234567", "5511941234567")
    assert Phone("+551133334444").spellings() == ("1133334444", "551133334444")


@given(st.from_regex(_PLAIN_PHONE, fullmatch=True) | spelled().map(lambda case: case[1]))
@example("55119876543")
@example("+5532345678")
@example("(11) 98765-4321")
@example("0 (11) 9 8765-4321")
@example("55 9123-4567")
@example("5555912345678")
@example("005511987654321")
@example("+11 98765-4321")
@example("551190000.0000")
@example("+55 98765-0001")
def test_the_fast_path_for_plain_phones_agrees_with_the_full_rules(text: str) -> None:
    """A phone that the fast pattern reads is the one that the full rules read."""
    assert Phone.parse(text) == (_read_any_phone(text) if len(text) <= MAX_PHONE_CHARS else None)
