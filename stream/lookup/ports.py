"""The look-up chain's request, result, prices and ports.

The chain knows PostgreSQL and the providers by these ports only, so the same chain runs on fakes and on real parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from stream.domain.choice import Answered
from stream.domain.contact_facts import ContactFacts
from stream.domain.errors import PoisonError, RefusedError, TransientError
from stream.domain.events import Tier
from stream.domain.identity import Contact, Cpf, Email, Phone
from stream.domain.person import Candidate, Person, StoredFacts, StoredPerson
from stream.domain.provider import CallStatus, Provider, ProviderSpec

Reserve = Callable[[], Awaitable[None]]
# Why a look-up has no answer: it may succeed later; a provider refuses us; it can never succeed; the deadline passed.
LookupFailure = TransientError | RefusedError | PoisonError | TimeoutError


@dataclass(frozen=True, slots=True)
class LookupRequest:
    """One lead that needs an answer."""

    contact: Contact
    name: str
    lead_id: str
    source: str
    event_id: str


@dataclass(slots=True)
class LookupResult:
    """The result of a look-up. The chain fills it step by step and returns it at the end.

    Exactly one of ``answer`` and ``failure`` is set. ``tier``: the last one that was asked. ``calls``: those that were
    billed or may have been. ``facts``: what was known before and what was learned, also if the look-up failed.
    """

    facts: ContactFacts
    tier: Tier = Tier.POSTGRES
    calls: Counter[Provider] = field(default_factory=Counter)
    answer: Answered | None = None
    failure: LookupFailure | None = None


@dataclass(frozen=True, slots=True)
class PricingPolicy:
    """What a call costs, and how long its answer is valid."""

    providers: Mapping[Provider, ProviderSpec]
    max_age: timedelta  # of a person, and of an answer that named somebody
    unknown_for: timedelta  # an alias that nobody knows is not asked for again meanwhile
    work_unknown_for: timedelta  # the same for a CPF
    lease: float  # seconds after which a lease expires that its holder does not renew


class PersonReader(Protocol):
    """Tier 2: who is known in PostgreSQL. Each method raises DatabaseUnavailableError."""

    async def find(self, contact: Contact) -> StoredFacts: ...  # noqa: D102
    async def find_by_cpf(self, cpf: Cpf) -> StoredPerson | None: ...  # noqa: D102
    async def is_unanswered(self, cpf: Cpf, now: datetime) -> bool: ...  # noqa: D102 - by the Work API


class ContactDirectory(Protocol):
    """Tier 3, billed per call: turns a phone or an e-mail into candidates, best first.

    ``check`` raises while the provider can't be asked; no call is reserved then. ``reserve`` writes the ledger row of
    the call. The provider must await it right before each request, and must not send the request if it raises.
    """

    def check(self) -> None: ...  # noqa: D102
    async def by_phone(self, phone: Phone, reserve: Reserve) -> tuple[Candidate, ...]: ...  # noqa: D102
    async def by_email(self, email: Email, reserve: Reserve) -> tuple[Candidate, ...]: ...  # noqa: D102


class PersonProvider(Protocol):
    """Tier 3: turns a CPF into a person, None if it is not known. ``check`` and ``reserve`` as in ContactDirectory."""

    def check(self) -> None: ...  # noqa: D102
    async def by_cpf(self, cpf: Cpf, reserve: Reserve) -> dict[str, Any] | None: ...  # noqa: D102


class CallLedger(Protocol):
    """The rows of paid calls, and the leases by which only one worker completes a CPF.

    ``check`` raises if ``reserve`` refused the source a moment ago, so that no call waits at the provider to be refused
    again.
    """

    def check(self, provider: Provider, source: str) -> None: ...  # noqa: D102
    async def reserve(  # noqa: D102, PLR0913
        self, provider: Provider, kind: str, alias: str, event_id: str, source: str, price: Decimal, budget: int | None
    ) -> UUID: ...
    async def settle(self, call: UUID, status: CallStatus) -> None: ...  # noqa: D102
    async def take_lease(self, cpf: str, seconds: float) -> bool: ...  # noqa: D102
    async def drop_lease(self, cpf: str) -> None: ...  # noqa: D102


class PersonStore(Protocol):
    """Stores answers and people. Each write is idempotent, and an older one never overwrites a newer one."""

    async def save_answer(  # noqa: D102
        self, alias: Phone | Email, candidates: tuple[Candidate, ...], asked_at: datetime
    ) -> None: ...
    async def save_person(  # noqa: D102
        self, aliases: tuple[Phone | Email, ...], person: Person, raw: dict[str, Any], lead_id: str, at: datetime
    ) -> None: ...
    async def save_unanswered(self, cpf: Cpf, reason: str, until: datetime) -> None: ...  # noqa: D102
