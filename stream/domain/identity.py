"""Who a contact is: its phone, e-mail and CPF in canonical form, however they were typed.

Rule 1: ``parse`` guesses nothing. It returns None for a text that it can't read; the webhook's payload keeps the text.
Rule 2: ``str`` and ``repr`` are masked, so an identifier that gets into a log line by mistake is not in clear.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from msgspec.structs import force_setattr
from stdnum.br import cpf as stdnum_cpf

from stream.domain.memo import Memo
from stream.domain.phone_text import (
    AREA_CODE,
    FIRST_OF_LEGACY_MOBILES,
    MOBILE_DIGITS,
    NON_GEOGRAPHIC,
    find_local,
    find_phones,
    with_ninth_digit,
)

if TYPE_CHECKING:
    from stream.domain.sources.lead import Lead

MAX_PHONE_CHARS = 300  # people write sentences into the phone field
MAX_CPF_CHARS = 64
MAX_EMAIL_CHARS = 254  # RFC 5321
MAX_LOCAL_PART_CHARS = 64  # before the @, RFC 5321
CPF_DIGITS = 11
CACHED_READINGS = 20_000  # e-mail spellings, and as many contacts, whose parsed form is cached

# The spelling of nearly all phones: no letter, no second phone, no country but 55, no carrier. A fast path: a test
# checks that the full rules give the same result.
_PLAIN_PHONE = re.compile(
    rf"[ (]{{0,3}}(?:\+?55)?[ (]{{0,3}}0?[ (]{{0,3}}({AREA_CODE})[ ).-]{{0,4}}"
    rf"(9[ .-]?\d{{4}}|(?!{NON_GEOGRAPHIC})[2-9]\d{{3}})[ .-]{{0,3}}(\d{{4}})",
    re.ASCII,
)
# The spelling of nearly all addresses, in small letters. A fast path: the library takes ten times as long, and a test
# checks that it gives the same result. A pattern that ignores case would take three times as long.
_PLAIN_EMAIL = re.compile(
    r"(?:[a-z0-9_+-]++\.)*+[a-z0-9_+-]++@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?+\.){1,8}([a-z]{2,63})", re.ASCII
)
_SPECIAL_USE = frozenset(SPECIAL_USE_DOMAIN_NAMES)
_ASCENDING_DIGITS = "01234567890123456789"
_ASCENDING_CPF = "123456789"
# Numbers, without country and area code, that people type instead of their own. 98765-4321 is not one of them.
_PLACEHOLDER_NUMBERS = frozenset(
    {
        *("9" + 8 * digit for digit in "0123456789"),  # 99999-9999
        *(8 * digit for digit in "2345"),  # 3333-3333
        *("912345678", "23456789"),
    }
)
_PLACEHOLDER_FOREIGN_ENDINGS = frozenset(8 * digit for digit in "0123456789")
# WhatsApp writes a phone in the form of an e-mail address.
_WHATSAPP_DOMAINS = frozenset({"c.us", "s.whatsapp.net", "g.us", "lid"})
_EMAIL_IN_TEXT = re.compile(r"[^\s<>()\[\]\"';,|:]+@[^\s<>()\[\]\"';,|:]+")
_PLACEHOLDER_LOCAL_PARTS = frozenset(
    {
        *("teste", "test", "testes", "testando", "exemplo", "example", "email", "fulano", "asdf", "qwerty"),
        *("nao", "naotem", "naotenho", "naoinformado", "naopossui", "sememail", "sem", "noreply", "donotreply"),
    }
)
_PLACEHOLDER_DOMAINS = frozenset(
    {"teste", "test", "naotem", "naotenho", "sememail", "semail", "naoinformado", "exemplo"}
)


class Phone(msgspec.Struct, frozen=True, gc=False):
    """A phone in E.164, ``+5511987654321``."""

    e164: str

    @classmethod
    def parse(cls, raw: str) -> Phone | None:
        """Read the first phone in a text typed in Brazil; None if there is none.

        A Brazilian number needs its area code, a foreign one its ``+`` or ``00`` (``phone_text`` has the rules).
        """
        return _parse_phone(raw) if len(raw) <= MAX_PHONE_CHARS else None

    @property
    def is_brazilian(self) -> bool:
        """Whether Diretrix could know it."""
        return self.e164.startswith("+55")

    @property
    def national(self) -> str:
        """The digits without the country code, as Diretrix expects them; "" for a foreign number."""
        return self.e164[3:] if self.is_brazilian else ""

    @property
    def alias(self) -> str:
        """Its key in the table."""
        return "p:" + self.e164

    def spellings(self) -> tuple[str, ...]:
        """The spellings that databases use: with and without 55, with and without a ninth digit that was added.

        A foreign number keeps its ``+``: digits alone are Brazilian (docs/adr/0012-foreign-numbers-keep-their-plus.md).
        """
        if not self.is_brazilian:
            return (self.e164,)
        national = self.national
        area, number = national[:2], national[2:]
        # A mobile of a newer range without its 9 would be another person's landline.
        added = len(number) == MOBILE_DIGITS and number[1] in FIRST_OF_LEGACY_MOBILES
        both = (national, area + number[1:]) if added else (national,)
        return tuple(spelling for one in both for spelling in (one, f"55{one}"))

    def __repr__(self) -> str:
        return f"{self.e164[:3]}******{self.e164[-4:]}"

    __str__ = __repr__


class Email(msgspec.Struct, frozen=True, gc=False):
    """An e-mail address in lower case. Dots and tags stay, because databases keep them."""

    address: str

    @classmethod
    def parse(cls, raw: str) -> Email | None:
        """Read an address; None if it is not one. DNS is not asked."""
        return _parse_email(raw) if "@" in raw and len(raw) <= MAX_EMAIL_CHARS else None

    @property
    def alias(self) -> str:
        """Its key in the table."""
        return "e:" + self.address

    def spellings(self) -> tuple[str, ...]:
        """The spellings that databases use."""
        return (self.address,)

    def __repr__(self) -> str:
        local, _, domain = self.address.partition("@")
        return f"{local[:1]}***@{domain[:1]}***"

    __str__ = __repr__


class Cpf(msgspec.Struct, frozen=True, gc=False):
    """A CPF, eleven digits."""

    digits: str

    @classmethod
    def parse(cls, raw: str) -> Cpf | None:
        """Read a CPF as typed; None if its check digits are wrong."""
        digits = _digits(raw) if len(raw) <= MAX_CPF_CHARS else ""
        return cls(digits) if len(digits) == CPF_DIGITS and stdnum_cpf.is_valid(digits) else None

    @property
    def alias(self) -> str:
        """Its key in the table."""
        return "c:" + self.digits

    def __repr__(self) -> str:
        return f"***.***.***-{self.digits[-2:]}"

    __str__ = __repr__


class Identifiers(msgspec.Struct, frozen=True, gc=False):
    """The identifiers of a lead. ``key``: phone, else e-mail, else CPF, else the lead's id.

    ``area_code_assumed``: the phone was typed without an area code and DEFAULT_AREA_CODE completed it. It is a guess:
    its alias is listed evidence at most, and no call is paid for it.
    ``gc=False``: tens of thousands are cached, and the garbage collector need not visit pure data.
    """

    phone: Phone | None
    email: Email | None
    cpf: Cpf | None
    key: str
    area_code_assumed: bool = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_masked(self)})"


class Contact(Identifiers, frozen=True, gc=False):
    """The contact of a lead, as the worker uses it. A contact without ``aliases`` has no identifier.

    The fields below are computed from the identifiers once, because most contacts come more than once: ``contact_of``
    caches them.
    """

    aliases: tuple[str, ...] = ()  # keys in the table, the surest first
    masked: str = ""  # for log lines
    record_key: bytes = b""  # the key of its records

    def __post_init__(self) -> None:
        identifiers = [one for one in (self.cpf, self.phone, self.email) if one is not None]
        force_setattr(self, "aliases", tuple([one.alias for one in identifiers]))
        force_setattr(self, "masked", _masked(self))
        force_setattr(self, "record_key", self.key.encode())


def _masked(identifiers: Identifiers) -> str:
    shown = [repr(one) for one in (identifiers.phone, identifiers.email, identifiers.cpf) if one is not None]
    return " ".join(shown) or "nobody"


def identifiers_of(lead: Lead, denied_aliases: frozenset[str], area_code: str = "") -> Identifiers:
    """The identifiers of a lead's contact, without placeholders and denied aliases.

    ``area_code`` completes a phone that was typed without one; with "" such a phone is not read.
    """
    typed = lead.phone, lead.email, lead.cpf, denied_aliases, area_code
    return _identifiers[typed] or Identifiers(None, None, None, lead.id)


def contact_of(lead: Lead, denied_aliases: frozenset[str], area_code: str = "") -> Contact:
    """The contact of a lead. Parameters as of ``identifiers_of``."""
    return _contacts[lead.phone, lead.email, lead.cpf, denied_aliases, area_code] or Contact(None, None, None, lead.id)


TypedFields = tuple[
    str, str, str, frozenset[str], str
]  # a lead's phone, e-mail and CPF; the denied aliases; the area code


def _read(typed: TypedFields) -> Identifiers | None:
    raw_phone, raw_email, raw_cpf, denied_aliases, area_code = typed
    phone, assumed = _phone_in(raw_phone, raw_email, denied_aliases, area_code)
    email = _email_in(raw_phone, raw_email, denied_aliases)
    cpf = _real_cpf(raw_cpf, denied_aliases) if raw_cpf else None
    if phone is not None:
        return Identifiers(phone, email, cpf, phone.e164, assumed)
    if email is not None:
        return Identifiers(phone, email, cpf, email.address)
    return None if cpf is None else Identifiers(phone, email, cpf, cpf.digits)


def _read_contact(typed: TypedFields) -> Contact | None:
    one = _read(typed)
    return None if one is None else Contact(one.phone, one.email, one.cpf, one.key, one.area_code_assumed)


_identifiers = Memo(_read, CACHED_READINGS)
_contacts = Memo(_read_contact, CACHED_READINGS)


def parse_denylist(values: Iterable[str]) -> frozenset[str]:
    """The aliases of phones, e-mails and CPFs that belong to nobody. A value that can't be read is left out."""
    parsed = [
        one
        for value in values
        for one in ((Email.parse(value),) if "@" in value else (Phone.parse(value), Cpf.parse(value)))
    ]
    return frozenset(one.alias for one in parsed if one is not None)


