"""Keeps what a living worker must say again and again: that its leases are held, and which sources it sees."""

from __future__ import annotations

import asyncio

from stream.domain.errors import DatabaseUnavailableError
from stream.store.ledger import Ledger
from stream.store.sources import SourceBook

LEASE = 4.0  # seconds that a lease outlives its holder
RENEW_EVERY = 1.0  # seconds; two renewals may fail before a lease ends


class Keeper:
    """One statement a turn renews all leases of the worker, another one exchanges the sources."""

    def __init__(self, ledger: Ledger, sources: SourceBook, every: float = RENEW_EVERY) -> None:
        """``every``: seconds between turns."""
        self._turns = (ledger.renew_leases, ledger.settle_late, sources.sync)
        self._every = every

    async def run(self) -> None:
        """Go on until cancelled. While the database is away nothing is renewed, and nobody can take a lease."""
        while True:
            for turn in self._turns:
                try:
                    await turn()
                except DatabaseUnavailableError:
                    break  # the probe of the database says so
            await asyncio.sleep(self._every)
