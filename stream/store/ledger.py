"""The books of paid calls: an intent before each call, how it ended after it, and the day's budget.

Every figure of money comes from here, none is estimated. A row that stays ``reserved`` is a call during
which a worker died: reports count it as ``unsure``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import asyncpg

from stream.domain.errors import BudgetSpentError
from stream.store.pool import database_errors
from stream.store.queries import sql

BILLING_ZONE = ZoneInfo("America/Sao_Paulo")


class Ledger:
    """Reserves and settles calls; lends out CPFs."""

    def __init__(self, pool: asyncpg.Pool, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._now = now
        self._leases: dict[str, datetime] = {}  # until when the CPFs are ours
        self._spent: dict[str, date | None] = {}  # the day whose budget was found spent

    async def reserve(  # noqa: PLR0913 - a row of the ledger
        self, provider: str, kind: str, alias: str, event_id: str, source: str, price: Decimal, budget: int | None
    ) -> UUID:
        """Write the intent of a call. Raises BudgetSpentError when the day's ``budget`` is spent."""
        now = self._now()
        day = now.astimezone(BILLING_ZONE).date()
        with database_errors():
            call: UUID | None = await self._pool.fetchval(
                sql("reserve_call"), uuid4(), provider, kind, alias, UUID(event_id), source, day, price, budget, now
            )
        self._spent[provider] = day if call is None else None
        if call is None:
            raise BudgetSpentError(f"{provider}: the day's budget is spent")
        return call

    def trouble(self, provider: str) -> str:
        """That the day's budget is spent, "" when it is not, as far as was asked."""
        spent = self._spent.get(provider)
        return "the day's budget is spent" if spent == self._now().astimezone(BILLING_ZONE).date() else ""

    async def settle(self, call: UUID, status: str) -> None:
        """Write how a call ended: ``paid``, ``free`` or ``unsure``."""
        with database_errors():
            await self._pool.execute(sql("settle_call"), call, status, self._now())

    async def take_lease(self, cpf: str, seconds: float) -> bool:
        """Take a CPF for a Work API call; False while another worker has it."""
        now = self._now()
        until = now + timedelta(seconds=seconds)
        with database_errors():
            taken = await self._pool.fetchval(sql("take_lease"), cpf, now, until) is not None
        if taken:
            self._leases[cpf] = until
        return taken

    async def drop_lease(self, cpf: str) -> None:
        """Give a CPF back; one whose lease ran out and that another worker took stays with it."""
        until = self._leases.pop(cpf, None)
        if until is not None:
            with database_errors():
                await self._pool.execute(sql("drop_lease"), cpf, until)
