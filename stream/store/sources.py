"""Exchanges between workers which sources send webhooks.

The sources of the last seven days share half of the budget and half of the look-up queue.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import asyncpg

from stream.domain.shares import Sources
from stream.store.ledger import BILLING_ZONE
from stream.store.pool import database_errors
from stream.store.queries import sql


class SourceSync:
    """Writes the sources that this worker has seen and reads those of all workers."""

    def __init__(self, pool: asyncpg.Pool, now: Callable[[], datetime], sources: Sources) -> None:
        self._pool = pool
        self._now = now
        self._sources = sources

    async def sync(self) -> None:
        """Write the sources seen since the last pass; read the recent sources. Raises DatabaseUnavailableError."""
        seen = set(self._sources.seen)
        day = self._now().astimezone(BILLING_ZONE).date()
        with database_errors():
            rows = await self._pool.fetch(sql("sync_sources"), sorted(seen), day)
        self._sources.seen -= seen
        self._sources.recent = frozenset(row["source"] for row in rows)
