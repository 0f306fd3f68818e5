"""Who a contact is: phones, e-mails and CPFs in one spelling, whatever way they were typed.

``parse`` never makes a wrong value: what it can't read is None, and the text itself stays in the webhook's
payload. ``str`` and ``repr`` are masked, so that an identifier that slips into a log line is not in clear.
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

LONGEST_PHONE = 300  # characters; people write sentences into the field of the phone
LONGEST_CPF = 64  # characters
LONGEST_EMAIL = 254  # characters, RFC 5321
LONGEST_LOCAL = 64  # characters before the @, RFC 5321
CPF_DIGITS = 11
REMEMBERED = 20_000  # spellings, and contacts, whose reading is remembered

# What nearly everybody types: no letter, no second phone, no country but 55, no carrier. All the rules say the same of
# it (a test holds the short way and the long one together).
_PLAIN_PHONE = re.compile(
    rf"[ (]{{0,3}}(?:\+?55)?[ (]{{0,3}}0?[ (]{{0,3}}({AREA_CODE})[ ).-]{{0,4}}"
    rf"(9[ .-]?\d{{4}}|(?!{NON_GEOGRAPHIC})[2-9]\d{{3}})[ .-]{{0,3}}(\d{{4}})",
    re.ASCII,
)
# What nearly everybody types, in small letters. The library says the same of it (a test holds the two together) in ten
# times the time. Without regard to case the pattern would take three times as long.
_PLAIN_EMAIL = re.compile(
    r"(?:[a-z0-9_+-]++\.)*+[a-z0-9_+-]++@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?+\.){1,8}([a-z]{2,63})", re.ASCII
)
_SPECIAL_USE = frozenset(SPECIAL_USE_DOMAIN_NAMES)
_COUNTED = "01234567890123456789"
_COUNTED_CPF = "123456789"
# Whole numbers, without country and area, that people type instead of their own. 98765-4321 is not among them.
_NOBODYS_NUMBERS = frozenset(
    {
        *("9" + 8 * digit for digit in "0123456789"),  # 99999-9999
        *(8 * digit for digit in "2345"),  # 3333-3333
        *("912345678", "23456789"),
    }
)
_NOBODYS_FOREIGN_ENDINGS = frozenset(8 * digit for digit in "0123456789")
# A phone in WhatsApp's spelling has the shape of an address.
_WHATSAPP_DOMAINS = frozenset({"c.us", "s.whatsapp.net", "g.us", "lid"})
_ADDRESS_IN_TEXT = re.compile(r"[^\s<>()\[\]\"';,|:]+@[^\s<>()\[\]\"';,|:]+")
_NOBODYS_NAMES = frozenset(
    {
        *("teste", "test", "testes", "testando", "exemplo", "example", "email", "fulano", "asdf", "qwerty"),
        *("nao", "naotem", "naotenho", "naoinformado", "naopossui", "sememail", "sem", "noreply", "donotreply"),
    }
)
_NOBODYS_DOMAINS = frozenset({"teste", "test", "naotem", "naotenho", "sememail", "semail", "naoinformado", "exemplo"})


class Phone(msgspec.Struct, frozen=True, gc=False):
    """A phone in E.164, ``+5511987654321``."""

    e164: str

    @classmethod
    def parse(cls, raw: str) -> Phone | None:
        """Read the first phone in a text typed in Brazil; None when there is none.

        A Brazilian number needs its area code, a foreign one its ``+`` or ``00`` (``phone_text`` has the rules).
        """
        return _parse_phone(raw) if len(raw) <= LONGEST_PHONE else None

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
        """How databases hold it: with and without 55, with and without a ninth digit that was added.

        A foreign number keeps its ``+``: digits alone are Brazilian (docs/adr/0012-foreign-numbers-keep-their-plus.md).
        """
        if not self.is_brazilian:
            return (self.e164,)
        national = self.national
        area, number = national[:2], national[2:]
        # Without its 9 a mobile of a newer range would be somebody else's landline.
        added = len(number) == MOBILE_DIGITS and number[1] in FIRST_OF_LEGACY_MOBILES
        both = (national, area + number[1:]) if added else (national,)
        return tuple(spelling for one in both for spelling in (one, f"55{one}"))

    def __repr__(self) -> str:
        return f"{self.e164[:3]}******{self.e164[-4:]}"

    __str__ = __repr__


class Email(msgspec.Struct, frozen=True, gc=False):
    """An e-mail address in lower case. Dots and tags stay: databases hold them as they are."""

    address: str

    @classmethod
    def parse(cls, raw: str) -> Email | None:
        """Read an address; None when it is none. No look-up is made."""
        return _parse_email(raw) if "@" in raw and len(raw) <= LONGEST_EMAIL else None

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


class Cpf(msgspec.Struct, frozen=True, gc=False):
    """A CPF, eleven digits."""

    digits: str

    @classmethod
    def parse(cls, raw: str) -> Cpf | None:
        """Read a CPF as typed; None when its check digits are wrong."""
        digits = _digits(raw) if len(raw) <= LONGEST_CPF else ""
        return cls(digits) if len(digits) == CPF_DIGITS and stdnum_cpf.is_valid(digits) else None

    @property
    def alias(self) -> str:
        """Its key in the table."""
        return "c:" + self.digits

    def __repr__(self) -> str:
        return f"***.***.***-{self.digits[-2:]}"

    __str__ = __repr__


class Identifiers(msgspec.Struct, frozen=True, gc=False):
    """What a lead can be known by. ``key``: phone, else e-mail, CPF, the lead's id.

    ``area_code_assumed``: the phone was typed without an area code and DEFAULT_AREA_CODE completed it. It is a guess:
    its alias is listed evidence at most, and nobody is paid for it.
    Tens of thousands are remembered: as pure data they are no concern of the garbage collector's.
    """

    phone: Phone | None
    email: Email | None
    cpf: Cpf | None
    key: str
    area_code_assumed: bool = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_masked(self)})"


class Contact(Identifiers, frozen=True, gc=False):
    """Who a lead is for the worker; without ``aliases`` it is nobody.

    What follows from its identifiers is made with it, once: most contacts come more than once (see ``contact_of``).
    """

    aliases: tuple[str, ...] = ()  # keys in the table, the surest first
    masked: str = ""  # for log lines
    record_key: bytes = b""  # as records carry it

    def __post_init__(self) -> None:
        known_by = [one for one in (self.cpf, self.phone, self.email) if one is not None]
        force_setattr(self, "aliases", tuple([one.alias for one in known_by]))
        force_setattr(self, "masked", _masked(self))
        force_setattr(self, "record_key", self.key.encode())


def _masked(known_by: Identifiers) -> str:
    shown = [repr(one) for one in (known_by.phone, known_by.email, known_by.cpf) if one is not None]
    return " ".join(shown) or "nobody"


def identified(lead: Lead, denied_aliases: frozenset[str], area_code: str = "") -> Identifiers:
    """What the contact behind a lead is known by; placeholders and the firm's own numbers are not among it.

    ``area_code`` completes a phone that was typed without one; "" leaves such a phone unread.
    """
    typed = lead.phone, lead.email, lead.cpf, denied_aliases, area_code
    return _known_by[typed] or Identifiers(None, None, None, lead.id)


def contact_of(lead: Lead, denied_aliases: frozenset[str], area_code: str = "") -> Contact:
    """The contact behind a lead; as ``identified``."""
    return _contacts[lead.phone, lead.email, lead.cpf, denied_aliases, area_code] or Contact(None, None, None, lead.id)


Typed = tuple[str, str, str, frozenset[str], str]  # phone, e-mail and CPF of a lead, who is nobody, the area code


def _read(typed: Typed) -> Identifiers | None:
    raw_phone, raw_email, raw_cpf, denied_aliases, area_code = typed
    phone, assumed = _phone_in(raw_phone, raw_email, denied_aliases, area_code)
    email = _email_in(raw_phone, raw_email, denied_aliases)
    cpf = _real_cpf(raw_cpf, denied_aliases) if raw_cpf else None
    if phone is not None:
        return Identifiers(phone, email, cpf, phone.e164, assumed)
    if email is not None:
        return Identifiers(phone, email, cpf, email.address)
    return None if cpf is None else Identifiers(phone, email, cpf, cpf.digits)


def _read_contact(typed: Typed) -> Contact | None:
    one = _read(typed)
    return None if one is None else Contact(one.phone, one.email, one.cpf, one.key, one.area_code_assumed)


_known_by = Memo(_read, REMEMBERED)
_contacts = Memo(_read_contact, REMEMBERED)


def parse_denylist(values: Iterable[str]) -> frozenset[str]:
    """The canonical aliases of phones, e-mails and CPFs that are nobody's; what can't be read is left out."""
    parsed = [
        one
        for value in values
        for one in ((Email.parse(value),) if "@" in value else (Phone.parse(value), Cpf.parse(value)))
    ]
    return frozenset(one.alias for one in parsed if one is not None)


def is_placeholder(value: Phone | Email | Cpf, denied_aliases: frozenset[str]) -> bool:
    """Whether a value stands for "I don't want to say": 99999-9999, ``teste@``, or denied."""
    if denied_aliases and value.alias in denied_aliases:
        return True
    if isinstance(value, Email):
        return _is_nobodys_address(value.address)
    if isinstance(value, Cpf):
        return _is_repeated(value.digits) or value.digits.startswith(_COUNTED_CPF)
    number = value.national[2:]
    return number in _NOBODYS_NUMBERS if number else value.e164[-8:] in _NOBODYS_FOREIGN_ENDINGS


def _is_nobodys_address(address: str) -> bool:
    local, _, domain = address.partition("@")
    bare = local.replace(".", "").replace("_", "").replace("+", "").replace("-", "")  # a table takes thrice as long
    return (
        bare.rstrip("0123456789") in _NOBODYS_NAMES
        or domain.partition(".")[0] in _NOBODYS_DOMAINS
        or (len(bare) > 1 and (_is_repeated(bare) or bare in _COUNTED))
    )


def _is_repeated(text: str) -> bool:
    return text != "" and text.count(text[0]) == len(text)


def _phone_in(
    raw_phone: str, raw_email: str, denied_aliases: frozenset[str], area_code: str
) -> tuple[Phone | None, bool]:
    """The lead's phone, from the other field where people swapped them, and whether its area code is assumed."""
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
    """The lead's e-mail, from the other field where people swapped them."""
    email = _real_email(raw_email, denied_aliases) if raw_email else None
    if email is None and "@" in raw_phone and not (raw_email and Email.parse(raw_email) is not None):
        other = _only_address_in(raw_phone)
        return None if other is None or is_placeholder(other, denied_aliases) else other
    return email


