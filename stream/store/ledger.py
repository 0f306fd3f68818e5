"""The books of paid calls: an intent before each call, how it ended after it, and the day's budget.

Every figure of money comes from here, none is estimated. A call is reserved right before its request goes out, not
while it waits for its turn at the partner. So a row that stays ``reserved`` belongs to a call that was being made when
its worker died: reports count it as ``unsure``, and a webhook that has left three of them kills workers.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import asyncpg

from stream.domain.errors import BudgetSpentError, DatabaseUnavailableError, DeadlyError
from stream.domain.parking import BUDGET_SPENT, SOURCE_SPENT
from stream.domain.provider import CallStatus, Provider
from stream.store.notices import Notices
from stream.store.pool import database_errors
from stream.store.queries import sql

BILLING_ZONE = ZoneInfo("America/Sao_Paulo")
MAX_ABANDONED_CALLS = 3  # calls of one webhook during which a worker died
DEFAULT_CALL_DEADLINE = timedelta(seconds=30)  # after it no call is under way, unless told otherwise
RESERVE_TIMEOUT_S = 10.0  # seconds for a reservation and its wait for a connection: a partner's slot is held meanwhile
REFUSAL_VALID_S = 5.0  # seconds for which a source that was refused is refused without asking the database


@dataclass(slots=True)
class _Refusal:
    """Why a source got no reservation on a day; it is told so again ``until`` then (monotonic seconds)."""

    reason: str
    day: date
    until: float


class Ledger:
    """Reserves and settles calls; lends out CPFs."""

    def __init__(
        self, pool: asyncpg.Pool, now: Callable[[], datetime], *, deadline: timedelta = DEFAULT_CALL_DEADLINE
    ) -> None:
        """``deadline``: the longest that a call may be under way."""
        self._pool = pool
        self._now = now
        self._deadline = deadline
        self._notices = Notices(pool)
        self._holder = uuid4()
        self._leases: dict[str, float] = {}  # the CPFs that are ours, and for how many seconds they were taken
        self._database_failed_at = -math.inf  # when the database did not answer last
        self._pending_settlements: dict[UUID, CallStatus] = {}  # no more than can be under way when the database goes
        self._spent_days: dict[Provider, date | None] = {}  # the day whose budget was found spent
        self._budgets: dict[Provider, int | None] = {}  # of each provider, as the newest reservation said
        self._refused: dict[tuple[Provider, str], _Refusal] = {}  # by provider and source

    async def reserve(  # noqa: PLR0913 - a row of the ledger
        self, provider: Provider, kind: str, alias: str, event_id: str, source: str, price: Decimal, budget: int | None
    ) -> UUID:
        """Write the intent of a call.

        Raises BudgetSpentError when the day's ``budget``, or the part of it that is open to ``source``, is spent;
        DeadlyError when workers have died in calls for this webhook.
        """
        now = self._now()
        day = now.astimezone(BILLING_ZONE).date()
        row = (uuid4(), provider, kind, alias, UUID(event_id), source, day, price, budget, now)
        try:
            with database_errors():
                async with asyncio.timeout(RESERVE_TIMEOUT_S):
                    reservation = await self._pool.fetchrow(
                        sql("reserve_call"), *row, now - self._deadline, MAX_ABANDONED_CALLS
                    )
        except DatabaseUnavailableError:
            # It may be booked although the answer was lost: no call is made for it.
            self._pending_settlements[row[0]] = CallStatus.FREE
            raise
        if reservation is None:
            raise RuntimeError("PostgreSQL reserved a call and returned no row")
        if reservation["abandoned"] >= MAX_ABANDONED_CALLS:
            raise DeadlyError(reservation["abandoned"], event_id)
        call: UUID | None = reservation["call"]
        is_spent = budget is not None and reservation["spent"] >= budget
        self._spent_days[provider] = day if is_spent else None
        self._budgets[provider] = budget
        if call is None:
            if is_spent:
                await self._notices.budget(provider, day, reservation["spent"], budget)
            reason = f"{provider}: {BUDGET_SPENT}{'' if is_spent else SOURCE_SPENT}"
            self._refused[provider, source] = _Refusal(reason, day, time.monotonic() + REFUSAL_VALID_S)
            raise BudgetSpentError(reason)
        self._refused.pop((provider, source), None)
        return call

    def check(self, provider: Provider, source: str) -> None:
        """Raise BudgetSpentError where a reservation for ``source`` was refused less than ``REFUSAL_VALID_S`` seconds ago.

        Whoever is about to wait for a turn at the partner asks here first: a source without budget must not take turns
        from the others only to be refused. One look-up in ``REFUSAL_VALID_S`` seconds finds out whether it has some again.
        """
        refused, now = self._refused.get((provider, source)), time.monotonic()
        if refused is None:
            return
        if now < refused.until and refused.day == self._now().astimezone(BILLING_ZONE).date():
            raise BudgetSpentError(refused.reason)
        refused.until = now + REFUSAL_VALID_S

    def trouble(self, provider: Provider) -> str:
        """That the day's budget is spent, "" when it is not, as far as was asked."""
        spent = self._spent_days.get(provider)
        return BUDGET_SPENT if spent == self._now().astimezone(BILLING_ZONE).date() else ""

    async def settle(self, call: UUID, status: CallStatus) -> None:
        """Write how a call ended. What is not free may be a notice of the budget."""
        try:
            with database_errors():
                billed = await self._pool.fetchrow(sql("settle_call"), call, status, self._now())
        except DatabaseUnavailableError:
            self._pending_settlements[call] = status
            raise
        self._pending_settlements.pop(call, None)
        if billed is not None:
            provider = billed["provider"]
            await self._notices.budget(provider, billed["day"], billed["calls"], self._budgets.get(provider))

    async def settle_pending(self) -> None:
        """Write down what could not be written: else it would look as if a worker had died in the call."""
        for call, status in list(self._pending_settlements.items()):
            await self.settle(call, status)

    async def take_lease(self, cpf: str, seconds: float) -> bool:
        """Take a CPF for a Work API call; False while somebody else has it. It ends unless it is renewed in time."""
        if cpf in self._leases:
            return False
        with database_errors():
            duration = timedelta(seconds=seconds)
            may_take_over = time.monotonic() > self._database_failed_at + seconds + 1
            is_taken = (
                await self._pool.fetchval(sql("take_lease"), cpf, duration, self._holder, may_take_over) is not None
            )
        if is_taken:
            self._leases[cpf] = seconds
        return is_taken

    async def renew_leases(self, connection: Any, limit: float) -> None:
        """Renew all leases of this process within ``limit`` seconds.

        What another one has taken since stays with it: our call is paid anyhow.
        """
        if self._leases:
            duration = timedelta(seconds=max(self._leases.values()))
            with database_errors():
                await connection.execute(sql("renew_leases"), self._holder, list(self._leases), duration, timeout=limit)

    def database_failed(self) -> None:
        """The database did not answer: nobody's leases were renewed meanwhile, and their holders may live."""
        self._database_failed_at = time.monotonic()

    async def drop_lease(self, cpf: str) -> None:
        """Give a CPF back; one whose lease ran out and that another worker took stays with it."""
        if self._leases.pop(cpf, None) is not None:
            with database_errors():
                await self._pool.execute(sql("drop_lease"), cpf, self._holder)