def is_placeholder(value: Phone | Email | Cpf, denied_aliases: frozenset[str]) -> bool:
    """Whether a value stands for "I don't want to say", such as 99999-9999 or ``teste@``, or is denied."""
    if denied_aliases and value.alias in denied_aliases:
        return True
    if isinstance(value, Email):
        return _is_placeholder_address(value.address)
    if isinstance(value, Cpf):
        return _is_repeated(value.digits) or value.digits.startswith(_ASCENDING_CPF)
    number = value.national[2:]
    return number in _PLACEHOLDER_NUMBERS if number else value.e164[-8:] in _PLACEHOLDER_FOREIGN_ENDINGS


def _is_placeholder_address(address: str) -> bool:
    local, _, domain = address.partition("@")
    # ``str.translate`` would take three times as long.
    bare = local.replace(".", "").replace("_", "").replace("+", "").replace("-", "")
    return (
        bare.rstrip("0123456789") in _PLACEHOLDER_LOCAL_PARTS
        or domain.partition(".")[0] in _PLACEHOLDER_DOMAINS
        or (len(bare) > 1 and (_is_repeated(bare) or bare in _ASCENDING_DIGITS))
    )


def _is_repeated(text: str) -> bool:
    return text != "" and text.count(text[0]) == len(text)


