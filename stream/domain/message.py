"""What a salesperson reads in the CRM: a message in Portuguese, with the facts that the sources gave, as given."""

from __future__ import annotations

import re
from decimal import Decimal

from stream.domain.events import EnrichedEvent, Outcome
from stream.domain.match_warnings import ambiguous_lines, warning
from stream.domain.person import CURRENCY, Address, Income, Person

LONGEST = 5_000  # characters, the CRM's limit
CUT = "\n[...]"

_SEX = {"F": "feminino", "M": "masculino"}


def message(event: EnrichedEvent) -> str:
    """The message of an event, at most 5,000 characters."""
    if event.outcome == Outcome.AMBIGUOUS:
        return shorten("\n".join(ambiguous_lines(event.candidates)))
    if event.outcome == Outcome.NOT_FOUND or event.person is None:
        return "Enriquecimento: nenhum dado encontrado para este contato."
    person = event.person
    lines = ["DADOS DO CLIENTE", *warning(event), *_identity(person), *_economy(person), *_contacts(person)]
    if not person.complete:
        lines.append("(Cadastro parcial: os demais dados ainda não estão disponíveis.)")
    return shorten("\n".join(lines))


def description(event: EnrichedEvent) -> str:
    """The text of a lead that we create: what is known when it is created."""
    if event.person is not None or event.outcome == Outcome.AMBIGUOUS:
        return message(event)
    notes: dict[str, str] = {
        Outcome.PENDING: "Lead recebido; os dados do cliente ainda estão sendo consultados.",
        Outcome.NOT_FOUND: "Lead recebido; nenhum dado encontrado para este contato.",
        Outcome.NO_CONTACT: "Lead recebido sem telefone, e-mail ou CPF válidos.",
    }
    return notes.get(event.outcome, "Lead recebido.")


def shorten(text: str) -> str:
    """``text`` within the CRM's limit."""
    return text if len(text) <= LONGEST else text[: LONGEST - len(CUT)] + CUT


def _identity(person: Person) -> list[str]:
    return _given(
        ("Nome", person.name.title()),
        ("CPF", _cpf(person.cpf)),
        ("Nascimento", _date(person.birth_date)),
        ("Sexo", _SEX.get(person.sex or "", "")),
        ("Mãe", (person.mother_name or "").title()),
        ("Óbito", "sim, conforme a fonte" if person.deceased else ""),
    )


def _economy(person: Person) -> list[str]:
    income = person.income
    return _given(
        ("Renda", f"{_money(income)} por mês" if income is not None else ""),
        ("Profissão", (person.occupation or "").capitalize()),
    )


def _contacts(person: Person) -> list[str]:
    phones = [f"{_phone(phone.number)}{' (WhatsApp)' if phone.whatsapp else ''}" for phone in person.phones]
    return [
        *_given(("Telefones", ", ".join(phones)), ("E-mails", ", ".join(person.emails))),
        *_given(*(("Endereço", _address(address)) for address in person.addresses)),
    ]


def _given(*facts: tuple[str, str]) -> list[str]:
    """One line a fact, whatever line breaks a source put into it."""
    return [f"{name}: {' '.join(value.split())}" for name, value in facts if value.strip()]


# What has not the shape that it should have is shown as it was given: a message is never held up by a fact.
_CPF = re.compile(r"(\d{3})(\d{3})(\d{3})(\d{2})", re.ASCII)
_PHONE = re.compile(r"\+55(\d{2})(\d{4,5})(\d{4})", re.ASCII)
_POSTAL_CODE = re.compile(r"(\d{5})(\d{3})", re.ASCII)
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)


def _cpf(digits: str) -> str:
    return _shaped(_CPF, r"\1.\2.\3-\4", digits)


def _phone(e164: str) -> str:
    return _shaped(_PHONE, r"(\1) \2-\3", e164)


def _date(iso: str | None) -> str:
    return _shaped(_DATE, r"\3/\2/\1", iso or "")


def _shaped(pattern: re.Pattern[str], shape: str, text: str) -> str:
    found = pattern.fullmatch(text)
    return found.expand(shape) if found is not None else text


def _money(income: Income) -> str:
    """``8500.50`` as R$ 8.500,50: the amount as given, whatever its currency."""
    symbol = "R$" if income.currency == CURRENCY else income.currency
    try:
        text = f"{Decimal(income.amount):,.2f}".translate(str.maketrans(",.", ".,"))
    except ArithmeticError:
        text = income.amount
    return f"{symbol} {text}"


def _address(address: Address) -> str:
    street = ", ".join(part for part in (address.street.title(), address.number, address.complement.title()) if part)
    place = "/".join(part for part in (address.city.title(), address.state) if part)
    postal_code = _shaped(_POSTAL_CODE, r"\1-\2", address.postal_code)
    return " - ".join(part for part in (street, address.district.title(), place, postal_code) if part)
