"""Phones, e-mails and CPFs: one key whatever way they were typed, and nothing in clear where it may be logged."""

from __future__ import annotations

import gc
from dataclasses import dataclass

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stdnum.br import cpf as stdnum_cpf

from stream.domain.forms import FormAnswer
from stream.domain.identity import (
    _PLAIN_EMAIL,
    _PLAIN_PHONE,
    MAX_PHONE_CHARS,
    Contact,
    Cpf,
    Email,
    Phone,
    _read_any_phone,
    _read_email,
    contact_of,
    identifiers_of,
    is_placeholder,
    parse_denylist,
)
from stream.domain.leads import Lead, Source
from stream.domain.typed_contact import TypedContact

AREAS = [
    *range(11, 20), 21, 22, 24, 27, 28, *range(31, 36), 37, 38, *range(41, 50), 51, 53, 54, 55, *range(61, 70),
    71, 73, 74, 75, 77, 79, *range(81, 90), *range(91, 100),
]  # fmt: skip
CARRIERS = ["12", "14", "15", "21", "31", "41", "43", "99"]
FULL_WIDTH = "".join(chr(ord(digit) + 0xFEE0) for digit in "11987654321")
NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Number:
    """A Brazilian number as the plan has it: area, and the number without a ninth digit."""

    area: str
    eight: str
    is_mobile: bool = True

    @property
    def number(self) -> str:
        """The digits after the area code."""
        return f"9{self.eight}" if self.is_mobile else self.eight

    @property
    def e164(self) -> str:
        """Its one spelling."""
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
    """However a Brazilian phone is typed, its key is the same."""
    number, typed = case
    assert Phone.parse(typed) == Phone(number.e164)


@given(numbers)
def test_a_phone_read_again_is_itself(number: Number) -> None:
    """Reading is idempotent, and every spelling that we ask a database for is that phone and no other."""
    phone = Phone.parse(number.e164)
    assert phone is not None
    assert phone.national == number.area + number.number
    assert set(map(Phone.parse, (*phone.spellings(), str(phone.e164), phone.national))) == {phone}


@given(numbers)
def test_the_library_agrees_that_it_is_possible(number: Number) -> None:
    """What we call a Brazilian phone has a length that the numbering plan knows."""
    assert phonenumbers.is_possible_number(phonenumbers.parse(number.e164))


@given(areas, st.text("0123456789", min_size=8, max_size=9))
def test_what_the_library_calls_a_persons_number_is_one(area: str, digits: str) -> None:
    """No landline and no mobile of the library's ranges is missed; one of eight digits gets its 9."""
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
    """No text raises; what is read is E.164 and reads as itself."""
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
    """A foreign phone is kept, is never Diretrix's business, and has one spelling."""
    phone = Phone.parse(typed)
    assert phone == Phone(e164)
    assert (phone.is_brazilian, phone.national, phone.spellings()) == (False, "", (e164,))


def test_a_plus_that_was_meant_for_brazil_is_forgiven() -> None:
    """``+11 98765-4321`` is no number of any country."""
    assert Phone.parse("+11 98765-4321") == Phone("+5511987654321")


@pytest.mark.parametrize("typed", ["11 98765-4321 / 11 3333-4444", "11987654321 ou 21912344321", "11987654321,abc"])
def test_of_two_phones_in_one_field_the_first_counts(typed: str) -> None:
    """A field with two phones is not lost."""
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
def test_what_is_nobodys_phone_is_none(typed: str) -> None:
    """Toll-free numbers, numbers without an area, wrong areas, too many digits, e-mails: no phone."""
    assert Phone.parse(typed) is None


def test_a_ninth_digit_is_taken_away_only_where_it_was_added() -> None:
    """A mobile of a newer range without its 9 would be somebody else's landline."""
    assert Phone("+5511987654321").spellings() == ("11987654321", "5511987654321", "1187654321", "551187654321")
    assert Phone("+5511941234567").spellings() == ("11941234567", "5511941234567")
    assert Phone("+551133334444").spellings() == ("1133334444", "551133334444")


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("Ana@Example.COM", "ana@example.com"),
        ("  <ana@x.com.br> ", "ana@x.com.br"),
        ("Ana Souza <ana@x.com>", "ana@x.com"),
        ("mailto:ana@x.com", "ana@x.com"),
        ("ana @ x.com", "ana@x.com"),
        ("ana@x.com.", "ana@x.com"),
        ("ana.souza+site@gmail.com", "ana.souza+site@gmail.com"),
        ("José@Exemplo.com", "josé@exemplo.com"),
    ],
)
def test_an_email_has_one_spelling(typed: str, address: str) -> None:
    """Case, brackets and blanks do not make another contact; dots and tags do."""
    assert Email.parse(typed) == Email(address)
    assert Email.parse(address) == Email(address)


