"""Placeholders: a value that people invent is not taken for an identifier, and a real value is."""

from __future__ import annotations

import pytest

from stream.domain.identity import Cpf, Email, Phone, is_placeholder

NO_DENIED_ALIASES: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    "typed", ["11999999999", "(11) 98888-8888", "11 91234-5678", "1123456789", "11 3333-3333", "+1 212 222 2222"]
)
def test_numbers_that_people_invent_are_placeholders(typed: str) -> None:
    """Invented numbers such as 99999-9999 are placeholders."""
    phone = Phone.parse(typed)
    assert phone is not None
    assert is_placeholder(phone, NO_DENIED_ALIASES)


@pytest.mark.parametrize("digit", "0123456789")
@pytest.mark.parametrize("area", ["11", "55", "98"])
def test_one_digit_repeated_is_a_placeholder_in_every_area(digit: str, area: str) -> None:
    """A mobile of one repeated digit is a placeholder, with or without its ninth digit."""
    assert is_placeholder(Phone(f"+55{area}9{8 * digit}"), NO_DENIED_ALIASES)
    eight = Phone.parse(f"{area} {8 * digit}")
    assert eight is None or is_placeholder(eight, NO_DENIED_ALIASES)


@pytest.mark.parametrize(
    "typed",
    [
        *("11 95678-9012", "11 94567-8901", "11 93456-7890", "11 96789-0123", "11 97890-1234", "11 98901-2345"),
        *("11 99012-3456", "11 90123-4567", "11 92345-6789", "11 3456-7890", "11 4567-8901", "11 5678-9012"),
        *("11 98765-4321", "11 99999-9998", "11 99999-0000", "11 91234-5679", "11 91111-1112", "11 3333-4444"),
        *("11 2345-6780", "99 99999-1234", "22 2222-1234", "+1 212 345 6789", "+351 912 345 678"),
    ],
)
def test_a_number_with_ascending_digits_is_no_placeholder(typed: str) -> None:
    """Only the listed numbers are placeholders: real numbers contain ascending digits."""
    phone = Phone.parse(typed)
    assert phone is not None
    assert not is_placeholder(phone, NO_DENIED_ALIASES)


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
    """Invented addresses such as teste@ are placeholders."""
    email = Email.parse(address)
    assert email is not None
    assert is_placeholder(email, NO_DENIED_ALIASES)


@pytest.mark.parametrize("digits", ["11111111111", "00000000000", "12345678909"])
def test_invented_cpfs_are_placeholders(digits: str) -> None:
    """CPFs of repeated or ascending digits are placeholders, although their check digits are right."""
    assert is_placeholder(Cpf(digits), NO_DENIED_ALIASES)


@pytest.mark.parametrize("real", [Phone("+5511987654321"), Email("a@x.com"), Email("testa@x.com"), Cpf("52998224725")])
def test_real_values_are_no_placeholders(real: Phone | Email | Cpf) -> None:
    """A real phone, e-mail or CPF is no placeholder."""
    assert not is_placeholder(real, NO_DENIED_ALIASES)
