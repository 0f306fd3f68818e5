"""Tier 2 at production's size: 2.6 million contacts, looked up one at a time and with a worker's concurrency.

The database is the embedded one, with tables larger than its buffers. The tier, its pool and its statements are the
worker's own.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles

import asyncpg

from bench.result import Options, Row, at_least, at_most
from stream.domain.identity import Contact, Email, Phone
from stream.local.postgres import LocalPostgres
from stream.lookup.postgres import MAX_PARTIES_PER_SPELLING, PostgresTier
from stream.ops.migrate import migrate
from stream.settings import Settings, load
from stream.store.pool import open_pool
from stream.store.queries import sql

GOALS = ("one look-up p50 / p99 <= 0.8 / 1.5 ms", ">= 10,000 contacts/s in batches", "2.6 million contacts in < 60 s")
COMMAND = "python -m bench tier2"
PARTIES = 1_000_000  # with 2.6 contacts each
KNOWN = 0.7  # share of the contacts asked for that are there
FILLING = {"maintenance_work_mem": "256MB", "synchronous_commit": "off"}
AREAS = ("11", "21", "31", "41", "51", "61", "71", "81")
ONE_BY_ONE = 5_000  # look-ups a round
AT_ONCE = 40_000  # look-ups a round


async def run(options: Options) -> list[Row]:
    """Fill a database and ask it."""
    parties = max(1_000, int(PARTIES * options.scale))
    with tempfile.TemporaryDirectory(prefix="lead-stream-bench-") as folder, LocalPostgres(Path(folder)) as server:
        await migrate(server.url)
        took = await fill(server.url, parties)
        async with asking(load({"DATABASE_URL": server.url})) as (pool, tier, settings):
            note = f"{parties * 26 // 10:,} contacts, {await _size(pool)}; {await _plan(pool)}"
            rows = [Row("tier 2: contacts generated", took, "s", *at_most(60, took), COMMAND, note)]
            chance = random.Random(options.seed)
            await _one_by_one(tier, some(chance, parties, 1_000))  # connections, prepared statements
            rows += await _latency(tier, chance, parties, options)
            rows.append(await _throughput(tier, chance, parties, options, settings.lookup_slots))
    return rows


@asynccontextmanager
async def asking(settings: Settings) -> AsyncIterator[tuple[asyncpg.Pool, PostgresTier, Settings]]:
    """The worker's pool and tier."""
    async with open_pool(settings) as pool:
        yield pool, PostgresTier(pool), settings


async def fill(url: str, parties: int) -> float:
    """Make the contacts of ``parties`` people in a migrated, empty database; returns the seconds it took."""
    text = Path(__file__).with_suffix(".sql").read_text("utf-8").replace("$parties", str(parties))
    begin = time.perf_counter()
    async with asyncpg.create_pool(url, min_size=1, max_size=4, server_settings=FILLING) as pool:
        first, *others = text.split("-- step\n")
        await pool.execute(first)
        for step in others:
            statements = [statement for statement in step.split(";\n") if statement.strip()]
            await asyncio.gather(*(pool.execute(statement) for statement in statements))
    return time.perf_counter() - begin


def some(chance: random.Random, parties: int, count: int) -> list[Contact]:
    """Known contacts, mostly, with phone and e-mail, in random order."""
    return [_contact(chance.randint(1, parties), known=chance.random() < KNOWN) for _ in range(count)]


def _contact(number: int, *, known: bool) -> Contact:
    digits = f"{AREAS[number % 8]}9{60000000 + number * 7919 % 40000000}"
    if not known:
        digits = f"69{digits[2:]}"  # an area that nobody has
    phone = Phone(f"+55{digits}")
    email = Email(f"pessoa.{number}@example.com.br" if known else f"nobody.{number}@example.com.br")
    return Contact(phone, email, None, phone.e164)


async def _one_by_one(tier: PostgresTier, contacts: list[Contact]) -> list[float]:
    took = []
    for contact in contacts:
        begin = time.perf_counter()
        await tier.find(contact)
        took.append((time.perf_counter() - begin) * 1000)
    return took


async def _latency(tier: PostgresTier, chance: random.Random, parties: int, options: Options) -> list[Row]:
    p50s, p99s = [], []
    for _ in range(options.rounds):
        cuts = quantiles(await _one_by_one(tier, some(chance, parties, ONE_BY_ONE)), n=100)
        p50s.append(cuts[49])
        p99s.append(cuts[98])
    note = f"phone in all spellings and e-mail, {KNOWN:.0%} known; median of {options.rounds} rounds of {ONE_BY_ONE:,}"
    return [
        Row(f"tier 2: one look-up, {name}", value, "ms", *at_most(limit, value), COMMAND, f"{note}, {_spread(all_)}")
        for name, limit, all_ in (("p50", 0.8, p50s), ("p99", 1.5, p99s))
        for value in (median(all_),)
    ]


async def _throughput(tier: PostgresTier, chance: random.Random, parties: int, options: Options, at_once: int) -> Row:
    rates = []
    for _ in range(options.rounds):
        contacts = iter(some(chance, parties, AT_ONCE))

        async def ask(contacts: object = contacts) -> None:
            for contact in contacts:  # type: ignore[attr-defined]
                await tier.find(contact)

        begin = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(at_once)))
        rates.append(AT_ONCE / (time.perf_counter() - begin))
    value = median(rates)
    note = f"{at_once} at once, as a worker's slots; median of {options.rounds} rounds of {AT_ONCE:,}, {_spread(rates)}"
    return Row("tier 2: contacts in batches", value, "contacts/s", *at_least(10_000, value), COMMAND, note)


def _spread(values: list[float]) -> str:
    return f"{min(values):,.3g} to {max(values):,.3g}"


async def _size(pool: asyncpg.Pool) -> str:
    size: str = await pool.fetchval("SELECT pg_size_pretty(pg_database_size(current_database()))")
    return size


async def _plan(pool: asyncpg.Pool) -> str:
    """The plans of the statements; a full scan of a table would show here."""
    read_whole = 0
    for name, arguments in (
        ("find_people", (["11987654321", "5511987654321"], ["pessoa.1@example.com.br"], MAX_PARTIES_PER_SPELLING)),
        ("find_answers", (["p:+5511987654321"],)),
        ("find_by_cpf", (["00000098765"],)),
    ):
        lines = await pool.fetch(f"EXPLAIN {sql(name)}", *arguments)
        read_whole += sum("Seq Scan" in line[0] for line in lines)
    return f"{read_whole} sequential scans in the plans" if read_whole else "every table by its index"
