"""The number of first-seen contacts that can be stored in a second, with everything that a first look-up writes.

``LookupChain.resolve`` writes the reservation and the end of two calls to the ledger, the lease, Diretrix's answer
with its party, and the Work API's answer with the person's contacts. The partners answer immediately. The database is
as large as production's and syncs its commits to the disk, as production does.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from uuid import uuid4

import asyncpg

from bench.payers import Partner, pricing
from bench.result import Options, Row, at_least
from bench.tier2 import PARTIES, fill
from bench.visits import BEGIN, Visit
from stream.domain.choice import PersonFound
from stream.domain.contact_facts import ContactFacts
from stream.domain.provider import Provider
from stream.local.people import population
from stream.local.postgres import LocalPostgres
from stream.lookup.chain import LookupChain
from stream.lookup.ports import LookupRequest
from stream.lookup.postgres import PostgresTier
from stream.ops.migrate import migrate
from stream.settings import Settings, load
from stream.store.contacts import ContactStore
from stream.store.ledger import Ledger
from stream.store.pool import open_pool
from tests.support.fakes import FakeContactDirectory

GOALS = (">= 200 first-seen contacts/s stored",)
COMMAND = "python -m bench stored"
A_ROUND = 2_000  # contacts
ONE_BY_ONE = 300  # contacts a round


async def run(options: Options) -> list[Row]:
    """Store new people with as many look-ups as a worker has slots, and one at a time."""
    with tempfile.TemporaryDirectory(prefix="lead-stream-bench-") as folder, LocalPostgres(Path(folder)) as server:
        await migrate(server.url)
        parties = max(1_000, int(PARTIES * options.scale))
        await fill(server.url, parties)
        settings = load({"DATABASE_URL": server.url})
        people = population((A_ROUND + ONE_BY_ONE) * options.rounds, options.seed)
        visits = iter([Visit(BEGIN, one, one.phone, one.email, one.name) for one in people])
        async with open_pool(settings) as pool:
            await _sync_commits(pool)
            statements = await _rounds(pool, settings, visits, options.rounds)
    slots, one_by_one = statements
    note = f"{parties * 26 // 10:,} contacts there, fsync on; median of {options.rounds} rounds of"
    return [
        Row(
            "first-seen contacts stored, with the books",
            median(slots),
            "contacts/s",
            *at_least(200, median(slots)),
            COMMAND,
            f"{settings.lookup_slots} at once; {note} {A_ROUND:,}, {min(slots):,.0f} to {max(slots):,.0f}",
        ),
        Row(
            "first-seen contacts stored, one at a time",
            median(one_by_one),
            "contacts/s",
            "",
            None,
            COMMAND,
            f"{note} {ONE_BY_ONE:,}, {min(one_by_one):,.0f} to {max(one_by_one):,.0f}",
        ),
    ]


async def _sync_commits(pool: asyncpg.Pool) -> None:
    """Switch syncing on: the embedded server runs without it, which would flatter the result."""
    for setting in ("fsync", "full_page_writes"):
        await pool.execute(f"ALTER SYSTEM SET {setting} = on")
    await pool.execute("SELECT pg_reload_conf()")
    async with asyncio.timeout(10):
        while await pool.fetchval("SELECT current_setting('fsync')") != "on":  # noqa: ASYNC110 - the server's own
            await asyncio.sleep(0.01)


async def _rounds(
    pool: asyncpg.Pool, settings: Settings, visits: Iterator[Visit], rounds: int
) -> tuple[list[float], list[float]]:
    slots, one_by_one = [], []
    for _ in range(rounds):
        slots.append(await _store(pool, settings, [next(visits) for _ in range(A_ROUND)], settings.lookup_slots))
        one_by_one.append(await _store(pool, settings, [next(visits) for _ in range(ONE_BY_ONE)], 1))
    return slots, one_by_one


async def _store(pool: asyncpg.Pool, settings: Settings, visits: Sequence[Visit], at_once: int) -> float:
    """Look up all of them, ``at_once`` at a time; returns contacts a second."""
    partner = Partner(visits)

    def now() -> datetime:
        return datetime.now(UTC)

    ledger, people, store = Ledger(pool, now), PostgresTier(pool), ContactStore(pool)
    chain = LookupChain(people, FakeContactDirectory(partner), partner, ledger, store, pricing(settings), now)
    left = iter(visits)

    deadline = settings.lookup_deadline.total_seconds()

    async def look_up() -> None:
        for visit in left:
            request = LookupRequest(visit.contact, visit.someone.name, "lead", "c2s", str(uuid4()))
            result = await chain.resolve(request, ContactFacts(), deadline)
            if not isinstance(result.answer, PersonFound) or result.calls[Provider.DIRETRIX] != 1:
                raise RuntimeError("a first-seen contact was not looked up as one")

    begin = time.perf_counter()
    await asyncio.gather(*(look_up() for _ in range(at_once)))
    return len(visits) / (time.perf_counter() - begin)
