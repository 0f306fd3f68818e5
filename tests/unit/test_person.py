"""The readers of the partners' answers: they accept every shape and keep only what a source said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.domain.errors import PartnerUnavailableError, RefusedError
from stream.domain.identity import Email, Phone
from stream.domain.person import (
    Address,
    Candidate,
    Income,
    Person,
    PersonPhone,
    StoredAnswer,
    StoredPerson,
    candidates_from_diretrix,
    person_from_candidate,
    person_from_work,
    work_answer,
)

GOLDEN = Path(__file__).parent.parent / "golden"
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CPF = "52998224725"

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def golden(name: str) -> Any:
    return orjson.loads((GOLDEN / f"{name}.json").read_bytes())


def answers_like(full: Any) -> st.SearchStrategy[Any]:
    """Any JSON in place of any part of a real answer."""
    if isinstance(full, dict):
        return st.fixed_dictionaries({}, optional={key: answers_like(value) for key, value in full.items()}) | anything
    if isinstance(full, list) and full:
        return st.lists(answers_like(full[0]), max_size=7) | anything
    return st.just(full) | anything


def test_diretrix_gives_candidates_best_first() -> None:
    """Usable CPFs are read in order, each once; companies, blanks and repeated digits are left out."""
    assert candidates_from_diretrix(golden("diretrix_phone")) == (
        Candidate("JOAO DA SILVA", CPF),
        Candidate("MARIA DA SILVA", "11144477735"),
        Candidate("", "39053344705"),
    )
    assert candidates_from_diretrix([]) == ()
    assert candidates_from_diretrix({"nome": "ANA", "cpf": CPF}) == (Candidate("ANA", CPF),)


@pytest.mark.parametrize("body", [None, "", "erro", 1, True])
def test_a_200_of_another_shape_is_a_failure_of_diretrix(body: object) -> None:
    """PartnerUnavailableError says that the call may have been billed."""
    with pytest.raises(PartnerUnavailableError) as caught:
        candidates_from_diretrix(body)
    assert caught.value.billed == "unsure"


@given(answers_like(golden("diretrix_phone")))
def test_diretrix_may_answer_anything(body: Any) -> None:
    """Any answer is read or raises PartnerUnavailableError."""
    try:
        candidates = candidates_from_diretrix(body)
    except PartnerUnavailableError:
        return
    assert all(len(one.cpf) == 11 for one in candidates)
    assert len({one.cpf for one in candidates}) == len(candidates)


def test_a_full_answer_of_the_work_api_becomes_a_person() -> None:
    """Every fact that an event carries is read, in canonical form."""
    assert person_from_work(golden("work_full"), CPF, NOW) == Person(
        cpf=CPF,
        name="JOAO DA SILVA",
        birth_date="1980-01-02",
        sex="M",
        mother_name="MARIA DA SILVA",
        income=Income("8500.50", "BRL"),
        occupation="ANALISTA DE SISTEMAS",
        deceased=False,
        addresses=(
            Address("RUA DAS FLORES", "100", "AP 12", "MOEMA", "SAO PAULO", "SP", "04077000"),
            Address("AVENIDA PAULISTA", "1578", "", "BELA VISTA", "SAO PAULO", "SP", "01310200"),
        ),
        phones=(PersonPhone("+5511987654321", whatsapp=True), PersonPhone("+551133334444", whatsapp=False)),
        emails=("joao.silva@example.com",),
        complete=True,
        source="work",
        fetched_at=NOW,
    )


def test_a_sparse_answer_of_the_work_api_becomes_a_person() -> None:
    """A fact that is missing, or of another type, is left out."""
    person = person_from_work(golden("work_sparse"), CPF, NOW)
    assert (person.name, person.complete, person.phones) == ("ANA SOUZA", True, (PersonPhone("+5521998765432"),))
    left_out = (person.birth_date, person.sex, person.mother_name, person.income, person.occupation, person.deceased)
    assert left_out == (None,) * 6
    assert (person.addresses, person.emails) == ((), ())


@given(answers_like(golden("work_full")))
def test_the_work_api_may_answer_anything(body: Any) -> None:
    """Any answer is read or raises a refusal or a failure; each person is the same after encoding and decoding."""
    try:
        raw = work_answer(body)
    except (RefusedError, PartnerUnavailableError):
        return
    if raw is None:
        return
    assert orjson.dumps(raw)
    person = person_from_work(raw, CPF, NOW)
    assert Person.decode(person.encode()) == person
    assert orjson.loads(person.encode())["cpf"] == CPF
    assert len(person.addresses) <= 3
    assert len(person.phones) <= 5
    assert len(person.emails) <= 5


def test_a_paid_answer_can_be_stored() -> None:
    """The answer is as received, without values that PostgreSQL or a reader can't store."""
    full = golden("work_full")
    assert work_answer(full) is full
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    odd = {"DadosBasicos": {"nome": "A\ud83d B\x00"}, "n\x00": [10**30, 10**400, 2**64 - 1, None], "deep": deep}
    held = work_answer(odd)
    assert held is not None
    assert (held["DadosBasicos"], held["n"]) == ({"nome": "A B"}, [1e30, None, 2**64 - 1, None])
    assert b"u0000" not in orjson.dumps(held)


