"""A person, and the readers of what Diretrix and the Work API say about one.

Rule 1: the readers accept that any part is missing or of another type. A part that can't be read is left out.
Rule 2: only facts that a source gave are kept. Nothing is computed from them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

from stream.domain.errors import Billed, PartnerUnavailableError, RefusedError
from stream.domain.identity import Email, Phone
from stream.domain.json_sanitise import json_sanitise
from stream.domain.provider import Provider

MAX_ADDRESSES = 3
MAX_PHONES = 5
MAX_EMAILS = 5
MAX_ENTRIES_READ = 200  # of one list; reading thousands of phones would block the event loop
CURRENCY = "BRL"
CPF_DIGITS = 11
MAX_TEXT_CHARS = 500  # of one fact
# The values of ``status`` inside a 200 of the Work API.
OK, NOT_FOUND, TOO_MANY_REQUESTS, SERVER_ERRORS = 200, 404, 429, 500

# "8500,50", "8.500,50", "R$ 8.500", "8500.50", "8500"
_MONEY = re.compile(r"(?:R\$)?\s*(\d{1,3}(?:\.\d{3})+|\d{1,15})(?:[.,](\d{1,9}))?", re.ASCII)
_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?!\d)", re.ASCII)
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)", re.ASCII)


class Candidate(msgspec.Struct, frozen=True, array_like=True):
    """A name and a CPF (eleven digits) that a source gave for an alias."""

    name: str
    cpf: str

    def __repr__(self) -> str:
        return f"Candidate(***{self.cpf[-2:]})"


@dataclass(frozen=True, slots=True)
class StoredPerson:
    """A party in PostgreSQL. ``alias``: the one under which it was found, "" if it was found by its CPF.

    ``listed``: the alias was only listed beside the person. ``raw``: the Work API's answer, None if there is none yet.
    """

    alias: str = field(repr=False)
    cpf: str = field(repr=False)
    name: str = field(repr=False)
    raw: dict[str, Any] | None = field(repr=False)
    enriched_at: datetime | None
    listed: bool = False
    created_at: datetime | None = None  # of the contact's row


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What Diretrix answered for an alias. Without candidates Diretrix does not know the alias."""

    alias: str = field(repr=False)
    candidates: tuple[Candidate, ...]
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """What PostgreSQL knows about a contact."""

    known: tuple[StoredPerson, ...] = ()
    answers: tuple[StoredAnswer, ...] = ()


class Income(msgspec.Struct, frozen=True):
    """A monthly income. ``amount`` is a decimal number as text."""

    amount: str
    currency: str = CURRENCY


class Address(msgspec.Struct, frozen=True):
    """A postal address; a field is "" if it was not given."""

    street: str = ""
    number: str = ""
    complement: str = ""
    district: str = ""
    city: str = ""
    state: str = ""
    postal_code: str = ""


class PersonPhone(msgspec.Struct, frozen=True):
    """A phone in E.164."""

    number: str
    whatsapp: bool = False


class Person(msgspec.Struct, frozen=True, dict=True):
    """A person as events carry it. ``complete``: it has the Work API's facts."""

    cpf: str
    name: str
    birth_date: str | None
    sex: str | None
    mother_name: str | None
    income: Income | None
    occupation: str | None
    deceased: bool | None
    addresses: tuple[Address, ...]
    phones: tuple[PersonPhone, ...]
    emails: tuple[str, ...]
    complete: bool
    source: str
    fetched_at: datetime

    def __repr__(self) -> str:
        return f"Person(***{self.cpf[-2:]}, {self.source}, complete={self.complete})"

    def encode(self) -> bytes:
        """JSON, as it is copied into events."""
        return _encoder.encode(self)

    @staticmethod
    def decode(value: bytes) -> Person:
        """The reverse of ``encode``; raises ValueError."""
        return _decoder.decode(value)

    @cached_property
    def facts(self) -> str:
        """A digest of all fields but ``fetched_at``: equal facts have an equal digest."""
        timeless = msgspec.structs.replace(self, fetched_at=datetime(1970, 1, 1, tzinfo=UTC))
        return hashlib.blake2b(_encoder.encode(timeless), digest_size=12).hexdigest()

    def aliases(self) -> tuple[Phone | Email, ...]:
        """The phones and e-mails that the source lists. They are only hints, because relatives' are among them."""
        emails = (Email.parse(address) for address in self.emails)
        return (*(Phone(phone.number) for phone in self.phones), *(email for email in emails if email is not None))


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Person)