def _real_phone(raw: str, denied_aliases: frozenset[str]) -> Phone | None:
    """The first phone in ``raw`` that is somebody's."""
    phone = Phone.parse(raw)
    if phone is None or not is_placeholder(phone, denied_aliases):
        return phone
    others = (Phone(e164) for e164 in find_phones(raw))
    return next((one for one in others if not is_placeholder(one, denied_aliases)), None)


def _completed(raw: str, area_code: str, denied_aliases: frozenset[str]) -> Phone | None:
    number = find_local(raw) if 0 < len(raw) <= LONGEST_PHONE else None
    phone = None if number is None else Phone(f"+55{area_code}{number}")
    return None if phone is None or is_placeholder(phone, denied_aliases) else phone


def _real_email(raw: str, denied_aliases: frozenset[str]) -> Email | None:
    email = Email.parse(raw) or _only_address_in(raw)
    return None if email is None or is_placeholder(email, denied_aliases) else email


def _only_address_in(raw: str) -> Email | None:
    """The one address among the words of ``raw``; None where there is none, or more than one."""
    tokens = [token for token in _ADDRESS_IN_TEXT.findall(raw[:LONGEST_PHONE]) if not _is_whatsapp_id(token)]
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
    if plain is None or not raw.isascii() or "--" in text or text.index("@") > LONGEST_LOCAL:
        return _read_email(raw)
    return Email(text) if plain[1] not in _SPECIAL_USE else _read_email(raw)


@lru_cache(maxsize=REMEMBERED)
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
    """Lower case, composed; once more, since lower case may take a letter apart. Raises EmailNotValidError."""
    normalized: str = validate_email(text, check_deliverability=False).normalized
    return unicodedata.normalize("NFC", normalized.lower())
