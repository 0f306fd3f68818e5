"""The statements that a running worker repeats: renew its leases, settle calls late, exchange the sources seen."""

from __future__ import annotations

import asyncio

import asyncpg

from stream.domain.errors import DatabaseUnavailableError
from stream.store.ledger import Ledger
from stream.store.pool import database_errors
from stream.store.sources import SourceSync

LEASE_S = 4.0  # a lease expires this long after its last renewal
RENEW_EVERY_S = 1.0
RENEW_TIMEOUT_S = 1.0  # of one renewal: if one fails, the next still comes before the lease expires


class PeriodicStatements:
    """Renews all leases of the worker in one task; settles calls and exchanges the sources in another."""

    def __init__(self, pool: asyncpg.Pool, ledger: Ledger, sources: SourceSync, every: float = RENEW_EVERY_S) -> None:
        """``every``: seconds between two passes."""
        self._pool = pool
        self._ledger = ledger
        self._passes = (ledger.settle_pending, sources.sync)
        self._every = every

    async def run(self) -> None:
        """Run until cancelled. While the database is away no lease is renewed, and no worker can take one."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew())
            group.create_task(self._run_passes())

    async def _renew(self) -> None:
        """Renew on a connection of its own, because a lease must wait neither for a slow statement nor for the pool."""
        while True:
            try:
                with database_errors():
                    async with self._pool.acquire() as connection:
                        while True:
                            await self._ledger.renew_leases(connection, RENEW_TIMEOUT_S)
                            await asyncio.sleep(self._every)
            except DatabaseUnavailableError:
                self._ledger.database_failed()  # not logged here: the probe of the database logs the outage
            await asyncio.sleep(self._every)

    async def _run_passes(self) -> None:
        while True:
            for run_pass in self._passes:
                try:
                    await run_pass()
                except DatabaseUnavailableError:
                    self._ledger.database_failed()
                    break
            await asyncio.sleep(self._every)
