"""The look-up chain: asks PostgreSQL, Diretrix and the Work API, in order of cost.

The policy (``domain.choice``) decides the next step and the chain executes it. ``paid_call`` has the rules of a call,
``stored_facts`` reads PostgreSQL, ``ports`` has the interfaces that the chain needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial

from stream.domain.choice import Answered, Ask, Complete, next_step
from stream.domain.contact_facts import ContactFacts
from stream.domain.errors import PoisonError, RefusedError, TransientError
from stream.domain.events import Tier
from stream.domain.identity import Cpf, Email, Phone
from stream.domain.person import Candidate
from stream.domain.provider import CallStatus, Provider
from stream.lookup.paid_call import PaidCalls
from stream.lookup.ports import (
    CallLedger,
    ContactDirectory,
    LookupRequest,
    LookupResult,
    PersonProvider,
    PersonReader,
    PersonStore,
    PricingPolicy,
)
from stream.lookup.stored_facts import StoredFactsReader
from stream.lookup.work_answer import WorkAnswers


class LookupChain:
    """Finds out who a lead is. Pays only for what is not known."""

    def __init__(  # noqa: PLR0913 - one argument a port
        self,
        people: PersonReader,
        diretrix: ContactDirectory,
        work: PersonProvider,
        ledger: CallLedger,
        store: PersonStore,
        pricing: PricingPolicy,
        now: Callable[[], datetime],
    ) -> None:
        self._stored = StoredFactsReader(people, pricing, now)
        self._diretrix = diretrix
        self._work = work
        self._work_answers = WorkAnswers(store, pricing)
        self._paid_calls = PaidCalls(ledger, pricing)
        self._store = store
        self._now = now

    async def resolve(self, request: LookupRequest, facts: ContactFacts, deadline: float) -> LookupResult:
        """Look the lead up for at most ``deadline`` seconds, starting from ``facts``, which do not change.

        A failure is returned, not raised: the caller needs what was learned and paid for before it.
        """
        result = LookupResult(facts.copy())
        try:
            async with asyncio.timeout(deadline):
                result.answer = await self._answer(request, result)
        except (TransientError, RefusedError, PoisonError, TimeoutError) as error:
            result.failure = error
        return result

    async def resolve_from_postgres(self, request: LookupRequest, facts: ContactFacts) -> LookupResult | None:
        """Answer from PostgreSQL only. Return None if a provider would have to be asked. Raise TransientError."""
        result = LookupResult(facts.copy())
        await self._stored.add_contact(request.contact, result.facts)
        step = next_step(request.contact, request.name, result.facts)
        while isinstance(step, Complete):
            if not await self._stored.add_person(Cpf(step.candidate.cpf), step.candidate, result.facts):
                return None
            step = next_step(request.contact, request.name, result.facts)
        if isinstance(step, Ask):
            return None
        result.answer = step
        return result

    async def wait_settled(self) -> None:
        """Wait until every paid answer is stored and the row of every call that ended is settled."""
        await self._paid_calls.wait_settled()

    async def _answer(self, request: LookupRequest, result: LookupResult) -> Answered:
        await self._stored.add_contact(request.contact, result.facts)
        while True:
            step = next_step(request.contact, request.name, result.facts)
            match step:
                case Ask():
                    await self._ask_diretrix(request, step.alias, result)
                case Complete():
                    await self._complete(request, step.candidate, result)
                case _:
                    return step

    async def _ask_diretrix(self, request: LookupRequest, alias: Phone | Email, result: LookupResult) -> None:
        """Pay for one alias, once."""
        result.tier = Tier.DIRETRIX
        self._diretrix.check()
        async with self._paid_calls.open(Provider.DIRETRIX, alias, request, result.calls) as call:
            if isinstance(alias, Phone):
                candidates = await self._diretrix.by_phone(alias, call.reserve)
            else:
                candidates = await self._diretrix.by_email(alias, call.reserve)
            call.status = CallStatus.PAID if candidates else CallStatus.FREE
            result.facts.answers[alias.alias] = candidates
            call.store = partial(self._store.save_answer, alias, candidates, self._now())

    async def _complete(self, request: LookupRequest, candidate: Candidate, result: LookupResult) -> None:
        """Turn a CPF into a person: from PostgreSQL, else from the Work API, with one call a CPF across all workers."""
        cpf = Cpf(candidate.cpf)
        if await self._stored.add_person(cpf, candidate, result.facts):
            return
        if request.contact.cpf == cpf and result.tier is Tier.POSTGRES:
            result.tier = Tier.FORM
        self._work.check()
        async with self._paid_calls.lease(cpf):
            # Another worker may have completed it while we waited for the lease.
            if not await self._stored.add_person(cpf, candidate, result.facts):
                await self._ask_work(request, cpf, candidate, result)

    async def _ask_work(self, request: LookupRequest, cpf: Cpf, candidate: Candidate, result: LookupResult) -> None:
        async with self._paid_calls.open(Provider.WORK, cpf, request, result.calls) as call:
            raw = await self._work.by_cpf(cpf, call.reserve)
            call.status = CallStatus.PAID if raw is not None else CallStatus.FREE
            call.store = self._work_answers.add(raw, cpf, candidate, request, result.facts, self._now())
