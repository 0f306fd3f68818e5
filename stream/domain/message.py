"""What a salesperson reads in the CRM: a message in Portuguese, with the facts that the sources gave, as given."""

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

LONGEST = 5_000  # characters, the CRM's limit
LONGEST_NAME = 100  # characters: a name that goes on for longer reads like facts
MOST_DIGITS = 18  # of an amount of money
LONGEST_FACT = 300  # characters of one fact, but for lists
CUT = "\n[...]"
MORE = "[...]"  # in the place of the answers that are left out
HEADING_AND_MORE = 2  # lines

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
    """The text of a lead that we create: what is known when it is created, then what the person typed.

    Where it is too long answers are left out first, and what is known is shortened last.
    """
    typed = contact_lines(event)
    room = LONGEST - sum(len(line) + 1 for line in typed)
    text = "\n".join((shorten(_known_so_far(event), room), *typed))
    lines = answer_lines(event)
    while lines and len(text) + sum(len(line) + 1 for line in lines) > LONGEST:
        lines = [*lines[: -2 if lines[-1] == MORE else -1], MORE] if len(lines) > HEADING_AND_MORE else []
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


def for_a_person(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a lead that we create, each one line; ``description`` has its lines made already."""
    return {
        name: one_line(value, LONGEST_NAME) if isinstance(value, str) and name != "description" else value
        for name, value in attributes.items()
    }


def shorten(text: str, longest: int = LONGEST) -> str:
    """``text`` within ``longest`` characters, the CRM's limit."""
    return text if len(text) <= longest else text[: longest - len(CUT)] + CUT


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
        ("Profissão", one_line(person.occupation or "", LONGEST_FACT).capitalize()),
    )


def _contacts(person: Person) -> list[str]:
    phones = [f"{_phone(phone.number)}{' (WhatsApp)' if phone.whatsapp else ''}" for phone in person.phones]
    return [
        *_given(("Telefones", _listed(phones)), ("E-mails", _listed(person.emails))),
        *_given(*(("Endereço", _address(address)) for address in person.addresses)),
    ]


def _given(*facts: tuple[str, str]) -> list[str]:
    """One line a fact, whatever a source put into it."""
    lines = ((name, one_line(value)) for name, value in facts)
    return [f"{name}: {value}" for name, value in lines if value]


def _name(text: str) -> str:
    return one_line(text, LONGEST_NAME).title()


def _listed(values: Iterable[str]) -> str:
    return ", ".join(one_line(value, LONGEST_FACT) for value in values)


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
    return found.expand(shape) if found is not None else one_line(text, LONGEST_NAME)


def _money(income: Income) -> str:
    """``8500.50`` as R$ 8.500,50: the amount as given, whatever its currency."""
    symbol = "R$" if income.currency == CURRENCY else income.currency
    try:
        amount = Decimal(income.amount)
    except ArithmeticError:
        return one_line(f"{symbol} {income.amount}", LONGEST_NAME)
    # Written out, an exponent from outside would take as much memory as it likes.
    is_sensible = amount.is_finite() and amount.adjusted() < MOST_DIGITS
    text = f"{amount:,.2f}".translate(str.maketrans(",.", ".,")) if is_sensible else income.amount
    return one_line(f"{symbol} {text}", LONGEST_NAME)


def _address(address: Address) -> str:
    street = ", ".join(part for part in (address.street.title(), address.number, address.complement.title()) if part)
    place = "/".join(part for part in (address.city.title(), address.state) if part)
    postal_code = _shaped(_POSTAL_CODE, r"\1-\2", address.postal_code)
    parts = (street, address.district.title(), place, postal_code)
    return one_line(" - ".join(part for part in parts if part), LONGEST_FACT)