def test_a_failure_inside_a_200_is_a_refusal() -> None:
    """Token and quota errors raise RefusedError without the body's own words."""
    for body in golden("work_refusals"):
        with pytest.raises(RefusedError) as caught:
            work_answer(body)
        assert caught.value.partner == "work"
        assert "oken" not in str(caught.value)


@pytest.mark.parametrize(("status", "billed"), [(429, "no"), (500, "unsure"), ("503", "unsure")])
def test_a_temporary_error_inside_a_200_is_no_refusal(status: object, billed: str) -> None:
    """Too many requests and server errors raise PartnerUnavailableError, so they are retried."""
    with pytest.raises(PartnerUnavailableError) as caught:
        work_answer({"status": status})
    assert caught.value.billed == billed


def test_a_body_without_a_person_is_not_known() -> None:
    """Without ``DadosBasicos`` and without an error the CPF is not known."""
    assert [work_answer(body) for body in golden("work_not_known")] == [None] * 6
    with pytest.raises(PartnerUnavailableError):
        work_answer([])


@pytest.mark.parametrize(
    ("given_", "amount"),
    [
        ("8500,50", "8500.50"),
        ("8.500,50", "8500.50"),
        ("R$ 1.234.567,8", "1234567.80"),
        ("8.500", "8500.00"),
        ("8500.5", "8500.50"),
        (8500.5, "8500.50"),
        (8500, "8500.00"),
        ("0", "0.00"),
        ("", None),
        ("-1", None),
        ("1e999999999", None),
        (float("nan"), None),
        (10**400, None),
        ("muito", None),
        (True, None),
    ],
)
def test_an_income_is_the_amount_that_was_given(given_: Any, amount: str | None) -> None:
    """The amount is read in each Brazilian spelling, and is never multiplied or invented."""
    raw = {"DadosBasicos": {"nome": "A"}, "DadosEconomicos": {"renda": given_}}
    income = person_from_work(raw, CPF, NOW).income
    assert (income and income.amount) == amount


@given(st.decimals(0, 10**9, places=2))
def test_any_amount_survives_its_brazilian_spelling(amount: Decimal) -> None:
    """An amount that is grouped by dots, with a comma, is read as the same amount."""
    spelled = f"{amount:,.2f}".translate(str.maketrans(",.", ".,"))
    raw = {"DadosBasicos": {"nome": "A"}, "DadosEconomicos": {"renda": spelled}}
    income = person_from_work(raw, CPF, NOW).income
    assert income == Income(f"{amount:.2f}")


@pytest.mark.parametrize(
    ("given_", "day"),
    [
        ("02/01/1980", "1980-01-02"),
        ("2/1/1980 00:00:00", "1980-01-02"),
        ("1980-01-02T00:00:00", "1980-01-02"),
        ("31/02/1980", None),
        ("00/00/0000", None),
        ("1980", None),
        (None, None),
    ],
)
def test_a_birth_date_is_a_day_that_exists(given_: Any, day: str | None) -> None:
    """Dates are read day first; a text that is no date is left out."""
    assert person_from_work({"DadosBasicos": {"dataNascimento": given_}}, CPF, NOW).birth_date == day


def test_a_person_from_diretrix_alone_is_not_complete() -> None:
    """A name and a CPF make a person with ``complete`` false."""
    person = person_from_candidate(Candidate("ANA SOUZA", CPF), NOW)
    assert (person.name, person.cpf, person.complete, person.source) == ("ANA SOUZA", CPF, False, "diretrix")
    assert Person.decode(person.encode()) == person


def test_the_facts_do_not_change_with_time() -> None:
    """The digest of the facts is the same whenever they were fetched, and after encoding; other facts have another."""
    person = person_from_work(golden("work_full"), CPF, NOW)
    later = person_from_work(golden("work_full"), CPF, NOW + timedelta(days=1))
    other = msgspec.structs.replace(person, occupation="OUTRA")
    assert person.facts == later.facts == Person.decode(person.encode()).facts
    assert person.facts != other.facts
    assert len(person.facts) == 24


def test_listed_phones_and_emails_are_aliases() -> None:
    """Each phone and e-mail that the Work API lists is one alias."""
    person = person_from_work(golden("work_full"), CPF, NOW)
    assert person.aliases() == (Phone("+5511987654321"), Phone("+551133334444"), Email("joao.silva@example.com"))


def test_a_value_that_is_no_person_is_refused() -> None:
    """Bytes that are no person raise ValueError."""
    for value in (b"", b"{}", b"[]", b'{"cpf":1}', b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            Person.decode(value)


def test_repr_shows_no_person() -> None:
    """``repr`` of each object that holds people is masked."""
    candidate = Candidate("JOAO DA SILVA", CPF)
    person = person_from_work(golden("work_full"), CPF, NOW)
    known = StoredPerson(f"c:{CPF}", CPF, "JOAO DA SILVA", golden("work_full"), NOW)
    shown = repr((candidate, person, known, StoredAnswer("p:+5511987654321", (candidate,), NOW)))
    for clear in ("JOAO", "52998", "98765"):
        assert clear not in shown
