"""The cost of a trace with the look-up chain's own policies: the figures that the README states."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from datetime import timedelta

import pytest

from bench.payers import AlwaysAsk, Bill, MemoryCache, Ours, Partner, Ports, distinct
from bench.visits import REPEATS, Visit, measured, moved, year
from stream.settings import load


async def bill(visits: Sequence[Visit], *, restart_every: int = 10) -> Bill:
    """The project's bill for a trace, on a worker that is restarted now and then."""
    ours = Ours(Partner(visits), load({}), Ports(), random.Random(1).random)
    for number, visit in enumerate(visits, 1):
        await ours.answer(visit)
        if number % restart_every == 0:
            ours.restart()
    return ours.bill


@pytest.mark.parametrize("seed", range(5))
async def test_the_measured_trace_pays_its_people_once(seed: int) -> None:
    """73 webhooks of 31 new people cause 31 paid calls, 42.5 in 100, in spite of restarts."""
    paid = await bill(measured(seed))
    assert (paid.webhooks, paid.paying, paid.paid) == (73, 31, 31)
    assert round(paid.in_100, 1) == 42.5


@pytest.mark.parametrize("seed", range(5))
async def test_who_comes_back_with_another_phone_or_email_is_known(seed: int) -> None:
    """Fewer calls are paid than there are contacts, because the other alias and the name identify the person."""
    visits = moved(seed)
    paid = await bill(visits)
    assert 31 <= paid.paid < distinct(visits, lambda contact, _: contact.key)


async def test_a_lost_table_pays_nothing_again() -> None:
    """Without the table and its changelog the database answers."""
    visits = measured(1)
    ours = Ours(Partner(visits), load({}), Ports(), random.Random(1).random)
    for visit in [*visits, *visits]:
        await ours.answer(visit)
        ours.lose()
    assert ours.bill.paid == 31


async def test_the_others_pay_what_they_must() -> None:
    """AlwaysAsk pays for all; a dict pays again after its TTL and after a restart."""
    visits = measured(1)
    partner = Partner(visits)
    always, cache = AlwaysAsk(partner), MemoryCache(partner, timedelta(hours=24))
    for visit in [*visits, *visits]:
        await always.answer(visit)
        await cache.answer(visit)
    cache.restart()
    await cache.answer(visits[0])
    assert (always.bill.paid, cache.bill.paid) == (146, 32)


def test_a_year_has_the_measured_repeats() -> None:
    """The share of repeats in a year is the measured one."""
    visits = year(1, 5_000, timedelta(days=30), timedelta(days=180))
    people = len({visit.someone.cpf for visit in visits})
    assert people / len(visits) == pytest.approx(1 - REPEATS, abs=0.02)
    assert all(one.at <= other.at for one, other in itertools.pairwise(visits))
