"""Notices for the operator: a row and a log line, once across all processes and restarts."""

from __future__ import annotations

from datetime import date

import asyncpg

from stream.domain.errors import DatabaseUnavailableError
from stream.logs import get_logger
from stream.store.pool import database_errors
from stream.store.queries import sql

log = get_logger(__name__)

BUDGET = "budget"
LEVELS_PERCENT = (50, 80, 95, 100)  # percent of the day's budget


class Notices:
    """Adds notices. ``key`` makes a notice unique within its kind. No text contains personal data."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._known_notices: set[tuple[str, str]] = set()

    async def budget(self, provider: str, day: date, spent: int, budget: int | None) -> None:
        """Add a notice for each of ``LEVELS_PERCENT`` that a day's spending has reached. Never raises.

        If the database is away, the next call adds the notice. ``spent`` counts the calls of the day that are or may be
        billed: those settled as ``paid`` or ``unsure``, and those not settled, which are in progress or belong to a
        worker that died. Calls settled as ``free`` do not count. Call this when a call is settled as ``paid`` or
        ``unsure``, and when one is refused because ``budget`` is spent. Do not call it after a reservation: most calls
        that find nobody are free.
        """
        if budget is None:
            return
        self._known_notices = {notice for notice in self._known_notices if notice[1].startswith(day.isoformat())}
        for percent in levels_reached(spent, budget):
            key = f"{day.isoformat()} {provider} {percent}"
            text = f"{percent} % of the budget of {provider} for {day} is spent: {spent} of {budget} calls"
            if (BUDGET, key) in self._known_notices:
                continue
            try:
                is_new = await self.add(BUDGET, key, day, text)
            except DatabaseUnavailableError:
                return
            self._known_notices.add((BUDGET, key))
            if is_new:
                say = log.error if percent == LEVELS_PERCENT[-1] else log.warning
                say("budget notice", partner=provider, percent=percent, spent=spent, budget=budget, day=day.isoformat())

    async def add(self, kind: str, key: str, day: date, text: str) -> bool:
        """Add a notice. False if it exists."""
        with database_errors():
            return await self._pool.fetchval(sql("add_notice"), kind, key, day, text) is not None


def levels_reached(spent: int, budget: int) -> list[int]:
    """The levels, in percent, that ``spent`` has reached. A budget of 0 is spent from the start."""
    if not budget:
        return [LEVELS_PERCENT[-1]]
    return [percent for percent in LEVELS_PERCENT if spent * 100 >= percent * budget]
