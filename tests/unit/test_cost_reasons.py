"""The cost of a year of typed names, and the rule behind each paid call."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from bench import rates
from bench.payers import Bill, Ours, Partner, Ports
from bench.peers import first_fit
from bench.reasons import FIRST_SEEN, LISTED_WEAK, PHONE_DIFFERS, REASONS, Policy, first_rule
from bench.residents import Resident
from bench.visits import Visit, measured, year
from stream.domain.choice import next_step
from stream.settings import load

WEBHOOKS = 1_500


@pytest.fixture(scope="module")
def visits() -> list[Visit]:
    """A month of few webhooks."""
    return year(1, WEBHOOKS, timedelta(days=30), timedelta(days=20))


async def bill(visits: Sequence[Visit], policy: Policy = next_step) -> Bill:
    """A rule's bill for the visits."""
    ours = Ours(Partner(visits), load({}), Ports(), random.Random(1).random, policy)
    for visit in visits:
        await ours.answer(visit)
    return ours.bill


@pytest.fixture(scope="module")
def ours(visits: list[Visit]) -> Bill:
    """The bill of the project's rule."""
    return asyncio.run(bill(visits))


@pytest.fixture(scope="module")
def first(visits: list[Visit]) -> Bill:
    """The bill of the first rule."""
    return asyncio.run(bill(visits, first_rule))


def test_names_are_typed_as_in_the_corpus(visits: list[Visit]) -> None:
    """New people leave the name out, or give the first name only, at the corpus's rates."""
    came = {visit.someone.cpf: visit for visit in reversed(visits)}.values()
    words = Counter(min(len(visit.name.split()), 2) for visit in came)
    assert words[0] / len(came) == pytest.approx(rates.KINDS["no_name"], abs=0.02)
    assert words[1] / len(came) == pytest.approx(rates.KINDS["first_name"], abs=0.05)


def test_diretrix_lists_others_as_in_the_corpus(visits: list[Visit]) -> None:
    """Known phones name only other people at the corpus's rate."""
    people = {visit.someone.cpf: visit.someone for visit in visits}.values()
    others = sum(
        all(candidate.cpf != one.cpf for candidate in one.answers[one.phone])
        for one in people
        if isinstance(one, Resident)
    )
    share = (rates.PHONES["relative_only"] + rates.PHONES["former_only"]) / (1 - rates.PHONES["nobody"])
    assert others / len(people) == pytest.approx(share, abs=0.04)


def test_each_paid_call_has_its_reason(ours: Bill, first: Bill) -> None:
    """The reasons add up to the paid calls, for the project's rule and for the first one."""
    for paid in (ours, first):
        assert sum(paid.why.values()) == paid.paid > 0
        assert set(paid.why) <= set(REASONS)
        assert paid.why[FIRST_SEEN] > paid.why[PHONE_DIFFERS] > 0


def test_the_graded_rule_pays_at_most_three_in_100_more(ours: Bill, first: Bill) -> None:
    """Asking again if the evidence is weak costs little."""
    assert ours.paid <= 1.03 * first.paid


async def test_what_a_listed_phone_costs_is_told() -> None:
    """A first name alone on a phone that was only listed is asked for, with that reason."""
    came = replace(measured(1)[0], email="")
    one = came.someone
    one.listed_phones.append("11955550001")
    back = replace(came, at=came.at + timedelta(days=1), phone="11955550001", name=one.name.split()[0])
    paid = await bill([came, back])
    assert paid.why == {FIRST_SEEN: 1, LISTED_WEAK: 1}


@pytest.mark.parametrize("typed", [str.upper, str.lower, lambda name: f"{name.split()[0]} {name.split()[-1]}"])
async def test_a_known_email_with_a_compatible_name_costs_nothing(typed: Callable[[str], str]) -> None:
    """A person with another phone, the known e-mail and a name that fits is not paid for again."""
    came = replace(measured(1)[0], phone="")
    again = replace(came, at=came.at + timedelta(days=1), phone="11955550002", name=typed(came.name))
    paid = await bill([came, again])
    assert (paid.paid, paid.webhooks) == (1, 2)


@pytest.mark.parametrize(
    ("lead", "known"),
    [
        ("Carlos Souza Filho", "CARLOS SOUZA"),
        ("Antonio Costa Junior", "ANTONIO COSTA"),
        ("José da Silva", "MARIA JOSE DA SILVA"),
        ("Ana Costa", "ANA COSTANTINO"),
        ("Maria", "MARIA APARECIDA LIMA"),
    ],
)
def test_the_first_rule_is_frozen(lead: str, known: str) -> None:
    """The first rule keeps its errors, because later rules are compared with it."""
    assert first_fit.fit(lead, known) == first_fit.FITS
