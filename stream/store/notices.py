"""What an operator must know, each said once over all processes and restarts: a row and a line of the log."""

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
    """Adds notices. ``key`` makes one unique within its kind; no text holds an identifier."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._known_notices: set[tuple[str, str]] = set()

    async def budget(self, provider: str, day: date, spent: int, budget: int | None) -> None:
        """Say how much of a day's budget is spent, at each of ``LEVELS_PERCENT``. Never raises: the next call says it.

        ``spent`` counts the calls of the day that were or may be billed: those that ended ``paid`` or ``unsure``, and
        those that have no end, be they under way or of a worker that died. A call that ended ``free`` is not among
        them. It is to be told when a call has ended ``paid`` or ``unsure``, and when one is refused since ``budget`` is
        reached: a reservation alone says nothing, since most that find nobody are free.
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
        """Add one; False when it was there."""
        with database_errors():
            return await self._pool.fetchval(sql("add_notice"), kind, key, day, text) is not None


def levels_reached(spent: int, budget: int) -> list[int]:
    """The levels that ``spent`` has come to; a budget of nothing is spent from the start."""
    if not budget:
        return [LEVELS_PERCENT[-1]]
    return [percent for percent in LEVELS_PERCENT if spent * 100 >= percent * budget]
