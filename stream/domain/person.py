"""A person, and what Diretrix and the Work API say of one.

Readers of partners' answers are tolerant: any part may be missing or of another type, and what can't be
read is left out. Only facts that a source gave are kept; nothing is computed from them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any

import msgspec

from stream.domain.errors import PartnerUnavailableError, RefusedError
from stream.domain.identity import Email, Phone

MOST_ADDRESSES = 3
MOST_PHONES = 5
MOST_EMAILS = 5
CURRENCY = "BRL"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name and a CPF (eleven digits) that a source gave for an alias."""

    name: str
    cpf: str


@dataclass(frozen=True, slots=True)
class Known:
    """A party of PostgreSQL. ``alias``: under which it was found, "" when by CPF.

    ``listed``: the alias was only listed beside the person. ``raw``: the Work API's answer, None while the
    party is not enriched.
    """

    alias: str
    cpf: str
    name: str
    raw: dict[str, Any] | None
    enriched_at: datetime | None
    listed: bool = False


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What Diretrix answered for an alias; no candidates: it was not known."""

    alias: str
    candidates: tuple[Candidate, ...]
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """All that PostgreSQL knows of a contact."""

    known: tuple[Known, ...] = ()
    answers: tuple[StoredAnswer, ...] = ()


class Income(msgspec.Struct, frozen=True):
    """A monthly income: decimal string and currency."""

    amount: str
    currency: str = CURRENCY


class Address(msgspec.Struct, frozen=True):
    """A postal address; "" is what was not given."""

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
    """A person as events carry it. ``complete``: the Work API's part is there."""

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

    def encode(self) -> bytes:
        """JSON, as it is spliced into events."""
        return _encoder.encode(self)

    @staticmethod
    def decode(value: bytes) -> Person:
        """The reverse of ``encode``; raises ValueError."""
        return _decoder.decode(value)

    @cached_property
    def facts(self) -> str:
        """A digest of what is said of the person, whenever it was fetched: equal facts, equal digest."""
        timeless = msgspec.structs.replace(self, fetched_at=datetime(1970, 1, 1, tzinfo=UTC))
        return hashlib.blake2b(_encoder.encode(timeless), digest_size=12).hexdigest()

    def aliases(self) -> tuple[Phone | Email, ...]:
        """The phones and e-mails that the source lists; only hints: families are among them."""
        emails = (Email.parse(address) for address in self.emails)
        return (*(Phone(phone.number) for phone in self.phones), *(email for email in emails if email is not None))


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Person)


def candidates_from_diretrix(body: Any) -> tuple[Candidate, ...]:
    """Read Diretrix's array, best first. A ``cpf`` that is not eleven digits occurs and is not usable."""
    if isinstance(body, dict):
        body = [body]
    if not isinstance(body, list):
        raise PartnerUnavailableError("diretrix answered something that is no list")
    candidates: dict[str, Candidate] = {}
    for item in body:
        if isinstance(item, dict):
            cpf = _digits(item.get("cpf"))
            if len(cpf) == 11:  # noqa: PLR2004
                candidates.setdefault(cpf, Candidate(_text(item.get("nome")) or "", cpf))
    return tuple(candidates.values())


def work_answer(body: Any) -> dict[str, Any] | None:
    """Judge a 200 of the Work API: the answer, or None where the CPF is not known.

    Raises RefusedError on ``status``/``erro`` (token, quota), PartnerUnavailableError on what is no object.
    """
    if not isinstance(body, dict):
        raise PartnerUnavailableError("work answered something that is no object")
    if isinstance(body.get("DadosBasicos"), dict) and body["DadosBasicos"]:
        return body
    status = body.get("status")
    if isinstance(status, int) and status not in {200, 404}:
        raise RefusedError("work", f"status {status}")
    if body.get("erro") and status != 404:  # noqa: PLR2004
        raise RefusedError("work", "an error inside a 200")
    return None


def person_from_work(raw: dict[str, Any], cpf: str, fetched_at: datetime) -> Person:
    """A person out of the Work API's answer for ``cpf``."""
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
        addresses=tuple(_address(one) for one in _dicts(raw.get("enderecos")))[:MOST_ADDRESSES],
        phones=_phones(raw.get("telefones")),
        emails=_emails(raw.get("emails")),
        complete=True,
        source="work",
        fetched_at=fetched_at,
    )


def person_from_candidate(candidate: Candidate, fetched_at: datetime) -> Person:
    """What Diretrix alone says: a name and a CPF."""
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
        source="diretrix",
        fetched_at=fetched_at,
    )


def _phones(value: Any) -> tuple[PersonPhone, ...]:
    phones: dict[str, PersonPhone] = {}
    for one in _dicts(value):
        phone = Phone.parse(_text(one.get("telefone")) or "")
        if phone is not None:
            phones.setdefault(phone.e164, PersonPhone(phone.e164, whatsapp=_text(one.get("whatsapp")) == "SIM"))
    return tuple(phones.values())[:MOST_PHONES]


def _emails(value: Any) -> tuple[str, ...]:
    parsed = (Email.parse(_text(one.get("email")) or "") for one in _dicts(value))
    return tuple(dict.fromkeys(email.address for email in parsed if email is not None))[:MOST_EMAILS]


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
    """Read "8500,50" or "8.500,50"."""
    text = (_text(value) or "").removeprefix("R$").strip()
    if "," in text:
        text = text.replace(".", "").replace(",", ".")
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return Income(f"{amount:.2f}") if amount.is_finite() and amount >= 0 else None


def _date(value: Any) -> str | None:
    """Read dd/mm/yyyy, or ISO, as ISO."""
    text = _text(value) or ""
    for form in ("%d/%m/%Y", "%Y-%m-%d"):
        try:
            return datetime.strptime(text[:10], form).date().isoformat()  # noqa: DTZ007 - a date has no zone
        except ValueError:
            continue
    return None


def _sex(value: Any) -> str | None:
    letter = (_text(value) or "")[:1].upper()
    return letter if letter in {"F", "M"} else None


def _occupation(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("descricao") or value.get("profissao") or value.get("nome")
    return _text(value)


def _deceased(value: Any) -> bool | None:
    if isinstance(value, dict):
        value = value.get("obito")
    if isinstance(value, bool):
        return value
    return {"SIM": True, "S": True, "NAO": False, "NÃO": False, "N": False}.get((_text(value) or "").upper())


def _text(value: Any) -> str | None:
    """Text without NUL; a number as its digits; None for the rest and for nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).replace("\x00", "").strip() or None


def _digits(value: Any) -> str:
    return "".join(character for character in (_text(value) or "") if character in "0123456789")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
