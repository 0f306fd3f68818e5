"""Who a contact is: phones, e-mails and CPFs in one spelling, whatever way they were typed.

Values can't be constructed wrong by ``parse``; ``str`` and ``repr`` are masked, so that an identifier that
slips into a log line or an error is not in clear. What cannot be read is None: the text itself stays in the
webhook's payload.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import NumberParseException, PhoneNumberFormat
from stdnum.br import cpf as stdnum_cpf

if TYPE_CHECKING:
    from stream.domain.leads import Lead

BRAZIL = 55
LONGEST_PHONE = 64  # characters; whatever is longer was not typed as a phone
LONGEST_EMAIL = 254  # characters, RFC 5321
REMEMBERED = 50_000  # spellings whose parse is remembered

_EXTENSION = re.compile(r"(?i)\b(ramal|ext|extens[aã]o|x)\.?\s*:?\s*\d+\s*$")
_TRUNK_AND_CARRIER = re.compile(r"^0(?:\d{2})?(?=[1-9]\d\d{8,9}$)")
_LEGACY_MOBILE = re.compile(r"^[1-9][1-9][6-9]\d{7}$")
_COUNTED = "01234567890123456789"
_PLACEHOLDER_LOCALS = frozenset(
    {"teste", "test", "testes", "naotem", "nao-tem", "sememail", "sem-email", "noreply", "exemplo"}
)


@dataclass(frozen=True, slots=True, repr=False)
class Phone:
    """A phone in E.164, ``+5511987654321``."""

    e164: str

    @classmethod
    def parse(cls, raw: str) -> Phone | None:
        """Read a phone as typed in Brazil; None when it is no phone. Foreign numbers need their ``+``."""
        return _parse_phone(raw)

    @property
    def is_brazilian(self) -> bool:
        """Whether Diretrix could know it."""
        return self.e164.startswith("+55")

    @property
    def national(self) -> str:
        """The digits without the country code, as Diretrix wants them; "" for a foreign number."""
        return self.e164[3:] if self.is_brazilian else ""

    @property
    def alias(self) -> str:
        """Its key in the table."""
        return "p:" + self.e164

    def spellings(self) -> tuple[str, ...]:
        """Digits as databases hold them: with and without 55, with and without the ninth digit."""
        if not self.is_brazilian:
            return (self.e164[1:],)
        national = self.national
        both = [national]
        if len(national) == 11 and national[2] == "9":  # noqa: PLR2004 - area, ninth digit, eight digits
            both.append(national[:2] + national[3:])
        return tuple(spelling for one in both for spelling in (one, f"{BRAZIL}{one}"))

    def __repr__(self) -> str:
        return f"{self.e164[:3]}******{self.e164[-4:]}"

    __str__ = __repr__


@dataclass(frozen=True, slots=True, repr=False)
class Email:
    """An e-mail address in lower case, without the parts that providers ignore left alone."""

    address: str

    @classmethod
    def parse(cls, raw: str) -> Email | None:
        """Read an address; None when it is none. No look-up is made."""
        return _parse_email(raw)

    @property
    def alias(self) -> str:
        """Its key in the table."""
        return "e:" + self.address

    def spellings(self) -> tuple[str, ...]:
        """How databases hold it."""
        return (self.address,)

    def __repr__(self) -> str:
        local, _, domain = self.address.partition("@")
        return f"{local[:1]}***@{domain[:1]}***"

    __str__ = __repr__


@dataclass(frozen=True, slots=True, repr=False)
class Cpf:
    """A CPF, eleven digits."""

    digits: str

    @classmethod
    def parse(cls, raw: str) -> Cpf | None:
        """Read a CPF as typed; None when its check digits are wrong."""
        digits = re.sub(r"\D", "", raw)[:12]
        return cls(digits) if len(digits) == 11 and stdnum_cpf.is_valid(digits) else None  # noqa: PLR2004

    @property
    def alias(self) -> str:
        """Its key in the table."""
        return "c:" + self.digits

    def __repr__(self) -> str:
        return f"***.***.***-{self.digits[-2:]}"

    __str__ = __repr__


Alias = TypeVar("Alias", Phone, Email, Cpf)


@dataclass(frozen=True, slots=True)
class Contact:
    """What a lead can be known by. ``key``: phone, else e-mail, else CPF, else the lead's id."""

    phone: Phone | None
    email: Email | None
    cpf: Cpf | None
    key: str

    @property
    def aliases(self) -> tuple[str, ...]:
        """Keys in the table, the surest first."""
        return tuple(one.alias for one in (self.cpf, self.phone, self.email) if one is not None)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to look up."""
        return self.phone is None and self.email is None and self.cpf is None

    @property
    def masked(self) -> str:
        """For log lines."""
        return " ".join(str(one) for one in (self.phone, self.email, self.cpf) if one is not None) or "nobody"


def contact_of(lead: Lead, nobodys: frozenset[str]) -> Contact:
    """The contact behind a lead; placeholders and the firm's own numbers are neither key nor alias."""
    phone = _not_placeholder(Phone.parse(lead.phone), nobodys) if lead.phone else None
    email = _not_placeholder(Email.parse(lead.email), nobodys) if lead.email else None
    cpf = _not_placeholder(Cpf.parse(lead.cpf), nobodys) if lead.cpf else None
    if phone is not None:
        key = phone.e164
    elif email is not None:
        key = email.address
    else:
        key = cpf.digits if cpf is not None else lead.id
    return Contact(phone, email, cpf, key)


