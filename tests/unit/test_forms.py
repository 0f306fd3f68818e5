"""Lead forms: whose CPF a column asks for, and that each typed text becomes the lead's or an answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.domain.forms import MAX_ANSWER_CHARS, MAX_ANSWERS, FormAnswer, read_form
from stream.domain.own_cpf import asks_for_own_cpf

CPF, OTHER = "529.982.247-25", "111.444.777-35"


def columns(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"column_id": name, "column_name": name, "string_value": text} for name, text in pairs]


@pytest.mark.parametrize(
    "question",
    [
        *("CPF", "cpf", "CPF*", "CPF:", "Cpf?", "seu_cpf", "qual_o_seu_cpf?", "numero_cpf", "CPF/CNPJ", "CPF ou CNPJ"),
        *(
            "Informe seu CPF",
            "Qual é o seu CPF?",
            "Qual seu CPF",
            "Meu CPF",
            "CPF do comprador?",
            "CPF do comprador(a)",
        ),
        *("CPF (somente números)", "CPF - apenas números, sem pontos", "Ex: CPF 000.000.000-00", "CPF (opcional)"),
        *("Por favor, informe o número do seu CPF", "Digite o seu CPF (11 dígitos)", "Nome e CPF", "CPF do cliente"),
        *("Nos informe seu CPF para uma simulação", "CPF para análise de crédito", "What is your CPF?"),
    ],
)
def test_a_question_for_the_persons_own_cpf_is_one(question: str) -> None:
    """A column called CPF, or one that asks for the CPF of the person who fills it in, is the lead's CPF."""
    assert asks_for_own_cpf(question)
    assert read_form(columns((question, CPF))).cpf == CPF


@pytest.mark.parametrize(
    "question",
    [
        *(
            "Qual o CPF do cônjuge?",
            "CPF da esposa",
            "CPF do esposo",
            "CPF do seu marido",
            "CPF da mulher",
            "cpf_conjuge",
        ),
        *(
            "CPF da mãe",
            "CPF do pai",
            "CPF dos seus pais",
            "CPF do filho",
            "CPF da filha",
            "CPF do irmão",
            "CPF da avó",
        ),
        *("CPF do sócio", "CPF do fiador", "CPF do avalista", "CPF do responsável", "CPF do dependente", "CPF 2"),
        *("CPF de outra pessoa", "CPF da indicação", "CPF de quem indicou", "CPF do amigo indicado", "CPF do corretor"),
        *("Seu CPF e o do seu cônjuge", "CPF do segundo comprador", "CPF do 2º comprador", "CPF do co-comprador"),
        *("CPF do titular da conta", "Nome do sócio e CPF", "Informe seu CPF ou o da sua esposa", "cpfconjuge"),
        *("CPF do representante legal", "Your spouse's CPF", "Telefone", "CNPJ", "RG", "CPFL Energia?"),
    ],
)
def test_a_question_for_another_persons_cpf_is_an_answer(question: str) -> None:
    """Another person's CPF is not the lead's; the salesperson reads it as an answer."""
    assert not asks_for_own_cpf(question)
    form = read_form(columns((question, CPF)))
    assert (form.cpf, form.answers) == ("", (FormAnswer(question, CPF),))


def test_neither_id_nor_question_may_name_another_person() -> None:
    """A column whose id is CPF and whose question names another person is not the lead's CPF."""
    column = {"column_id": "CPF", "column_name": "CPF do cônjuge", "string_value": CPF}
    assert read_form([column]).cpf == ""


@pytest.mark.parametrize(
    ("pairs", "cpf"),
    [
        ([("Seu CPF", OTHER), ("CPF", CPF)], CPF),
        ([("CPF", CPF), ("Seu CPF", OTHER)], CPF),
        ([("Seu CPF", OTHER), ("CPF do comprador", CPF)], ""),
        ([("Seu CPF", CPF), ("CPF do comprador", "52998224725")], CPF),
        ([("CPF", "não sei"), ("Seu CPF", CPF)], CPF),
        ([("CPF", "529.982.247-26")], ""),
        ([("CPF", "111.111.111-11")], ""),
        ([("CPF", CPF), ("cpf", OTHER)], ""),
        ([("CPF/CNPJ", "12.345.678/0001-95")], ""),
        ([("CPF/CNPJ", CPF)], CPF),
    ],
)
def test_of_two_columns_that_disagree_the_one_named_cpf_counts(pairs: list[tuple[str, str]], cpf: str) -> None:
    """Two different CPFs count only if one column is called CPF; the other one is an answer."""
    form = read_form(columns(*pairs))
    assert form.cpf == cpf
    digits = "".join(filter(str.isdecimal, cpf))
    rest = [text for _, text in pairs if not cpf or "".join(filter(str.isdecimal, text)) != digits]
    assert [one.answer for one in form.answers] == rest


def test_other_columns_are_answers_in_order() -> None:
    """Answers keep the question as the person read it; the lead's own columns are not repeated."""
    data = [
        {"column_id": "FULL_NAME", "string_value": "Ana Souza"},
        {"column_id": "PHONE_NUMBER", "string_value": "98765-0001"},
        {"column_id": "WORK_PHONE", "string_value": "11 3222-1234"},
        {"column_id": "EMAIL", "string_value": "ana@x.com"},
        {"column_id": "WORK_EMAIL", "string_value": "ana@x.com"},
        {"column_id": "quando_pretende_comprar?", "column_name": "Quando pretende comprar?", "string_value": "já"},
        {"column_id": "CITY", "string_value": "Santos"},
        {"column_id": "POSTAL_CODE", "string_value": ""},
        {"column_name": "Quartos", "string_value": 3},
        {"string_value": "?"},
    ]
    form = read_form(data)
    assert (form.name, form.phone, form.email) == ("Ana Souza", "11 3222-1234", "ana@x.com")
    assert form.answers == (
        FormAnswer("PHONE_NUMBER", "98765-0001"),
        FormAnswer("Quando pretende comprar?", "já"),
        FormAnswer("CITY", "Santos"),
        FormAnswer("Quartos", "3"),
    )


@given(st.lists(st.tuples(st.text(min_size=1, max_size=400), st.text(max_size=700)), max_size=40))
def test_answers_are_bounded(pairs: list[tuple[str, str]]) -> None:
    """A form gives at most MAX_ANSWERS answers of at most MAX_ANSWER_CHARS."""
    answers = read_form(columns(*pairs)).answers
    assert len(answers) <= MAX_ANSWERS
    assert all(len(one.question) <= MAX_ANSWER_CHARS and len(one.answer) <= MAX_ANSWER_CHARS for one in answers)
