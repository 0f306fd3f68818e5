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
import phonenumbers
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from msgspec.structs import force_setattr
from phonenumbers import NumberParseException, PhoneNumberFormat
from stdnum.br import cpf as stdnum_cpf

from stream.domain.memo import Memo

if TYPE_CHECKING:
    from stream.domain.leads import Lead

BRAZIL = "55"
LONGEST_PHONE = 64  # characters; whatever is longer was not typed as a phone
LONGEST_EMAIL = 254  # characters, RFC 5321
LONGEST_LOCAL = 64  # characters before the @, RFC 5321
CPF_DIGITS = 11
REMEMBERED = 20_000  # spellings, and contacts, whose reading is remembered

_EXTENSION = re.compile(r"(?i)(?:(?<![a-zà-ú])(?:ramal|r|ext|extens[aã]o|x)|#)\s*[.:]?\s*\d{1,6}\s*$")
_SEVERAL = re.compile(r"(?i)[/;,|]|\b(?:ou|e)\b")
# The area codes and the shape of numbers are Anatel's; they change less often than any library's list of ranges.
_AREA = r"1[1-9]|2[12478]|3[1-578]|4[1-9]|5[1345]|6[1-9]|7[134579]|8[1-9]|9[1-9]"
_CARRIER = r"1[245]|2[1-35]|31|4[13]|[56]5|99"
# 00, 55 (typed twice now and then), the trunk's 0 and a carrier, then area and number: nine digits of a mobile,
# eight of a landline (2 to 5) or of a mobile as it was until 2016 (6 to 9).
_BRAZILIAN = re.compile(
    rf"(?:0{{0,2}}(?:55){{0,2}})(?:0(?:{_CARRIER})?)?(?P<area>{_AREA})(?P<number>9\d{{8}}|[2-9]\d{{7}})", re.ASCII
)
_MOBILE_NOW = 9  # digits
_FIRST_OF_LEGACY_MOBILES = "6789"
# What nearly everybody types: no letter, no second phone, no country but 55, no carrier. All the rules say the same of
# it (a test holds the short way and the long one together).
_PLAIN_PHONE = re.compile(
    rf"[ (]*(?:\+?55)?[ (]*0?[ (]*({_AREA})[ ).-]*(9[ .-]?\d{{4}}|[2-9]\d{{3}})[ .-]{{0,3}}(\d{{4}})", re.ASCII
)
# What nearly everybody types, in small letters. The library says the same of it (a test holds the two together) in ten
# times the time. Without regard to case the pattern would take three times as long.
_PLAIN_EMAIL = re.compile(
    r"(?:[a-z0-9_+-]++\.)*+[a-z0-9_+-]++@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?+\.){1,8}([a-z]{2,63})", re.ASCII
)
_SPECIAL_USE = frozenset(SPECIAL_USE_DOMAIN_NAMES)
_COUNTED = "01234567890123456789"
_COUNTED_CPF = "123456789"
_NOBODYS_ENDINGS = frozenset(
    {*(8 * digit for digit in "0123456789"), *(_COUNTED[at : at + 8] for at in range(len(_COUNTED) - 7))}
)  # of a phone
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
        """Read a phone as typed in Brazil; None when it is no phone. Foreign numbers need their ``+`` or ``00``."""
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
        """Digits as databases hold them: with and without 55, with and without a ninth digit that was added."""
        if not self.is_brazilian:
            return (self.e164[1:],)
        national = self.national
        area, number = national[:2], national[2:]
        # Without its 9 a mobile of a newer range would be somebody else's landline.
        added = len(number) == _MOBILE_NOW and number[1] in _FIRST_OF_LEGACY_MOBILES
        both = (national, area + number[1:]) if added else (national,)
        return tuple(spelling for one in both for spelling in (one, BRAZIL + one))

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
        digits = _digits(raw) if len(raw) <= LONGEST_PHONE else ""
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


def identified(lead: Lead, nobodys: frozenset[str]) -> Identifiers:
    """What the contact behind a lead is known by; placeholders and the firm's own numbers are not among it."""
    return _known_by[lead.phone, lead.email, lead.cpf, nobodys] or Identifiers(None, None, None, lead.id)


def contact_of(lead: Lead, nobodys: frozenset[str]) -> Contact:
    """The contact behind a lead; placeholders and the firm's own numbers are neither key nor alias."""
    return _contacts[lead.phone, lead.email, lead.cpf, nobodys] or Contact(None, None, None, lead.id)


Typed = tuple[str, str, str, frozenset[str]]  # phone, e-mail and CPF of a lead, and who is nobody