def denylist(values: Iterable[str]) -> frozenset[str]:
    """The canonical aliases of phones, e-mails and CPFs that are nobody's; what can't be read is left out."""
    parsed = (Email.parse(value) if "@" in value else (Phone.parse(value) or Cpf.parse(value)) for value in values)
    return frozenset(one.alias for one in parsed if one is not None)


def is_placeholder(value: Phone | Email | Cpf, nobodys: frozenset[str]) -> bool:
    """Whether a value stands for "I don't want to say": repeated or counted digits, ``teste@``, or denied."""
    if value.alias in nobodys:
        return True
    if isinstance(value, Email):
        return value.address.partition("@")[0] in _PLACEHOLDER_LOCALS
    if isinstance(value, Cpf):
        return len(set(value.digits)) == 1
    subscriber = value.national[2:] or value.e164[-8:]
    last_eight = subscriber[-8:]
    return len(set(last_eight)) == 1 or last_eight in _COUNTED


def _not_placeholder(value: Alias | None, nobodys: frozenset[str]) -> Alias | None:
    return None if value is None or is_placeholder(value, nobodys) else value


@lru_cache(maxsize=REMEMBERED)
def _parse_phone(raw: str) -> Phone | None:
    text = _EXTENSION.sub("", raw.strip()[:LONGEST_PHONE])
    international = text.startswith("+")
    digits = re.sub(r"[^0-9]", "", text)
    if not international:
        digits = _national(digits)
        if digits.startswith("00"):
            international, digits = True, digits[2:]
    return _brazilian(digits) if not international else _international(digits)


def _national(digits: str) -> str:
    """Strip the trunk prefix, a carrier code and the country code where they stand before a Brazilian number."""
    if digits.startswith("0055"):
        return digits[4:]
    if digits.startswith("00"):
        return digits
    digits = _TRUNK_AND_CARRIER.sub("", digits)
    return digits[2:] if len(digits) in {12, 13} and digits.startswith("55") else digits


def _international(digits: str) -> Phone | None:
    if digits.startswith("55"):
        return _brazilian(_TRUNK_AND_CARRIER.sub("", digits[2:]))
    return _valid(f"+{digits}")


def _brazilian(digits: str) -> Phone | None:
    # Until 2016 mobiles had eight digits; the ninth, a 9, was put before them.
    if _LEGACY_MOBILE.match(digits):
        digits = f"{digits[:2]}9{digits[2:]}"
    return _valid(f"+{BRAZIL}{digits}")


def _valid(text: str) -> Phone | None:
    try:
        number = phonenumbers.parse(text)
    except NumberParseException:
        return None
    # "Possible", not "valid": ranges are opened faster than the library's metadata knows.
    if not phonenumbers.is_possible_number(number):
        return None
    if number.country_code == BRAZIL and len(str(number.national_number)) not in {10, 11}:
        return None
    return Phone(phonenumbers.format_number(number, PhoneNumberFormat.E164))


@lru_cache(maxsize=REMEMBERED)
def _parse_email(raw: str) -> Email | None:
    text = raw.strip().strip("<>\"' ;,")
    if "@" not in text or len(text) > LONGEST_EMAIL:
        return None
    try:
        checked = validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return None
    return Email(checked.normalized.lower())
