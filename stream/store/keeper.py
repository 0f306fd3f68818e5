"""Keeps what a living worker must say again and again: that its leases are held, and which sources it sees."""

from __future__ import annotations

import asyncio

import asyncpg

from stream.domain.errors import DatabaseUnavailableError
from stream.store.ledger import Ledger
from stream.store.pool import database_errors
from stream.store.sources import SourceBook

LEASE = 4.0  # seconds that a lease outlives its holder
RENEW_EVERY = 1.0  # seconds
RENEW_LIMIT = 1.0  # seconds for one renewal: one may fail, and the next still comes before a lease ends


class Keeper:
    """Renews all leases of the worker in one statement, and exchanges the sources in another."""

    def __init__(self, pool: asyncpg.Pool, ledger: Ledger, sources: SourceBook, every: float = RENEW_EVERY) -> None:
        """``every``: seconds between turns."""
        self._pool = pool
        self._ledger = ledger
        self._turns = (ledger.settle_late, sources.sync)
        self._every = every

    async def run(self) -> None:
        """Go on until cancelled. While the database is away nothing is renewed, and nobody can take a lease."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew())
            group.create_task(self._take_turns())

    async def _renew(self) -> None:
        """On a connection of its own: a lease must not wait for a slow statement, nor for a full pool."""
        while True:
            try:
                with database_errors():
                    async with self._pool.acquire() as connection:
                        while True:
                            await self._ledger.renew_leases(connection, RENEW_LIMIT)
                            await asyncio.sleep(self._every)
            except DatabaseUnavailableError:
                self._ledger.missed()  # the probe of the database says so
            await asyncio.sleep(self._every)

    async def _take_turns(self) -> None:
        while True:
            for turn in self._turns:
                try:
                    await turn()
                except DatabaseUnavailableError:
                    self._ledger.missed()
                    break
            await asyncio.sleep(self._every)
