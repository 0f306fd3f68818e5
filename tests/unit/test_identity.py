"""E-mails, CPFs and contacts: one key however they were typed, and no identifier in clear where it may be logged."""

from __future__ import annotations

import gc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stdnum.br import cpf as stdnum_cpf

from stream.domain.forms import FormAnswer
from stream.domain.identity import (
    _PLAIN_EMAIL,
    Contact,
    Cpf,
    Email,
    _read_email,
    contact_of,
    identifiers_of,
    parse_denylist,
)
from stream.domain.leads import Lead, Source
from stream.domain.typed_contact import TypedContact

NO_DENIED_ALIASES: frozenset[str] = frozenset()


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
    """Case, brackets and blanks do not change an address; dots and tags do."""
    assert Email.parse(typed) == Email(address)
    assert Email.parse(address) == Email(address)


@pytest.mark.parametrize(
    "typed", ["", "ana", "ana@x", "a@b@c.com", "ana..b@x.com", "ana@localhost", "a" * 250 + "@x.com"]
)
def test_a_text_without_an_address_is_none(typed: str) -> None:
    """A text that is no valid address is not read."""
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
    """No text raises. An address that was read is read as itself."""
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
def test_the_fast_path_for_plain_emails_agrees_with_the_library(text: str) -> None:
    """An address that the fast pattern reads is the one that the library reads."""
    assert Email.parse(text) == _read_email(text)


@given(st.integers(1, 999_999_998), st.sampled_from(["{}{}{}{}", "{}.{}.{}-{}", " {} {} {} {} ", "CPF {}.{}.{}/{}"]))
def test_every_spelling_of_a_cpf_is_one_cpf(root: int, form: str) -> None:
    """A CPF with right check digits is read with any punctuation."""
    digits = f"{root:09d}"
    for _ in range(2):
        digits += str(-sum(int(digit) * (len(digits) + 1 - at) for at, digit in enumerate(digits)) % 11 % 10)
    assert Cpf.parse(form.format(digits[:3], digits[3:6], digits[6:9], digits[9:])) == Cpf(digits)


@given(st.text())
@example("529.982.247-26")
@example("52998224725" * 2)
@example("٥٢٩٩٨٢٢٤٧٢٥")
def test_a_cpf_with_wrong_digits_is_none(text: str) -> None:
    """No text raises. A CPF that was read has eleven ASCII digits with right check digits."""
    cpf = Cpf.parse(text)
    if cpf is not None:
        assert len(cpf.digits) == 11
        assert stdnum_cpf.is_valid(cpf.digits)


def lead(phone: str = "", email: str = "", cpf: str = "") -> Lead:
    return Lead(Source.C2S, "L1", None, None, "Ana", phone, email, cpf, None)


def test_the_key_is_phone_then_email_then_cpf_then_the_lead() -> None:
    """The surest identifier is the key."""
    assert contact_of(lead("11987654321", "a@x.com", "52998224725"), NO_DENIED_ALIASES).key == "+5511987654321"
    assert contact_of(lead("", "A@x.com", "52998224725"), NO_DENIED_ALIASES).key == "a@x.com"
    assert contact_of(lead("", "", "529.982.247-25"), NO_DENIED_ALIASES).key == "52998224725"
    nobody = contact_of(lead("?", "teste@teste.com", "1"), NO_DENIED_ALIASES)
    assert (nobody.key, nobody.aliases) == ("L1", ())


def test_aliases_come_with_the_surest_first() -> None:
    """Aliases are ordered: CPF, phone, e-mail."""
    contact = contact_of(lead("11987654321", "a@x.com", "52998224725"), NO_DENIED_ALIASES)
    assert contact.aliases == ("c:52998224725", "p:+5511987654321", "e:a@x.com")


def test_denied_aliases_identify_nobody_in_any_spelling() -> None:
    """A value on the denylist is neither key nor alias, however it is spelt there or in the lead."""
    denied_aliases = parse_denylist(["(11) 3456-7891", "Contato@Firma.com.br", "529.982.247-25", "?"])
    contact = contact_of(lead("+55 11 34567891", "contato@firma.com.br", "52998224725"), denied_aliases)
    assert contact == Contact(None, None, None, "L1")


def test_str_and_repr_show_no_identifier() -> None:
    """``str`` and ``repr`` of each object that holds an identifier are masked."""
    source = lead("11987654321", "ana.souza@example.com", "52998224725")
    contact = contact_of(source, NO_DENIED_ALIASES)
    shown = f"{contact} {contact!r} {contact.masked} {source!r} {contact.phone} {contact.email!r} {contact.cpf}"
    shown += f"{identifiers_of(source, NO_DENIED_ALIASES)!r}"
    shown += f"{TypedContact('11987654321', 'ana.souza@example.com')!r} {FormAnswer('CPF', '52998224725')!r}"
    for clear in ("98765", "ana.souza", "example", "529982", "52998224725"):
        assert clear not in shown
    assert str(contact.phone) == "+55******4321"
    assert Contact(None, None, None, "L1").masked == "nobody"


@pytest.mark.parametrize("typed", [("11987654321", "a@x.com", "52998224725"), ("", "a@x.com", ""), ("?", "", "1")])
def test_producers_and_worker_find_the_same_identifiers(typed: tuple[str, str, str]) -> None:
    """``Identifiers`` and ``Contact`` of a lead agree, and the garbage collector tracks neither."""
    identifiers, contact = identifiers_of(lead(*typed), NO_DENIED_ALIASES), contact_of(lead(*typed), NO_DENIED_ALIASES)
    fields = ("phone", "email", "cpf", "key")
    assert [getattr(identifiers, name) for name in fields] == [getattr(contact, name) for name in fields]
    assert not gc.is_tracked(identifiers)
    assert not gc.is_tracked(contact)
