"""The text that a salesperson reads: Portuguese, within the CRM's limit, the facts as the sources gave them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.domain.crm_message import MAX_MESSAGE_CHARS, description, message
from stream.domain.events import EnrichedEvent, EventContact, EventLead, Match, Outcome
from stream.domain.match_warnings import ambiguous_lines
from stream.domain.person import (
    Address,
    Candidate,
    Income,
    Person,
    PersonPhone,
    person_from_candidate,
    person_from_work,
)

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CPF = "52998224725"
PERSON = Person(
    cpf=CPF,
    name="MARIA DE SOUZA LIMA",
    birth_date="1981-03-05",
    sex="F",
    mother_name="ANA DE SOUZA",
    income=Income("8500.50"),
    occupation="ENGENHEIRA CIVIL",
    deceased=False,
    addresses=(Address("RUA DAS FLORES", "100", "AP 12", "CENTRO", "SÃO PAULO", "SP", "01310100"),),
    phones=(PersonPhone("+5511987654321", whatsapp=True), PersonPhone("+551133334444"), PersonPhone("+14155552671")),
    emails=("maria@example.com",),
    complete=True,
    source="work",
    fetched_at=NOW,
)


def event(
    person: Person | None = PERSON, outcome: Outcome = Outcome.ENRICHED, match: Match | None = None
) -> EnrichedEvent:
    return EnrichedEvent(
        "7b0c2d7e-0000-5000-8000-000000000000",
        "revision",
        EventLead("c2s", "L1"),
        EventContact("+5511987654321"),
        outcome,
        NOW,
        NOW,
        person=person,
        match=match,
    )


def test_a_salesperson_reads_the_facts() -> None:
    """All known facts are there, with Portuguese labels and Brazilian formats."""
    assert message(event()).splitlines() == [
        "DADOS DO CLIENTE",
        "Nome: Maria De Souza Lima",
        "CPF: 529.982.247-25",
        "Nascimento: 05/03/1981",
        "Sexo: feminino",
        "Mãe: Ana De Souza",
        "Renda: R$ 8.500,50 por mês",
        "Profissão: Engenheira civil",
        "Telefones: (11) 98765-4321 (WhatsApp), (11) 3333-4444, +14155552671",
        "E-mails: maria@example.com",
        "Endereço: Rua Das Flores, 100, Ap 12 - Centro - São Paulo/SP - 01310-100",
    ]


def test_a_fact_that_was_not_given_leaves_no_line() -> None:
    """A fact that no source gave leaves no label, no placeholder and no empty line."""
    assert message(event(person_from_candidate(Candidate("MARIA LIMA", CPF), NOW))).splitlines() == [
        "DADOS DO CLIENTE",
        "Nome: Maria Lima",
        "CPF: 529.982.247-25",
        "(Cadastro parcial: os demais dados ainda não estão disponíveis.)",
    ]


@pytest.mark.parametrize(
    ("renda", "line"),
    [("8500,50", "R$ 8.500,50"), ("1.234.567,89", "R$ 1.234.567,89"), ("0", "R$ 0,00"), (1900, "R$ 1.900,00")],
)
def test_the_income_is_never_multiplied(renda: Any, line: str) -> None:
    """The income is the amount of the Work API, to the cent."""
    person = person_from_work({"DadosEconomicos": {"renda": renda}}, CPF, NOW)
    assert f"Renda: {line} por mês" in message(event(person)).splitlines()


@pytest.mark.parametrize(
    ("match", "words"),
    [
        (Match.NAME_DIFFERS, "difere do nome encontrado"),
        (Match.CONFLICTING, "pertencem a pessoas diferentes"),
        (Match.FIRST_NAME, "confirme se é esta pessoa"),
        (Match.NO_NAME, "confirme se é esta pessoa"),
    ],
)
def test_a_doubtful_match_is_said_first(match: Match, words: str) -> None:
    """The warning of a doubtful match stands above the facts."""
    second = message(event(match=match)).splitlines()[1]
    assert second.startswith("ATENÇÃO")
    assert words in second


@pytest.mark.parametrize("match", [Match.NAME, None])
def test_a_sure_match_carries_no_warning(match: Match | None) -> None:
    """A sure match has no warning, so that warnings are read."""
    assert "ATENÇÃO" not in message(event(match=match))


def test_a_death_is_told_only_when_a_source_says_so() -> None:
    """The message has Óbito only if a source says that the person died."""
    assert "Óbito" not in message(event())
    assert "Óbito: sim" in message(event(msgspec.structs.replace(PERSON, deceased=True)))


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome.PENDING, "ainda estão sendo consultados"),
        (Outcome.NOT_FOUND, "nenhum dado encontrado"),
        (Outcome.NO_CONTACT, "sem telefone, e-mail ou CPF"),
    ],
)
def test_a_lead_without_a_person_says_why(outcome: Outcome, words: str) -> None:
    """The description of a lead without a person says why there is none."""
    assert words in description(event(None, outcome))


def test_a_lead_with_a_person_is_described_by_the_message() -> None:
    """The description of a lead contains what is known at its creation."""
    assert description(event()) == message(event())


@given(
    st.text(max_size=600),
    st.text(max_size=30),
    st.lists(st.builds(Address, *[st.text(max_size=500)] * 7), max_size=3),
    st.lists(st.builds(PersonPhone, st.text(max_size=20), whatsapp=st.booleans()), max_size=5),
)
def test_whatever_a_source_says_makes_a_message(
    text: str, amount: str, addresses: list[Address], phones: list[PersonPhone]
) -> None:
    """No value prevents a message, and none makes it longer than the CRM's limit."""
    person = msgspec.structs.replace(
        PERSON,
        cpf=text,
        name=text,
        birth_date=text,
        sex=text,
        mother_name=text,
        income=Income(amount, text),
        occupation=text,
        addresses=tuple(addresses),
        phones=tuple(phones),
        emails=(text, text),
    )
    written = message(event(person))
    assert len(written) <= MAX_MESSAGE_CHARS
    assert len(written) < MAX_MESSAGE_CHARS or written.endswith("[...]")


@pytest.mark.parametrize(
    ("candidates", "lines"),
    [
        (
            ("CARLOS SOUZA", "CARLOS SOUZA FILHO"),
            ["Podem ser: Carlos Souza; Carlos Souza Filho.", "Para definir: complete o nome no lead"],
        ),
        (("ANA LIMA", "ANA LIMA"), ["Podem ser: Ana Lima (2 pessoas com este nome).", "Para definir: peça ao cliente"]),
        (("", ""), ["Podem ser: 2 pessoas sem nome na fonte.", "Para definir: peça ao cliente"]),
        (("", "ANA LIMA"), ["Podem ser: uma pessoa sem nome na fonte; Ana Lima.", "Para definir: peça ao cliente"]),
    ],
)
def test_what_would_settle_a_tie_does_settle_it(candidates: tuple[str, ...], lines: list[str]) -> None:
    """The message asks for a fuller name of relatives, and for a CPF or another contact of namesakes."""
    said = ambiguous_lines(candidates)
    assert all(text.startswith(line) for text, line in zip(said[1:], lines, strict=True))
