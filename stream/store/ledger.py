"""The ledger of paid calls: a reservation before each call, its settlement after it, and the day's budget.

Every figure of money comes from the ledger; none is estimated. A call is reserved right before its request is sent, not
while it waits for its slot at the provider. So a row that stays ``reserved`` belongs to a worker that died in the call:
reports count it as ``unsure``, and a webhook with three such rows is taken for the cause (``DeadlyError``).
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
DEFAULT_CALL_DEADLINE = timedelta(seconds=30)  # no call takes longer
RESERVE_TIMEOUT_S = 10.0  # of a reservation and its wait for a connection: it holds a slot of the provider meanwhile
REFUSAL_VALID_S = 5.0  # a source that was refused is refused for this long without a statement


@dataclass(slots=True)
class _Refusal:
    """Why a source got no reservation on ``day``. It is valid ``until`` then, in monotonic seconds."""

    reason: str
    day: date
    until: float


class Ledger:
    """Reserves and settles paid calls, and leases CPFs. Methods with a statement raise DatabaseUnavailableError."""

    def __init__(
        self, pool: asyncpg.Pool, now: Callable[[], datetime], *, deadline: timedelta = DEFAULT_CALL_DEADLINE
    ) -> None:
        """``deadline``: the longest duration of a call. An older reservation belongs to a worker that died."""
        self._pool = pool
        self._now = now
        self._deadline = deadline
        self._notices = Notices(pool)
        self._holder = uuid4()
        self._leases: dict[str, float] = {}  # seconds of each lease that this process holds, by CPF
        self._database_failed_at = -math.inf  # in monotonic seconds
        self._pending_settlements: dict[
            UUID, CallStatus
        ] = {}  # bounded by the calls in progress when the database fails
        self._spent_days: dict[Provider, date | None] = {}  # the day whose budget was found spent
        self._budgets: dict[Provider, int | None] = {}  # of each provider, from its newest reservation
        self._refused: dict[tuple[Provider, str], _Refusal] = {}  # by provider and source

    async def reserve(  # noqa: PLR0913 - a row of the ledger
        self, provider: Provider, kind: str, alias: str, event_id: str, source: str, price: Decimal, budget: int | None
    ) -> UUID:
        """Reserve a call and return the id of its row. ``budget``: paid calls of a day; None means unlimited.

        Raises BudgetSpentError if the day's ``budget``, or the part of it that ``source`` may use, is spent. Raises
        DeadlyError if ``MAX_ABANDONED_CALLS`` workers have died in calls for this webhook.
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
            # The row may exist although the answer was lost. No call is made for it.
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
        """Raise BudgetSpentError if a reservation for ``source`` was refused in the last ``REFUSAL_VALID_S`` seconds.

        Call it before waiting for a slot of the provider: a source without budget must not take slots from others only
        to be refused. One look-up every ``REFUSAL_VALID_S`` seconds passes and finds out whether there is budget again.
        """
        refused, now = self._refused.get((provider, source)), time.monotonic()
        if refused is None:
            return
        if now < refused.until and refused.day == self._now().astimezone(BILLING_ZONE).date():
            raise BudgetSpentError(refused.reason)
        refused.until = now + REFUSAL_VALID_S

    def trouble(self, provider: Provider) -> str:
        """The reason ``BUDGET_SPENT`` if the newest reservation found the day's budget spent, otherwise ""."""
        spent = self._spent_days.get(provider)
        return BUDGET_SPENT if spent == self._now().astimezone(BILLING_ZONE).date() else ""

    async def settle(self, call: UUID, status: CallStatus) -> None:
        """Settle a call. A call that is not free may cause a notice about the budget."""
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
        """Settle the calls whose settlement failed. Otherwise they would look as if a worker had died in them."""
        for call, status in list(self._pending_settlements.items()):
            await self.settle(call, status)

    async def take_lease(self, cpf: str, seconds: float) -> bool:
        """Lease a CPF for a call of the Work API, for ``seconds`` unless it is renewed. False if another holds it."""
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
        """Renew all leases of this process. Raises DatabaseUnavailableError after ``limit`` seconds.

        A lease that another process has taken over is not taken back: our call is paid in any case.
        """
        if self._leases:
            duration = timedelta(seconds=max(self._leases.values()))
            with database_errors():
                await connection.execute(sql("renew_leases"), self._holder, list(self._leases), duration, timeout=limit)

    def database_failed(self) -> None:
        """Note that the database did not answer: holders could not renew their leases and may still be running."""
        self._database_failed_at = time.monotonic()

    async def drop_lease(self, cpf: str) -> None:
        """Release the lease of a CPF, unless it has expired and another worker has taken it."""
        if self._leases.pop(cpf, None) is not None:
            with database_errors():
                await self._pool.execute(sql("drop_lease"), cpf, self._holder)