def _phone_in(
    raw_phone: str, raw_email: str, denied_aliases: frozenset[str], area_code: str
) -> tuple[Phone | None, bool]:
    """The lead's phone and whether its area code is assumed. Reads the e-mail field too: people swap the fields."""
    phone = _real_phone(raw_phone, denied_aliases) if raw_phone else None
    if phone is not None:
        return phone, False
    other = raw_email if raw_email and Email.parse(raw_email) is None else ""
    phone = _real_phone(other, denied_aliases) if other else None
    if phone is None and area_code:
        phone = _completed(raw_phone, area_code, denied_aliases) or _completed(other, area_code, denied_aliases)
        return phone, phone is not None
    return phone, False


def _email_in(raw_phone: str, raw_email: str, denied_aliases: frozenset[str]) -> Email | None:
    """The lead's e-mail. Reads the phone field too: people swap the fields."""
    email = _real_email(raw_email, denied_aliases) if raw_email else None
    if email is None and "@" in raw_phone and not (raw_email and Email.parse(raw_email) is not None):
        other = _only_address_in(raw_phone)
        return None if other is None or is_placeholder(other, denied_aliases) else other
    return email


def _real_phone(raw: str, denied_aliases: frozenset[str]) -> Phone | None:
    """The first phone in ``raw`` that is not a placeholder."""
    phone = Phone.parse(raw)
    if phone is None or not is_placeholder(phone, denied_aliases):
        return phone
    others = (Phone(e164) for e164 in find_phones(raw))
    return next((one for one in others if not is_placeholder(one, denied_aliases)), None)


