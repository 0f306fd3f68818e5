"""The ladder on a real PostgreSQL and on the partners' simulators over real HTTP: the fakes' scenarios again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import asyncpg
import pytest

from stream.enrichment import Ladder
from stream.local.people import Someone
from stream.local.simulators import Fault, Simulators, serving
from stream.settings import Settings, load
from stream.store.contacts import ContactStore
from stream.store.ledger import Ledger
from stream.tiers.diretrix import Diretrix
from stream.tiers.guard import Guard
from stream.tiers.postgres import PostgresTier
from stream.tiers.work import WorkApi
from tests.ladder_scenarios import SCENARIOS, TERMS, Clock, Rig


class RealRig:
    """A world of real parts."""

    def __init__(
        self, pool: asyncpg.Pool, session: aiohttp.ClientSession, simulators: Simulators, settings: Settings
    ) -> None:
        self.clock = Clock()
        self.people, self.shelf = PostgresTier(pool), ContactStore(pool)
        self._pool = pool
        self._session = session
        self._simulators = simulators
        self._settings = settings

    def know(self, someone: Someone) -> None:
        """Both partners know them."""
        self._simulators.know(someone)

    def fail_once(self, partner: str) -> None:
        """Answer the next call with a 500."""
        self._simulators.faults[partner] = Fault(status=500, times=1)

    def calls(self, partner: str) -> int:
        """Calls of a partner."""
        return self._simulators.counts[partner]

    def worker(self) -> Ladder:
        """A ladder of a worker of its own."""
        settings, session = self._settings, self._session
        diretrix = Diretrix(session, settings, Guard.for_diretrix(settings))
        work = WorkApi(session, settings, Guard.for_work(settings))
        people, books = PostgresTier(self._pool), Ledger(self._pool, self.clock)
        return Ladder(people, diretrix, work, books, ContactStore(self._pool), TERMS, self.clock)

    async def statuses(self, provider: str) -> list[str]:
        """The ledger's statuses, sorted."""
        rows = await self._pool.fetch("SELECT status FROM stream.paid_calls WHERE provider = $1", provider)
        return sorted(row["status"] for row in rows)

    async def parties(self, cpf: str) -> int:
        """How many parties have the CPF."""
        count: int = await self._pool.fetchval("SELECT count(*) FROM core.parties WHERE cpf_cnpj = $1", cpf)
        return count


@pytest.fixture
async def rig(pool: asyncpg.Pool) -> AsyncIterator[RealRig]:
    simulators = Simulators(scale=0.01)
    async with serving(simulators) as base, aiohttp.ClientSession() as session:
        settings = load(
            {
                "DIRETRIX_BASE_URL": base,
                "DIRETRIX_USER": "user",
                "DIRETRIX_PASSWORD": "password",
                "WORK_API_BASE_URL": base,
                "WORK_API_TOKEN": "token",
            }
        )
        yield RealRig(pool, session, simulators, settings)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_ladder_on_real_parts(rig: RealRig, scenario: Callable[[Rig], Awaitable[None]]) -> None:
    """What each scenario says holds on PostgreSQL and over HTTP."""
    async with asyncio.timeout(20):
        await scenario(rig)
