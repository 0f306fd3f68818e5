"""Phones in typed text: a phone among words, several phones, and numbers that are no phone."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.domain.identity import MAX_PHONE_CHARS, Phone
from stream.domain.phone_text import find_local, find_phones

ANA = "+5511987650123"
FIXED = "+551132221234"


@pytest.mark.parametrize(
    ("typed", "e164"),
    [
        ("ligar depois das 18h 11987650123", ANA),
        ("ligar depois das 18h, 11 98765-0123", ANA),
        ("meu zap é 11 98765-0123 falar com Ana", ANA),
        ("Ana (11)98765-0123", ANA),
        ("(11)98765-0123 ou (11) 3222-1234", ANA),
        ("11 98765-0123 11 3222-1234", ANA),
        ("11987650123 1132221234", ANA),
        ("11 3222-1234 e 11 98765-0123", FIXED),
        ("11 3222-1234/1235", FIXED),
        ("3222-1234 / 11 98765-0123", ANA),
        ("3222 1234 11 98765-0123", ANA),
        ("fixo 3222-1234, celular 11 98765-0123", ANA),
        ("18:30 11 98765-0123", ANA),
        ("após as 18 11 98765-0123", ANA),
        ("das 9 às 18 (11) 98765-0123", ANA),
        ("de 9h a 18h no 11 98765-0123", ANA),
        ("entre 8 e 12h 11987650123", ANA),
        ("ligue no 11 98765-0123 até as 20h", ANA),
        ("apto 101 11 98765-0123", ANA),
        ("ap 21 bloco 2, tel 11 98765-0123", ANA),
        ("11 98765-0123 ap 42", ANA),
        ("Rua das Flores, 21 - tel 11 98765-0123", ANA),
        ("moro na rua Augusta, meu celular (11) 98765-0123", ANA),
        ("R$ 350.000 11 98765-0123", ANA),
        ("até 350.000,00 11 98765-0123", ANA),
        ("até 350 mil 11 98765-0123", ANA),
        ("Ana, 35 anos, 11 98765-0123", ANA),
        ("2024 11 98765-0123", ANA),
        ("dia 15/11 11 98765-0123", ANA),
        ("dia 15 11 98765-0123", ANA),
        ("em 2026 11 98765-0123", ANA),
        ("2 quartos 11 98765-0123", ANA),
        ("CEP 01310-100 11 98765-0123", ANA),
        ("CPF 529.982.247-25 tel 11 98765-0123", ANA),
        ("11 98765-0123 cpf 529.982.247-25", ANA),
        ("DDD 11 tel 98765-0123", ANA),
        ("ddd: 11 número: 98765-0123", ANA),
        ("0800 123 4567 11 98765-0123", ANA),
        ("ana@x.com 11 98765-0123", ANA),
        ("11 98765-0123 ana1987@x.com", ANA),
        ("11987650123.0", ANA),
        ("1.1987650123E+10", ANA),
        ("5,511987650123e+12", ANA),
        ("11 98765 0123", ANA),
        ("11 987 650 123", ANA),
        ("11.98765.0123", ANA),
        ("11.987.650.123", ANA),
        ("119 8765-0123", ANA),
        ("11 9.8765-0123", ANA),
        ("11, 98765-0123", ANA),
        ("(11)/98765-0123", ANA),
        ("11 \N{EN DASH} 98765\N{NON-BREAKING HYPHEN}0123", ANA),
        ("\N{LEFT-TO-RIGHT EMBEDDING}+55 11 98765-0123\N{POP DIRECTIONAL FORMATTING}", ANA),
        ("11 8765-0123", ANA),
        ("https://api.whatsapp.com/send?phone=5511987650123", ANA),
        ("5511987650123:12@s.whatsapp.net", ANA),
        ("tel:+5511987650123", ANA),
        ("1 1 9 8 7 6 5 0 1 2 3", ANA),
        ("nº 11 98765-0123", ANA),
        ("55-11-98765-0123", ANA),
        ("55 98765-0001", "+5555987650001"),
        ("(55) 98765-0001", "+5555987650001"),
        ("5598765-0001", "+5555987650001"),
        ("055 98765-0001", "+5555987650001"),
        ("+55 55 98765-0001", "+5555987650001"),
        ("+55 (55) 3222-1234", "+555532221234"),
        ("meu número é +351 912 345 678, obrigado", "+351912345678"),
        ("+51 987 654 022", "+51987654022"),
        ("0051 987 654 022", "+51987654022"),
        ("51 987 654 022", "+5551987654022"),
        ("+34 612 34 56 78 ou 11 98765-0123", "+34612345678"),
        ("+44 (0)20 7946 0018", "+442079460018"),
    ],
)
def test_the_phone_among_other_things_is_found(typed: str, e164: str) -> None:
    """Words, hours, prices, flats and a second number do not hide a phone and are not part of it."""
    assert Phone.parse(typed) == Phone(e164)


@pytest.mark.parametrize(
    "typed",
    [
        "+55 98765-0001",
        "+5598765-0001",
        "0055 98765 0001",
        "(+55) 98765-0001",
        "+55 3222-1234",
        "+55 4004-1234",
        "+55 987650001",
        "+55 0 98765-0001",
        "+55 98765-0001 1",
        "98765-0123",
        "3222-1234",
        "4004-1234",
        "(11) 4004-1234",
        "55 4004-1234",
        "11 3003-1234",
        "0800 123 4567",
        "0800-701-1234",
        "0300 123 4567",
        "0303 123 4567",
        "190",
        "*144",
        "às 11 98765-0123",
        "depois das 21 98765-0123",
        "das 9 às 18 3222-1234",
        "entre 9 e 18 98765-0123",
        "apto 21 98765-0123",
        "ap21 98765-0123",
        "apt. 21 3222-1234",
        "bloco 11 98765-0123",
        "B21 98765-0123",
        "casa 31 3222-1234",
        "Rua das Flores 21 98765-0123",
        "dia 15/11 98765-0123",
        "11 filhos 98765-0123",
        "11 e 98765-0123",
        "11 ou 98765-0123",
        "3222-1234 11",
        "3222-123411",
        "98765 43210",
        "11 98765-43210",
        "11 98765-012",
        "11 98765 0123 4",
        "Rua A, nº 21 98765-0123",
        "21 11 98765 0123 45",
        "11 9876 | 50123",
        "529.982.247-25",
        "119.876.501-23",
        "CPF 11987650123",
        "11987650123-4",
        "1.19876E+10",
        "1.198765012E+10",
        "11987650123@gmail.com.br joao",
        "joao11987650123@gmail.com",
        "joao 11987650123@gmail.com",
        "https://example.com/imovel/11987650123",
        "11.987.650/0001-23",
        "protocolo 11987650123",
        "R$ 11.987.650,12",
        "2019 2020",
        "1" * (MAX_PHONE_CHARS + 1),
    ],
)
def test_numbers_that_are_no_phone_are_not_read(typed: str) -> None:
    """Numbers without area code, non-geographic ones, hours, flats, documents and parts of numbers are no phone."""
    assert Phone.parse(typed) is None


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("98765-0001", "987650001"),
        ("987650001", "987650001"),
        ("9 8765-0001", "987650001"),
        ("8765-0001", "987650001"),
        ("3222-1234", "32221234"),
        ("32221234", "32221234"),
        ("+55 98765-0001", "987650001"),
        ("+55987650001", "987650001"),
        ("0055 3222-1234", "32221234"),
        ("às 18h no 98765-0001", "987650001"),
        ("apto 21 98765-0001", "987650001"),
        ("meu zap 98765-0001", "987650001"),
    ],
)
def test_a_number_that_lacks_its_area_code_is_found(typed: str, number: str) -> None:
    """A landline or old mobile of eight digits and a mobile of nine can be completed."""
    assert find_local(typed) == number


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "4004-1234",
        "4003 1234",
        "3003-1234",
        "3004-1234",
        "4020-1234",
        "+55 4004-1234",
        "+55 3003-1234",
        "0800 123 4567",
        "0300 123 4567",
        "0500 123 456",
        "0900 123 456",
        "0303 123 4567",
        "190",
        "12345678",
        "01234567",
        "22041-001",
        "CEP 22041001",
        "25122025",
        "2024-2025",
        "(10) 98765-4321",
        "98765-432",
        "98765-43210",
        "98765-0001 ou 3222-1234",
        "+51 987 654",
        "+1 9876-5001",
        "nao tem",
    ],
)
def test_other_numbers_are_not_completed(typed: str) -> None:
    """Non-geographic and short numbers, postal codes, dates and two numbers at once are never completed."""
    assert find_local(typed) is None


PIECES = (
    *(
        "11",
        "(11)",
        "+",
        "00",
        "55",
        "+55",
        "0",
        "98765",
        "0123",
        "3222",
        "1234",
        "987650123",
        "32221234",
        "18h",
        "18:30",
    ),
    *("R$ 350.000", "apto 21", "às", "das", "ou", "e", "/", "-", ".", ",", "|", "ana@x.com", "0800", "2024", "E+10"),
    *("ramal", "zap", "rua", "ddd", "\N{EN DASH}"),
)
pieces = st.sampled_from(PIECES) | st.text("0123456789", min_size=1, max_size=13) | st.text(max_size=6)
texts = st.lists(st.tuples(pieces, st.sampled_from(["", " ", " ", "-"])).map("".join), max_size=12).map("".join)


@given(texts | st.text())
@example("3222-1234 11")
@example("1.19876501E+10")
@example("[11] 98765-0123")
def test_no_text_raises_and_no_digits_are_made_up(typed: str) -> None:
    """A phone's digits are in the text in this order; only the ninth digit of an old mobile is added."""
    written = "".join(re.findall(r"[0-9]", unicodedata.normalize("NFKD", typed)))
    for e164 in find_phones(typed):
        number = Phone(e164)
        assert Phone.parse(e164) == number
        national = number.national
        assert not national or national in written or (national[2] == "9" and national[:2] + national[3:] in written)
    local = find_local(typed)
    assert local is None or local in written or local[1:] in written


@given(
    st.lists(st.from_regex(r"[1-9][0-9]{0,6}", fullmatch=True), min_size=2, max_size=5),
    st.sampled_from([" ou ", "; ", " a "]),
)
def test_digits_of_several_numbers_never_make_one(numbers: list[str], between: str) -> None:
    """Digits that words or signs separate are never joined to one number."""
    assert list(find_phones(between.join(numbers))) == []


@pytest.mark.parametrize(
    "typed", ["54 11 4321-5678", "54 9 11 4321-5678", "52 55 5123-4567", "86 21 6123-4567", "44 21 98765-0123"]
)
def test_a_foreign_number_without_its_plus_is_not_brazilian(typed: str) -> None:
    """Digits before a phone may be a country code, so the rest is not read as a Brazilian phone."""
    assert list(find_phones(typed)) == []


@pytest.mark.parametrize("typed", ["015 11 98765-0123", "055 11 98765 0123", "0 11 98765-0123", "ap 12 11 98765-0123"])
def test_a_trunk_prefix_or_a_word_explains_the_digits_before(typed: str) -> None:
    """After a carrier, the country's own code or a flat's number a phone is read."""
    assert list(find_phones(typed)) == ["+5511987650123"]
