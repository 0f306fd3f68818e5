"""The cost: paying webhooks in 100, compared with a service that always asks, a 24 h cache in memory, and the floors.

There are three traces: the measured one, one whose people come back with another phone or e-mail, and a year of 30,000
webhooks a month with restarts and lost tables. In the year people type their names, and Diretrix lists relatives and
former owners, at the rates of the matching corpus (``bench/rates.py``). Its paid calls are split by their reason and
compared with those of the first rule. In the other two traces names are typed whole, because nobody knows how they were
typed on the measured day. These two run on a real PostgreSQL. So does the beginning of the year, to check the stand-in
that the rest of the year uses.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from bench.payers import AlwaysAsk, Bill, Clock, MemoryCache, Ours, Partner, Payer, Ports, distinct
from bench.reasons import REASONS, Policy, first_rule
from bench.result import Options, Row, at_most
from bench.visits import OTHER_EMAIL, OTHER_PHONE, UNKNOWN, Visit, measured, moved, year
from stream.domain.choice import next_step
from stream.local.postgres import LocalPostgres
from stream.lookup.postgres import PostgresTier
from stream.ops.migrate import migrate
from stream.settings import Settings, load
from stream.store.contacts import ContactStore
from stream.store.ledger import Ledger
from stream.store.pool import open_pool

GOALS = (
    "the measured trace: 42.5 paying in 100",
    "another phone or e-mail: below the distinct contacts",
    "the year: at most 3 % more paid calls than by the first rule",
)
COMMAND = "python -m bench cost"
MONTH = 30_000  # webhooks
YEAR = timedelta(days=365)
RESTART_EVERY = timedelta(days=7)
LOSE_EVERY = timedelta(days=180)
MOST_MORE = 1.03  # paid calls of the year beside the first rule's
DAY = timedelta(hours=24)
ASSUMED = f"{UNKNOWN:.0%} known to nobody; {OTHER_PHONE:.0%} of repeats with another phone, {OTHER_EMAIL:.0%} e-mail"
ON_BOTH = 3_000  # webhooks of the year that are answered on PostgreSQL too


async def run(options: Options) -> list[Row]:
    """Play all traces; the seed determines the people."""
    with tempfile.TemporaryDirectory(prefix="lead-stream-bench-") as folder, LocalPostgres(Path(folder)) as server:
        settings = load({"DATABASE_URL": server.url})
        await migrate(server.url)
        rows = await _traces(options.seed, settings)
        length = max(timedelta(days=1), YEAR * options.scale)
        webhooks = int(MONTH * 12 * (length / YEAR))
        for name, gap in (("repeats within 180 days", timedelta(days=180)), ("repeats within a day", DAY)):
            visits = year(options.seed, webhooks, length, gap)
            with_reasons = gap > DAY  # the other gap takes as long and says the same
            rows += await _year(
                f"{length.days} days, {name}", visits, settings, options.seed, with_reasons=with_reasons
            )
            rows.append(await _held(f"{length.days} days, {name}", visits[:ON_BOTH], settings, options.seed))
    return rows


async def _traces(seed: int, settings: Settings) -> list[Row]:
    rows = []
    for name, visits in (("the measured trace", measured(seed)), ("another phone or e-mail", moved(seed))):
        async with _on_postgres(settings) as ports:
            ours = await _play(_ours(visits, settings, ports, seed), visits)
        contacts = distinct(visits, lambda contact, _: contact.key)
        goal, met = f"< {contacts} calls", ours.paid < contacts
        if name == "the measured trace":
            goal, met = "42.5", round(ours.in_100, 1) == 42.5
        rows.append(_row(f"{name}: this project", ours, settings, goal, met=met))
        rows += await _others(name, visits, settings)
    return rows


async def _year(name: str, visits: Sequence[Visit], settings: Settings, seed: int, *, with_reasons: bool) -> list[Row]:
    ours = await _play(_ours(visits, settings, Ports(), seed), visits)
    contacts = distinct(visits, lambda contact, _: contact.key)
    # Webhooks, not calls: where the phone's people have other names, the e-mail of the same webhook is asked for too.
    row = _row(f"{name}: this project", ours, settings, f"< {contacts:,} webhooks", met=ours.paying < contacts)
    return [
        replace(row, note=f"{row.note}; {ASSUMED}"),
        *(await _by_reason(name, ours, visits, settings, seed) if with_reasons else []),
        *await _others(name, visits, settings),
    ]


async def _by_reason(name: str, ours: Bill, visits: Sequence[Visit], settings: Settings, seed: int) -> list[Row]:
    """The calls that the project pays, compared with the first rule, by reason."""
    first = await _play(_ours(visits, settings, Ports(), seed, first_rule), visits)
    ratio = ours.paid / first.paid
    note = f"{ours.paid:,} calls paid, {first.paid:,} by the first rule"
    rows = [Row(f"cost, {name}: this project / the first rule", ratio, "x", *at_most(MOST_MORE, ratio), COMMAND, note)]
    for reason in REASONS:
        mine, theirs = ours.why[reason], first.why[reason]
        if mine or theirs:
            rows.append(
                Row(f"cost, {name}: {reason}", mine, "calls", "", None, COMMAND, f"{theirs:,} by the first rule")
            )
    return rows


async def _held(name: str, visits: Sequence[Visit], settings: Settings, seed: int) -> Row:
    """The stand-in for PostgreSQL must give exactly the bill that PostgreSQL gives."""
    fake = await _play(_ours(visits, settings, Ports(), seed), visits)
    async with _on_postgres(settings) as ports:
        real = await _play(_ours(visits, settings, ports, seed), visits)
    note = f"the first {len(visits):,} webhooks on PostgreSQL: {real.paid:,} paid; on its stand-in: {fake.paid:,}"
    both = {part: (getattr(real, part), getattr(fake, part)) for part in Bill.__dataclass_fields__}
    note += "".join(f"; {part} differ: {one} and {other}" for part, (one, other) in both.items() if one != other)
    return Row(f"{name}: held on PostgreSQL", abs(real.paid - fake.paid), "calls", "0", real == fake, COMMAND, note)


async def _others(name: str, visits: Sequence[Visit], settings: Settings) -> list[Row]:
    partner = Partner(visits)
    rows = [
        _row(f"{name}: always ask", await _play(AlwaysAsk(partner), visits), settings),
        _row(f"{name}: 24 h memory cache", await _play(MemoryCache(partner, DAY), visits), settings),
    ]
    for floor, count in (
        ("distinct contacts, one call each", distinct(visits, lambda contact, _: contact.key)),
        ("the floor: distinct people, one call each", distinct(visits, lambda _, visit: visit.someone.cpf)),
    ):
        rows.append(_row(f"{name}: {floor}", Bill(len(visits), count, count, count), settings))
    return rows


def _ours(visits: Sequence[Visit], settings: Settings, ports: Ports, seed: int, policy: Policy = next_step) -> Ours:
    return Ours(Partner(visits), settings, ports, random.Random(seed).random, policy)


@asynccontextmanager
async def _on_postgres(settings: Settings) -> AsyncIterator[Ports]:
    clock = Clock()
    async with open_pool(settings) as pool:
        await pool.execute("TRUNCATE core.parties, stream.answers, stream.paid_calls, stream.budgets CASCADE")
        yield Ports(clock=clock, ledger=Ledger(pool, clock), people=PostgresTier(pool), store=ContactStore(pool))


async def _play(payer: Payer, visits: Sequence[Visit]) -> Bill:
    """Answer all webhooks, with a restart each week and a lost table twice a year."""
    restart, lose = visits[0].at + RESTART_EVERY, visits[0].at + LOSE_EVERY / 2
    for visit in visits:
        if visit.at >= restart:
            payer.restart()
            restart += RESTART_EVERY
        if visit.at >= lose:
            payer.lose()
            lose += LOSE_EVERY
        await payer.answer(visit)
    return payer.bill


def _row(name: str, bill: Bill, settings: Settings, goal: str = "", *, met: bool | None = None) -> Row:
    money = f"{settings.diretrix_price * bill.paid:,.2f} {settings.price_currency}"
    note = f"{bill.webhooks:,} webhooks, {bill.paid:,} calls paid, {money}"
    if bill.calls != bill.paid:
        note += f"; {bill.calls - bill.paid:,} more found nobody"
    if bill.work_calls:
        note += f"; {bill.work_calls:,} Work API calls"
    return Row(f"cost, {name}", bill.in_100, "paying in 100", goal, met, COMMAND, note)