def candidates_from_diretrix(body: Any) -> tuple[Candidate, ...]:
    """Read Diretrix's array, best first. Entries without a ``cpf`` of eleven digits occur, and are left out."""
    if isinstance(body, dict):
        body = [body]
    if not isinstance(body, list):
        raise PartnerUnavailableError("diretrix: the answer is no list")
    candidates: dict[str, Candidate] = {}
    for item in body:
        if isinstance(item, dict):
            cpf = _digits(item.get("cpf"))
            if len(cpf) == CPF_DIGITS and len(set(cpf)) > 1:
                candidates.setdefault(cpf, Candidate(_text(item.get("nome")) or "", cpf))
    return tuple(candidates.values())


def work_answer(body: Any) -> dict[str, Any] | None:
    """Read a 200 of the Work API: the answer, ready to be stored, or None if the Work API does not know the CPF.

    Raises RefusedError if ``status`` or ``erro`` refuses us (token, quota), PartnerUnavailableError if a later attempt
    may succeed. No reason quotes the body, which may contain the CPF or the token.
    """
    if not isinstance(body, dict):
        raise PartnerUnavailableError("work: the answer is no object")
    if isinstance(body.get("DadosBasicos"), dict) and body["DadosBasicos"]:
        answer: dict[str, Any] = json_sanitise(body)
        return answer
    status = _status(body.get("status"))
    if status == TOO_MANY_REQUESTS:
        raise PartnerUnavailableError("work: status 429 inside a 200", billed=Billed.NO)
    if status is not None and status >= SERVER_ERRORS:
        raise PartnerUnavailableError(f"work: status {status} inside a 200", billed=Billed.UNSURE)
    if status is not None and status not in {OK, NOT_FOUND}:
        raise RefusedError(Provider.WORK, f"status {status}")
    if body.get("erro") and status != NOT_FOUND:
        raise RefusedError(Provider.WORK, "an error inside a 200")
    return None


def is_other_person(raw: dict[str, Any], cpf: str) -> bool:
    """Whether the Work API's answer for ``cpf`` (eleven digits) names another CPF."""
    digits = _digits(_dict(raw.get("DadosBasicos")).get("cpf"))
    return digits != "" and digits.zfill(CPF_DIGITS) != cpf  # a CPF that is a JSON number has no leading zeros


def _status(value: Any) -> int | None:
    """The status as a number of three digits, None for any other value."""
    text = _text(value) or ""
    return int(text) if len(text) == 3 and text.isascii() and text.isdecimal() else None  # noqa: PLR2004


def person_from_work(raw: dict[str, Any], cpf: str, fetched_at: datetime) -> Person:
    """The person in the Work API's answer for ``cpf``."""
    basics, economics = _dict(raw.get("DadosBasicos")), _dict(raw.get("DadosEconomicos"))
    return Person(
        cpf=cpf,
        name=_text(basics.get("nome")) or "",
        birth_date=_date(basics.get("dataNascimento")),
        sex=_sex(basics.get("sexo")),
        mother_name=_text(basics.get("nomeMae")),
        income=_income(economics.get("renda")),
        occupation=_occupation(raw.get("profissao")),
        deceased=_deceased(basics.get("obito")),
        addresses=_addresses(raw.get("enderecos")),
        phones=_phones(raw.get("telefones")),
        emails=_emails(raw.get("emails")),
        complete=True,
        source=Provider.WORK.value,
        fetched_at=fetched_at,
    )


def person_from_candidate(candidate: Candidate, fetched_at: datetime) -> Person:
    """The person as far as Diretrix alone knows it: a name and a CPF."""
    return Person(
        cpf=candidate.cpf,
        name=candidate.name,
        birth_date=None,
        sex=None,
        mother_name=None,
        income=None,
        occupation=None,
        deceased=None,
        addresses=(),
        phones=(),
        emails=(),
        complete=False,
        source=Provider.DIRETRIX.value,
        fetched_at=fetched_at,
    )


