"""The look-up chain's world of real parts: PostgreSQL, and the partners' simulators over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import asyncpg

from stream.local.people import Someone
from stream.local.simulators import Fault, Simulators, serving
from stream.lookup.chain import LookupChain
from stream.lookup.postgres import PostgresTier
from stream.providers.diretrix import Diretrix
from stream.providers.guard import Guard
from stream.providers.http import partner_session
from stream.providers.work_api import WorkApi
from stream.settings import Settings, load
from stream.store.contacts import ContactStore
from stream.store.ledger import Ledger
from tests.support.lookup_rig import PRICING, Clock


class RealRig:
    """A world of real parts."""

    def __init__(
        self, pool: asyncpg.Pool, session: aiohttp.ClientSession, simulators: Simulators, settings: Settings
    ) -> None:
        self.clock = Clock()
        self.people, self.store = PostgresTier(pool), ContactStore(pool)
        self.pool = pool
        self._session = session
        self.simulators = simulators
        self._settings = settings
        self.guards: dict[str, Guard] = {}  # of the newest worker
        # Of workers that are made from now on.
        self.at_once = 64
        self.rate: float | None = None
        self.pricing = PRICING

    def know(self, someone: Someone) -> None:
        """Both partners know them."""
        self.simulators.know(someone)

    def mix_up(self, someone: Someone, other: Someone | None) -> None:
        """Let the Work API answer for somebody with another's record, or not know them."""
        if other is None:
            self.simulators.work_by_cpf.pop(someone.cpf, None)
        else:
            self.simulators.work_by_cpf[someone.cpf] = other.work()

    def fail_once(self, partner: str) -> None:
        """Answer the next call with a 500."""
        self.simulators.faults[partner] = Fault(status=500, times=1)

    def calls(self, partner: str) -> int:
        """Calls of a partner."""
        return self.simulators.counts[partner]

    def worker(self) -> LookupChain:
        """A chain of a worker of its own."""
        settings, session = self._settings, self._session
        self.guards = {
            name: Guard(name, at_once=self.at_once, rate=self.rate, workers=1) for name in ("diretrix", "work")
        }
        diretrix = Diretrix(session, settings, self.guards["diretrix"])
        work = WorkApi(session, settings, self.guards["work"])
        people, ledger = PostgresTier(self.pool), Ledger(self.pool, self.clock)
        return LookupChain(people, diretrix, work, ledger, ContactStore(self.pool), self.pricing, self.clock)

    async def statuses(self, provider: str) -> list[str]:
        """The ledger's statuses, sorted."""
        rows = await self.pool.fetch("SELECT status FROM stream.paid_calls WHERE provider = $1", provider)
        return sorted(row["status"] for row in rows)

    async def parties(self, cpf: str) -> int:
        """How many parties have the CPF."""
        count: int = await self.pool.fetchval("SELECT count(*) FROM core.parties WHERE cpf_cnpj = $1", cpf)
        return count


@asynccontextmanager
async def real_rig(pool: asyncpg.Pool, **variables: str) -> AsyncIterator[RealRig]:
    """A rig whose partners are up. ``variables``: more of the environment."""
    simulators = Simulators(scale=0.01)
    async with serving(simulators) as base, partner_session() as session:
        settings = load(
            {
                "DIRETRIX_BASE_URL": base,
                "DIRETRIX_USER": "user",
                "DIRETRIX_PASSWORD": "password",
                "WORK_API_BASE_URL": base,
                "WORK_API_TOKEN": "token",
                **variables,
            }
        )
        yield RealRig(pool, session, simulators, settings)
