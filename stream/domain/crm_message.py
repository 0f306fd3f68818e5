"""The text that a salesperson reads in the CRM: Portuguese, with the facts as the sources gave them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from stream.domain.events import EnrichedEvent, Outcome
from stream.domain.match_warnings import ambiguous_lines, warning
from stream.domain.person import CURRENCY, Address, Income, Person
from stream.domain.text import one_line
from stream.domain.typed_lines import answer_lines, contact_lines

MAX_MESSAGE_CHARS = 5_000  # the CRM's limit
MAX_NAME_CHARS = 100  # a longer name could be read as facts
MAX_AMOUNT_DIGITS = 18  # before the decimal sign of an amount of money
MAX_FACT_CHARS = 300  # of one fact or one entry of a list
CUT_MARK = "\n[...]"
OMITTED_MARK = "[...]"  # replaces the answers that are left out
HEADING_AND_MARK_LINES = 2

_SEX = {"F": "feminino", "M": "masculino"}


def message(event: EnrichedEvent) -> str:
    """The message of an event, at most ``MAX_MESSAGE_CHARS`` long."""
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
    """The text of a lead that we create: first what is known at its creation, then what the person typed.

    If the text is too long, answers are left out first. What is known is shortened last.
    """
    typed = contact_lines(event)
    room = MAX_MESSAGE_CHARS - sum(len(line) + 1 for line in typed)
    text = "\n".join((shorten(_known_so_far(event), room), *typed))
    lines = answer_lines(event)
    while lines and len(text) + sum(len(line) + 1 for line in lines) > MAX_MESSAGE_CHARS:
        end = -2 if lines[-1] == OMITTED_MARK else -1
        lines = [*lines[:end], OMITTED_MARK] if len(lines) > HEADING_AND_MARK_LINES else []
    return "\n".join((text, *lines))


def _known_so_far(event: EnrichedEvent) -> str:
    if event.person is not None or event.outcome == Outcome.AMBIGUOUS:
        return message(event)
    notes: dict[str, str] = {
        Outcome.PENDING: "Lead recebido; os dados do cliente ainda estão sendo consultados.",
        Outcome.NOT_FOUND: "Lead recebido; nenhum dado encontrado para este contato.",
        Outcome.NO_CONTACT: "Lead recebido sem telefone, e-mail ou CPF válidos.",
    }
    return notes.get(event.outcome, "Lead recebido.")


def one_line_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a lead that we create, each as one line. ``description`` may have several lines."""
    return {
        name: one_line(value, MAX_NAME_CHARS) if isinstance(value, str) and name != "description" else value
        for name, value in attributes.items()
    }


def shorten(text: str, max_chars: int = MAX_MESSAGE_CHARS) -> str:
    """``text``, cut to ``max_chars`` if it is longer. A cut text ends with ``CUT_MARK``."""
    return text if len(text) <= max_chars else text[: max_chars - len(CUT_MARK)] + CUT_MARK


def _identity(person: Person) -> list[str]:
    return _given(
        ("Nome", _name(person.name)),
        ("CPF", _cpf(person.cpf)),
        ("Nascimento", _date(person.birth_date)),
        ("Sexo", _SEX.get(person.sex or "", "")),
        ("Mãe", _name(person.mother_name or "")),
        ("Óbito", "sim, conforme a fonte" if person.deceased else ""),
    )


def _economy(person: Person) -> list[str]:
    income = person.income
    return _given(
        ("Renda", f"{_money(income)} por mês" if income is not None else ""),
        ("Profissão", one_line(person.occupation or "", MAX_FACT_CHARS).capitalize()),
    )


def _contacts(person: Person) -> list[str]:
    phones = [f"{_phone(phone.number)}{' (WhatsApp)' if phone.whatsapp else ''}" for phone in person.phones]
    return [
        *_given(("Telefones", _listed(phones)), ("E-mails", _listed(person.emails))),
        *_given(*(("Endereço", _address(address)) for address in person.addresses)),
    ]


def _given(*facts: tuple[str, str]) -> list[str]:
    """One line for each fact that was given. A line break in a value becomes a blank."""
    lines = ((name, one_line(value)) for name, value in facts)
    return [f"{name}: {value}" for name, value in lines if value]


def _name(text: str) -> str:
    return one_line(text, MAX_NAME_CHARS).title()


def _listed(values: Iterable[str]) -> str:
    return ", ".join(one_line(value, MAX_FACT_CHARS) for value in values)


# A value that does not have the expected shape is shown as it was given: no fact may prevent a message.
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
    return found.expand(shape) if found is not None else one_line(text, MAX_NAME_CHARS)


def _money(income: Income) -> str:
    """``8500.50`` as R$ 8.500,50: the amount as given, whatever its currency."""
    symbol = "R$" if income.currency == CURRENCY else income.currency
    try:
        amount = Decimal(income.amount)
    except ArithmeticError:
        return one_line(f"{symbol} {income.amount}", MAX_NAME_CHARS)
    # An exponent from outside could expand into any number of digits.
    is_sensible = amount.is_finite() and amount.adjusted() < MAX_AMOUNT_DIGITS
    text = f"{amount:,.2f}".translate(str.maketrans(",.", ".,")) if is_sensible else income.amount
    return one_line(f"{symbol} {text}", MAX_NAME_CHARS)


def _address(address: Address) -> str:
    street = ", ".join(part for part in (address.street.title(), address.number, address.complement.title()) if part)
    place = "/".join(part for part in (address.city.title(), address.state) if part)
    postal_code = _shaped(_POSTAL_CODE, r"\1-\2", address.postal_code)
    parts = (street, address.district.title(), place, postal_code)
    return one_line(" - ".join(part for part in parts if part), MAX_FACT_CHARS)