def _phones(value: Any) -> tuple[PersonPhone, ...]:
    phones: dict[str, PersonPhone] = {}
    for one in _dicts(value):
        phone = Phone.parse(_text(one.get("telefone")) or "")
        if phone is not None:
            phones.setdefault(phone.e164, PersonPhone(phone.e164, whatsapp=_yes(one.get("whatsapp")) is True))
    return tuple(phones.values())[:MAX_PHONES]


def _emails(value: Any) -> tuple[str, ...]:
    parsed = (Email.parse(_text(one.get("email")) or "") for one in _dicts(value))
    return tuple(dict.fromkeys(email.address for email in parsed if email is not None))[:MAX_EMAILS]


def _addresses(value: Any) -> tuple[Address, ...]:
    """The first addresses that are not empty, each once."""
    addresses = dict.fromkeys(_address(one) for one in _dicts(value))
    return tuple(address for address in addresses if address != Address())[:MAX_ADDRESSES]


def _address(raw: dict[str, Any]) -> Address:
    street = " ".join(part for part in (_text(raw.get("tipoLogradouro")), _text(raw.get("logradouro"))) if part)
    return Address(
        street=street,
        number=_text(raw.get("logradouroNumero")) or "",
        complement=_text(raw.get("complemento")) or "",
        district=_text(raw.get("bairro")) or "",
        city=_text(raw.get("cidade")) or "",
        state=_text(raw.get("uf")) or "",
        postal_code=_digits(raw.get("cep")),
    )


def _income(value: Any) -> Income | None:
    """The amount with two decimals, from a number or text. In text a dot before three digits groups thousands."""
    found = _MONEY.fullmatch(f"{value:.2f}" if isinstance(value, float) else _text(value) or "")
    if found is None:
        return None
    whole, fraction = found[1].replace(".", ""), found[2] or "0"
    return Income(f"{Decimal(f'{whole}.{fraction}'):.2f}")


def _date(value: Any) -> str | None:
    """Read dd/mm/yyyy or yyyy-mm-dd; returns yyyy-mm-dd."""
    text = _text(value) or ""
    brazilian, iso = _DATE.match(text), _ISO_DATE.match(text)
    try:
        if brazilian is not None:
            return date(int(brazilian[3]), int(brazilian[2]), int(brazilian[1])).isoformat()
        return date.fromisoformat(iso[0]).isoformat() if iso is not None else None
    except ValueError:
        return None


def _sex(value: Any) -> str | None:
    letter = (_text(value) or "")[:1].upper()
    return letter if letter in {"F", "M"} else None


def _occupation(value: Any) -> str | None:
    """Read text, an object, or a list of either."""
    if isinstance(value, list):
        return next((text for one in value if not isinstance(one, list) and (text := _occupation(one))), None)
    if isinstance(value, dict):
        value = next((value[name] for name in ("descricao", "profissao", "nome") if _text(value.get(name))), None)
    return _text(value)


def _deceased(value: Any) -> bool | None:
    return _yes(value.get("obito") if isinstance(value, dict) else value)


def _yes(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"SIM": True, "S": True, "NAO": False, "NÃO": False, "N": False}.get((_text(value) or "").upper())


def _text(value: Any) -> str | None:
    """Text that UTF-8 and PostgreSQL can store; a number as its digits; None for an empty text or another type."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float):
        text = str(int(value)) if value.is_integer() else str(value)
    else:
        text = value if isinstance(value, str) else _decimal(value)
    return text.replace("\x00", "").encode("utf-8", "ignore").decode().strip()[:MAX_TEXT_CHARS].rstrip() or None


def _decimal(value: int) -> str:
    """The digits of an integer up to 64 bit, "" for a larger one: Python refuses to print thousands of digits."""
    return str(value) if value.bit_length() <= 64 else ""  # noqa: PLR2004


def _digits(value: Any) -> str:
    return "".join(character for character in (_text(value) or "") if character in "0123456789")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value[:MAX_ENTRIES_READ] if isinstance(one, dict)] if isinstance(value, list) else []
