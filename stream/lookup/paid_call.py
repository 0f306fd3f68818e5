"""A paid call: reserve its row, make it, store what it brought, settle its row.

Rule 1: the intent is written after the guard's turn and before the request goes out. A call without a row is not made.
Rule 2: one row a call: what was certainly not carried out is tried again under the same row.
Rule 3: what a call brought is stored before anything else is asked, and the row is settled after that.
Rule 4: both happen whatever comes in between, also when the look-up is cancelled by its deadline. What PostgreSQL does
not take is kept in ``PendingWrites`` until it does.
Rule 5: nothing more is paid while the database owes us what was paid for: the same answer, or very many.
Rule 6: one holder of a CPF in the fleet, until what it learned is stored: whoever takes the CPF next must find that.

Whatever ends a call or gives a lease back must live here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from stream.domain.errors import Billed, DatabaseUnavailableError, RefusedError, TransientError
from stream.domain.identity import Cpf, Email, Phone
from stream.domain.provider import CallStatus, Provider
from stream.lookup.ports import CallLedger, LookupRequest, PricingPolicy
from stream.store.pending_writes import PendingWrites

STATUS_OF_FAILURE = {Billed.NO: CallStatus.FREE, Billed.UNSURE: CallStatus.UNSURE}
KINDS: dict[type[Phone | Email | Cpf], str] = {Phone: "phone", Email: "email", Cpf: "cpf"}  # as the ledger says it
LEASE_POLL_SECONDS = 0.2  # between tries to take a CPF that another worker holds


@dataclass(slots=True)
class PaidCall:
    """A call under way. Whoever makes it sets ``status``, and ``store`` where there is something to store."""

    write_intent: Callable[[], Awaitable[UUID]]
    row: UUID | None = None  # in the ledger; None until the call is reserved
    status: CallStatus = CallStatus.UNSURE
    store: Callable[[], Awaitable[None]] | None = None

    async def reserve(self) -> None:
        """Write the intent, once (rules 1 and 2)."""
        if self.row is None:
            self.row = await self.write_intent()


class PaidCalls:
    """The paid calls of a worker and its leases."""

    def __init__(self, ledger: CallLedger, pricing: PricingPolicy) -> None:
        self._ledger = ledger
        self._pricing = pricing
        self._pending = PendingWrites()  # what the database did not take
        self._ending: dict[asyncio.Task[None], str] = {}  # what is being stored and settled, with its alias

    @asynccontextmanager
    async def open(
        self, provider: Provider, alias: Phone | Email | Cpf, request: LookupRequest, calls: Counter[Provider]
    ) -> AsyncIterator[PaidCall]:
        """One call about ``alias``. The provider's client must await ``reserve`` of what this gives before it asks.

        However it ends, what it brought is stored, its row is settled, and ``calls`` counts it unless it was free.
        A call that was not reserved was not made: nothing is written of it.
        """
        self._must_have_stored(alias.alias)
        self._ledger.check(provider, request.source)
        call = PaidCall(partial(self._reserve, provider, alias, request))
        try:
            yield call
        except (TransientError, RefusedError) as error:
            call.status = STATUS_OF_FAILURE.get(getattr(error, "billed", Billed.UNSURE), CallStatus.UNSURE)
            raise
        finally:
            if call.row is not None:
                calls[provider] += call.status != CallStatus.FREE
                # Shielded: it goes on when the deadline cancels the look-up (rule 4).
                await asyncio.shield(self._start(self._end(call, call.row, alias.alias), alias.alias))

    @asynccontextmanager
    async def lease(self, cpf: Cpf) -> AsyncIterator[None]:
        """Hold the CPF (rule 6); wait while another worker does. The deadline of the look-up ends the wait."""
        seconds = self._pricing.lease
        while not await self._ledger.take_lease(cpf.digits, seconds):  # noqa: ASYNC110 - another process has it
            await asyncio.sleep(LEASE_POLL_SECONDS)
        try:
            yield
        finally:
            storing = [task for task, alias in self._ending.items() if alias == cpf.alias]
            # Else the look-up was cancelled and is over its time already, or the database is away.
            wait = not storing and cpf.alias not in self._pending
            dropping = self._start(self._drop_lease(cpf, storing), "")
            if wait:
                await asyncio.shield(dropping)

    async def settled(self) -> None:
        """Wait until what was paid for is stored and the row of every call that ended is settled."""
        while self._ending or self._pending:
            await self._pending.wait_until_all_stored()
            if self._ending:
                await asyncio.wait(set(self._ending))

    def _must_have_stored(self, alias: str) -> None:
        """Raise while rule 5 forbids to pay."""
        if alias in self._pending or self._pending.is_overloaded:
            raise DatabaseUnavailableError("database: what was paid for waits to be stored")

    async def _reserve(self, provider: Provider, alias: Phone | Email | Cpf, request: LookupRequest) -> UUID:
        """Write the intent. When the look-up is cancelled meanwhile, the row is settled as free: no call was made."""
        self._must_have_stored(alias.alias)  # others were answered while this one waited for its turn
        spec = self._pricing.providers[provider]
        reserving = asyncio.ensure_future(
            self._ledger.reserve(
                provider,
                KINDS[type(alias)],
                alias.alias,
                request.event_id,
                request.source,
                spec.price,
                spec.daily_budget,
            )
        )
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:
            self._start(self._give_back(reserving), alias.alias)
            raise

    async def _give_back(self, reserving: asyncio.Future[UUID]) -> None:
        row = await reserving
        await self._pending.write("", partial(self._ledger.settle, row, CallStatus.FREE))

    async def _end(self, call: PaidCall, row: UUID, alias: str) -> None:
        """Store and settle (rule 3); what the database does not take now is kept until it does."""
        try:
            if call.store is not None:
                await self._pending.write(alias, call.store)
        finally:
            await self._pending.write(alias, partial(self._ledger.settle, row, call.status))

    def _start(self, work: Coroutine[Any, Any, None], alias: str) -> asyncio.Task[None]:
        """Run ``work`` in a task that ``settled`` waits for."""
        task = asyncio.create_task(work)
        self._ending[task] = alias
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._ending[task]
        if not task.cancelled():
            task.exception()  # told to the look-up, if that still waits; nobody is left to hear it otherwise

    async def _drop_lease(self, cpf: Cpf, storing: list[asyncio.Task[None]]) -> None:
        """Give the CPF back when what was learned of it is stored."""
        if storing:
            await asyncio.wait(storing)
        await self._pending.wait_until_stored(cpf.alias)
        await self._ledger.drop_lease(cpf.digits)
