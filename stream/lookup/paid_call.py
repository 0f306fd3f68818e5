"""A paid call: reserve its row in the ledger, make the call, store its answer, settle the row.

Rule 1: the row is written after the guard admits the call and before the request is sent. A call without a row is not
made.
Rule 2: a call has one row. A request that was certainly not sent is retried under the same row.
Rule 3: the answer is stored before anything else is asked, and the row is settled after that.
Rule 4: both happen in every case, also if the deadline cancels the look-up. ``PendingWrites`` keeps a write that
PostgreSQL did not take and retries it.
Rule 5: no call is paid while an answer for the same alias waits to be stored, or while too many writes wait.
Rule 6: one worker of the fleet holds a CPF, until what it learned is stored: the next holder must find it.

Everything that ends a call or gives a lease back must live here.
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
KINDS: dict[type[Phone | Email | Cpf], str] = {Phone: "phone", Email: "email", Cpf: "cpf"}  # as written in the ledger
LEASE_POLL_S = 0.2  # between tries to take a CPF that another worker holds


@dataclass(slots=True)
class PaidCall:
    """A call under way. Its caller sets ``status``, and ``store`` if there is an answer to store."""

    write_intent: Callable[[], Awaitable[UUID]]
    row: UUID | None = None  # in the ledger; None until the call is reserved
    status: CallStatus = CallStatus.UNSURE
    store: Callable[[], Awaitable[None]] | None = None

    async def reserve(self) -> None:
        """Write the row, once (rules 1 and 2)."""
        if self.row is None:
            self.row = await self.write_intent()


class PaidCalls:
    """The paid calls of a worker and its leases."""

    def __init__(self, ledger: CallLedger, pricing: PricingPolicy) -> None:
        self._ledger = ledger
        self._pricing = pricing
        self._pending = PendingWrites()  # writes that the database did not take
        self._settling: dict[asyncio.Task[None], str] = {}  # calls that are stored and settled now, with their alias

    @asynccontextmanager
    async def open(
        self, provider: Provider, alias: Phone | Email | Cpf, request: LookupRequest, calls: Counter[Provider]
    ) -> AsyncIterator[PaidCall]:
        """Make one call about ``alias`` inside the context. Its client must await ``PaidCall.reserve`` before it asks.

        However the context ends, the answer is stored, the row is settled, and ``calls`` counts the call unless it was
        free. A call that was not reserved was not made, so nothing is written.
        """
        self._check_pending_writes(alias.alias)
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
                # Shielded: it continues when the deadline cancels the look-up (rule 4).
                await asyncio.shield(self._spawn(self._store_and_settle(call, call.row, alias.alias), alias.alias))

    @asynccontextmanager
    async def lease(self, cpf: Cpf) -> AsyncIterator[None]:
        """Hold the CPF inside the context (rule 6). Wait while another worker holds it: the deadline ends the wait."""
        seconds = self._pricing.lease
        while not await self._ledger.take_lease(cpf.digits, seconds):  # noqa: ASYNC110 - another process has it
            await asyncio.sleep(LEASE_POLL_S)
        try:
            yield
        finally:
            storing = [task for task, alias in self._settling.items() if alias == cpf.alias]
            # If something is still being stored, the deadline cancelled the look-up, or the database is away.
            wait = not storing and cpf.alias not in self._pending
            dropping = self._spawn(self._drop_lease(cpf, storing), "")
            if wait:
                await asyncio.shield(dropping)

    async def wait_settled(self) -> None:
        """Wait until every paid answer is stored and the row of every call that ended is settled."""
        while self._settling or self._pending:
            await self._pending.wait_until_all_stored()
            if self._settling:
                await asyncio.wait(set(self._settling))

    def _check_pending_writes(self, alias: str) -> None:
        """Raise DatabaseUnavailableError while rule 5 forbids to pay."""
        if alias in self._pending or self._pending.is_overloaded:
            raise DatabaseUnavailableError("database: what was paid for waits to be stored")

    async def _reserve(self, provider: Provider, alias: Phone | Email | Cpf, request: LookupRequest) -> UUID:
        """Write the row. If the look-up is cancelled meanwhile, settle the row as free: no call was made."""
        self._check_pending_writes(alias.alias)  # other calls were answered while this one waited for the guard
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
            self._spawn(self._settle_unsent(reserving), alias.alias)
            raise

    async def _settle_unsent(self, reserving: asyncio.Future[UUID]) -> None:
        row = await reserving
        await self._pending.write("", partial(self._ledger.settle, row, CallStatus.FREE))

    async def _store_and_settle(self, call: PaidCall, row: UUID, alias: str) -> None:
        """Store the answer and settle the row (rule 3). ``PendingWrites`` retries what the database does not take."""
        try:
            if call.store is not None:
                await self._pending.write(alias, call.store)
        finally:
            await self._pending.write(alias, partial(self._ledger.settle, row, call.status))

    def _spawn(self, work: Coroutine[Any, Any, None], alias: str) -> asyncio.Task[None]:
        """Run ``work`` in a task that ``wait_settled`` waits for."""
        task = asyncio.create_task(work)
        self._settling[task] = alias
        task.add_done_callback(self._on_settled)
        return task

    def _on_settled(self, task: asyncio.Task[None]) -> None:
        del self._settling[task]
        if not task.cancelled():
            task.exception()  # marks it as retrieved: the look-up gets it if it still waits, nobody else needs it

    async def _drop_lease(self, cpf: Cpf, storing: list[asyncio.Task[None]]) -> None:
        """Give the CPF back once what was learned about it is stored."""
        if storing:
            await asyncio.wait(storing)
        await self._pending.wait_until_stored(cpf.alias)
        await self._ledger.drop_lease(cpf.digits)
