"""Keeps what a living worker must say again and again: that its leases are held, and which sources it sees."""

from __future__ import annotations

import asyncio

import asyncpg

from stream.domain.errors import DatabaseUnavailableError
from stream.store.ledger import Ledger
from stream.store.pool import database_errors
from stream.store.sources import SourceSync

LEASE_S = 4.0  # seconds that a lease outlives its holder
RENEW_EVERY_S = 1.0  # seconds
RENEW_TIMEOUT_S = 1.0  # seconds for one renewal: one may fail, and the next still comes before a lease ends


class PeriodicStatements:
    """Renews all leases of the worker in one statement, and exchanges the sources in another."""

    def __init__(self, pool: asyncpg.Pool, ledger: Ledger, sources: SourceSync, every: float = RENEW_EVERY_S) -> None:
        """``every``: seconds between turns."""
        self._pool = pool
        self._ledger = ledger
        self._passes = (ledger.settle_pending, sources.sync)
        self._every = every

    async def run(self) -> None:
        """Go on until cancelled. While the database is away nothing is renewed, and nobody can take a lease."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew())
            group.create_task(self._run_passes())

    async def _renew(self) -> None:
        """On a connection of its own: a lease must not wait for a slow statement, nor for a full pool."""
        while True:
            try:
                with database_errors():
                    async with self._pool.acquire() as connection:
                        while True:
                            await self._ledger.renew_leases(connection, RENEW_TIMEOUT_S)
                            await asyncio.sleep(self._every)
            except DatabaseUnavailableError:
                self._ledger.database_failed()  # the probe of the database says so
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