def _read(typed: Typed) -> Identifiers | None:
    raw_phone, raw_email, raw_cpf, nobodys = typed
    phone = _real_phone(raw_phone, nobodys) if raw_phone else None
    email = _real_email(raw_email, nobodys) if raw_email else None
    cpf = _real_cpf(raw_cpf, nobodys) if raw_cpf else None
    if phone is not None:
        return Identifiers(phone, email, cpf, phone.e164)
    if email is not None:
        return Identifiers(phone, email, cpf, email.address)
    return None if cpf is None else Identifiers(phone, email, cpf, cpf.digits)


def _read_contact(typed: Typed) -> Contact | None:
    one = _read(typed)
    return None if one is None else Contact(one.phone, one.email, one.cpf, one.key)


_known_by = Memo(_read, REMEMBERED)
_contacts = Memo(_read_contact, REMEMBERED)


def denylist(values: Iterable[str]) -> frozenset[str]:
    """The canonical aliases of phones, e-mails and CPFs that are nobody's; what can't be read is left out."""
    parsed = [
        one
        for value in values
        for one in ((Email.parse(value),) if "@" in value else (Phone.parse(value), Cpf.parse(value)))
    ]
    return frozenset(one.alias for one in parsed if one is not None)


def is_placeholder(value: Phone | Email | Cpf, nobodys: frozenset[str]) -> bool:
    """Whether a value stands for "I don't want to say": repeated or counted digits, ``teste@``, or denied."""
    if nobodys and value.alias in nobodys:
        return True
    if isinstance(value, Email):
        return _is_nobodys_address(value.address)
    if isinstance(value, Cpf):
        return _is_repeated(value.digits) or value.digits.startswith(_COUNTED_CPF)
    return value.e164[-8:] in _NOBODYS_ENDINGS


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


def _real_phone(raw: str, nobodys: frozenset[str]) -> Phone | None:
    phone = Phone.parse(raw)
    return None if phone is None or is_placeholder(phone, nobodys) else phone


def _real_email(raw: str, nobodys: frozenset[str]) -> Email | None:
    email = Email.parse(raw)
    return None if email is None or is_placeholder(email, nobodys) else email


def _real_cpf(raw: str, nobodys: frozenset[str]) -> Cpf | None:
    cpf = Cpf.parse(raw)
    return None if cpf is None or is_placeholder(cpf, nobodys) else cpf


def _parse_phone(raw: str) -> Phone | None:
    plain = _PLAIN_PHONE.fullmatch(raw)
    if plain is None:
        return _read_any_phone(raw)
    area, first, last = plain.groups()
    number: str = first + last
    return _with_ninth_digit(area, number if len(number) <= _MOBILE_NOW else number[0] + number[2:])


def _read_any_phone(raw: str) -> Phone | None:
    text = unicodedata.normalize("NFKC", raw)
    local, at, _ = text.partition("@")
    if at and not local.strip().isdigit():  # 5511987654321@c.us is a phone, maria1987@ is not
        return None
    whole = _read_phone(_EXTENSION.sub("", local))
    if whole is not None:
        return whole
    # Two phones in one field: the first that can be read.
    pieces = (_read_phone(_EXTENSION.sub("", piece)) for piece in _SEVERAL.split(local))
    return next((phone for phone in pieces if phone is not None), None)


def _read_phone(text: str) -> Phone | None:
    """One phone; a foreign one begins with ``+`` or ``00``, whatever brackets or words stand before it."""
    digits = _digits(text)
    brazilian = _brazilian(digits)
    with_plus = re.match(r"[^0-9+]*\+", text) is not None
    abroad = digits if with_plus else digits.removeprefix("00")
    if abroad.startswith(BRAZIL) or (abroad == digits and not with_plus):
        return brazilian
    # "+11 98765-4321" is no number of any country: the + was meant for Brazil.
    return _foreign(abroad, strictly=True) or brazilian or _foreign(abroad, strictly=False)


def _brazilian(digits: str) -> Phone | None:
    found = _BRAZILIAN.fullmatch(digits)
    if found is None:
        return None
    return _with_ninth_digit(found["area"], found["number"])


def _with_ninth_digit(area: str, number: str) -> Phone:
    # Until 2016 mobiles had eight digits; the ninth, a 9, was put before them.
    legacy = len(number) < _MOBILE_NOW and number[0] in _FIRST_OF_LEGACY_MOBILES
    return Phone(f"+{BRAZIL}{area}9{number}" if legacy else f"+{BRAZIL}{area}{number}")


def _foreign(digits: str, *, strictly: bool) -> Phone | None:
    """``strictly``: in a range that is in use as far as the library knows; otherwise the length must be possible."""
    try:
        number = phonenumbers.parse(f"+{digits}")
    except NumberParseException:
        return None
    accepted = phonenumbers.is_valid_number(number) if strictly else phonenumbers.is_possible_number(number)
    if str(number.country_code) == BRAZIL or not accepted:
        return None
    return Phone(phonenumbers.format_number(number, PhoneNumberFormat.E164))


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