@pytest.mark.parametrize(
    "typed", ["", "ana", "ana@x", "a@b@c.com", "ana..b@x.com", "ana@localhost", "a" * 250 + "@x.com"]
)
def test_what_is_no_address_is_none(typed: str) -> None:
    """A text that no mail could reach is no contact."""
    assert Email.parse(typed) is None


@given(
    st.one_of(
        st.text(),
        st.emails(),
        st.tuples(st.text(), st.sampled_from(["x.com", "É.com", "xn--mnchen-3ya.de"])).map("@".join),
    )
)
@example("İ@x.com")
@example("ß@x.com")
def test_any_text_is_an_email_or_none(text: str) -> None:
    """No text raises, and what is read reads as itself."""
    email = Email.parse(text)
    if email is not None:
        assert Email.parse(email.address) == email


@given(st.from_regex(_PLAIN_EMAIL, fullmatch=True) | st.emails())
@example("a@b.c.test")
@example("-_+@0.com")
@example("a--b@x.com")
@example("a@x--y.com")
@example("Ana@X.Com.BR")
@example("\N{KELVIN SIGN}arl@x.com")
@example("a" * 65 + "@x.com")
@example("a@" + "b" * 64 + ".com")
def test_the_short_way_for_plain_emails_says_what_the_library_says(text: str) -> None:
    """Whatever is read without asking the library is what it would have answered."""
    assert Email.parse(text) == _read_email(text)


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
def test_the_short_way_for_plain_phones_says_what_the_long_one_says(text: str) -> None:
    """Whatever is read by one pattern is what all the rules would have made of it."""
    assert Phone.parse(text) == (_read_any_phone(text) if len(text) <= MAX_PHONE_CHARS else None)


@given(st.integers(1, 999_999_998), st.sampled_from(["{}{}{}{}", "{}.{}.{}-{}", " {} {} {} {} ", "CPF {}.{}.{}/{}"]))
def test_every_spelling_of_a_cpf_is_one_cpf(root: int, form: str) -> None:
    """A CPF with right check digits is read however it is punctuated."""
    digits = f"{root:09d}"
    for _ in range(2):
        digits += str(-sum(int(digit) * (len(digits) + 1 - at) for at, digit in enumerate(digits)) % 11 % 10)
    assert Cpf.parse(form.format(digits[:3], digits[3:6], digits[6:9], digits[9:])) == Cpf(digits)


@given(st.text())
@example("529.982.247-26")
@example("52998224725" * 2)
@example("٥٢٩٩٨٢٢٤٧٢٥")
def test_a_cpf_with_wrong_digits_is_none(text: str) -> None:
    """No text raises; whatever is read has eleven ASCII digits that check."""
    cpf = Cpf.parse(text)
    if cpf is not None:
        assert len(cpf.digits) == 11
        assert stdnum_cpf.is_valid(cpf.digits)


@pytest.mark.parametrize(
    "typed", ["11999999999", "(11) 98888-8888", "11 91234-5678", "1123456789", "11 3333-3333", "+1 212 222 2222"]
)
def test_numbers_that_people_invent_are_placeholders(typed: str) -> None:
    """Who types 99999-9999 has not given a phone."""
    phone = Phone.parse(typed)
    assert phone is not None
    assert is_placeholder(phone, NOBODY)


@pytest.mark.parametrize("digit", "0123456789")
@pytest.mark.parametrize("area", ["11", "55", "98"])
def test_one_digit_repeated_is_a_placeholder_in_every_area(digit: str, area: str) -> None:
    """A mobile of one repeated digit is nobody's, typed with or without its ninth digit."""
    assert is_placeholder(Phone(f"+55{area}9{8 * digit}"), NOBODY)
    eight = Phone.parse(f"{area} {8 * digit}")
    assert eight is None or is_placeholder(eight, NOBODY)


@pytest.mark.parametrize(
    "typed",
    [
        *("11 95678-9012", "11 94567-8901", "11 93456-7890", "11 96789-0123", "11 97890-1234", "11 98901-2345"),
        *("11 99012-3456", "11 90123-4567", "11 92345-6789", "11 3456-7890", "11 4567-8901", "11 5678-9012"),
        *("11 98765-4321", "11 99999-9998", "11 99999-0000", "11 91234-5679", "11 91111-1112", "11 3333-4444"),
        *("11 2345-6780", "99 99999-1234", "22 2222-1234", "+1 212 345 6789", "+351 912 345 678"),
    ],
)
def test_a_number_that_only_looks_counted_is_somebodys(typed: str) -> None:
    """Only whole numbers of the list are placeholders: a row of counted digits occurs in real numbers."""
    phone = Phone.parse(typed)
    assert phone is not None
    assert not is_placeholder(phone, NOBODY)