def _completed(raw: str, area_code: str, denied_aliases: frozenset[str]) -> Phone | None:
    number = find_local(raw) if 0 < len(raw) <= MAX_PHONE_CHARS else None
    phone = None if number is None else Phone(f"+55{area_code}{number}")
    return None if phone is None or is_placeholder(phone, denied_aliases) else phone


def _real_email(raw: str, denied_aliases: frozenset[str]) -> Email | None:
    email = Email.parse(raw) or _only_address_in(raw)
    return None if email is None or is_placeholder(email, denied_aliases) else email


def _only_address_in(raw: str) -> Email | None:
    """The only address in ``raw``; None if there is none or more than one."""
    tokens = [token for token in _EMAIL_IN_TEXT.findall(raw[:MAX_PHONE_CHARS]) if not _is_whatsapp_id(token)]
    found = {email for token in tokens if (email := Email.parse(token)) is not None}
    return found.pop() if len(found) == 1 else None


def _is_whatsapp_id(token: str) -> bool:
    local, _, domain = token.partition("@")
    return domain.lower() in _WHATSAPP_DOMAINS or (local.isdecimal() and Phone.parse(local) is not None)


def _real_cpf(raw: str, denied_aliases: frozenset[str]) -> Cpf | None:
    cpf = Cpf.parse(raw)
    return None if cpf is None or is_placeholder(cpf, denied_aliases) else cpf


def _parse_phone(raw: str) -> Phone | None:
    plain = _PLAIN_PHONE.fullmatch(raw)
    if plain is None:
        return _read_any_phone(raw)
    area, first, last = plain.groups()
    number: str = first + last
    return Phone(f"+55{area}{with_ninth_digit(number if len(number) <= MOBILE_DIGITS else number[0] + number[2:])}")


def _read_any_phone(raw: str) -> Phone | None:
    e164 = next(find_phones(raw), None)
    return None if e164 is None else Phone(e164)


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", unicodedata.normalize("NFKC", text))


def _parse_email(raw: str) -> Email | None:
    text = raw.lower()
    plain = _PLAIN_EMAIL.fullmatch(text)
    if plain is None or not raw.isascii() or "--" in text or text.index("@") > MAX_LOCAL_PART_CHARS:
        return _read_email(raw)
    return Email(text) if plain[1] not in _SPECIAL_USE else _read_email(raw)


@lru_cache(maxsize=CACHED_READINGS)
def _read_email(raw: str) -> Email | None:
    text = raw.strip()
    if text.endswith(">"):
        text = text[:-1].rpartition("<")[2]
    text = re.sub(r"\s*@\s*", "@", text.strip("<>\"' ;,.")).removeprefix("mailto:")
    try:
        once = _canonical(text)
        return Email(once if once == text else _canonical(once))
    except EmailNotValidError:
        return None


def _canonical(text: str) -> str:
    """Lower case in NFC; composed again, because lower case may decompose a letter. Raises EmailNotValidError."""
    normalized: str = validate_email(text, check_deliverability=False).normalized
    return unicodedata.normalize("NFC", normalized.lower())