@pytest.mark.parametrize(
    "address",
    [
        "teste@gmail.com",
        "Teste1@x.com",
        "nao.tem@x.com",
        "naotem@naotem.com",
        "ana@teste.com",
        "aaa@x.com",
        "1234@x.com",
    ],
)
def test_invented_addresses_are_placeholders(address: str) -> None:
    """Who types teste@ has not given an e-mail."""
    email = Email.parse(address)
    assert email is not None
    assert is_placeholder(email, NOBODY)


@pytest.mark.parametrize("digits", ["11111111111", "00000000000", "12345678909"])
def test_invented_cpfs_are_placeholders(digits: str) -> None:
    """Repeated and counted digits have right check digits and are nobody's."""
    assert is_placeholder(Cpf(digits), NOBODY)


@pytest.mark.parametrize("real", [Phone("+5511987654321"), Email("a@x.com"), Email("testa@x.com"), Cpf("52998224725")])
def test_real_values_are_no_placeholders(real: Phone | Email | Cpf) -> None:
    """What looks like somebody's is taken for it."""
    assert not is_placeholder(real, NOBODY)


def lead(phone: str = "", email: str = "", cpf: str = "") -> Lead:
    return Lead(Source.C2S, "L1", None, None, "Ana", phone, email, cpf, None)


def test_the_key_is_phone_then_email_then_cpf_then_the_lead() -> None:
    """The surest thing that there is names the contact."""
    assert contact_of(lead("11987654321", "a@x.com", "52998224725"), NOBODY).key == "+5511987654321"
    assert contact_of(lead("", "A@x.com", "52998224725"), NOBODY).key == "a@x.com"
    assert contact_of(lead("", "", "529.982.247-25"), NOBODY).key == "52998224725"
    nobody = contact_of(lead("?", "teste@teste.com", "1"), NOBODY)
    assert (nobody.key, nobody.aliases) == ("L1", ())


def test_aliases_come_with_the_surest_first() -> None:
    """A CPF says more than a phone, a phone more than an e-mail."""
    contact = contact_of(lead("11987654321", "a@x.com", "52998224725"), NOBODY)
    assert contact.aliases == ("c:52998224725", "p:+5511987654321", "e:a@x.com")


def test_the_firms_own_numbers_are_nobodys_in_any_spelling() -> None:
    """What is on the denylist is neither key nor alias, however it is typed there or here."""
    denied_aliases = parse_denylist(["(11) 3456-7891", "Contato@Firma.com.br", "529.982.247-25", "?"])
    contact = contact_of(lead("+55 11 34567891", "contato@firma.com.br", "52998224725"), denied_aliases)
    assert contact == Contact(None, None, None, "L1")


def test_nothing_shows_an_identifier_by_accident() -> None:
    """``str`` and ``repr`` of everything that holds an identifier are masked."""
    source = lead("11987654321", "ana.souza@example.com", "52998224725")
    contact = contact_of(source, NOBODY)
    shown = f"{contact} {contact!r} {contact.masked} {source!r} {contact.phone} {contact.email!r} {contact.cpf}"
    shown += f"{identifiers_of(source, NOBODY)!r}"
    shown += f"{TypedContact('11987654321', 'ana.souza@example.com')!r} {FormAnswer('CPF', '52998224725')!r}"
    for clear in ("98765", "ana.souza", "example", "529982", "52998224725"):
        assert clear not in shown
    assert str(contact.phone) == "+55******4321"
    assert Contact(None, None, None, "L1").masked == "nobody"


@pytest.mark.parametrize("typed", [("11987654321", "a@x.com", "52998224725"), ("", "a@x.com", ""), ("?", "", "1")])
def test_a_contact_is_known_by_the_same_to_producers_and_worker(typed: tuple[str, str, str]) -> None:
    """The one does without what the other makes of it; neither is looked at by the garbage collector."""
    known_by, contact = identifiers_of(lead(*typed), NOBODY), contact_of(lead(*typed), NOBODY)
    fields = ("phone", "email", "cpf", "key")
    assert [getattr(known_by, name) for name in fields] == [getattr(contact, name) for name in fields]
    assert not gc.is_tracked(known_by)
    assert not gc.is_tracked(contact)
