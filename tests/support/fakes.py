"""Fakes of our ports, in memory. They keep the ports' promises and count their calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from stream.domain.errors import BudgetSpentError
from stream.domain.identity import Contact, Cpf, Email, Phone
from stream.domain.leads import Source, encode_webhook
from stream.domain.parking import BUDGET_SPENT
from stream.domain.person import Candidate, Person, StoredAnswer, StoredFacts, StoredPerson
from stream.kafka.clients import partition_of
from stream.kafka.partition_queue import Headers, QueuedRecord
from stream.local.people import Someone
from stream.lookup.ports import Reserve

NOW = datetime(2026, 1, 31, 15, 0, tzinfo=UTC)
PARTITIONS = 4


class FakePartner:
    """Diretrix and the Work API for one invented population. Each exception in ``failing`` is raised once."""

    def __init__(self) -> None:
        self.by_alias: dict[str, list[Candidate]] = {}
        self.work_by_cpf: dict[str, dict[str, Any]] = {}
        self.calls: Counter[str] = Counter()
        self.failing: dict[str, list[Exception]] = {"diretrix": [], "work": []}

    def know(self, someone: Someone) -> None:
        """Make a person known to both partners."""
        for alias in [*someone.phones, *someone.emails]:
            self.by_alias.setdefault(alias, []).append(Candidate(someone.name.upper(), someone.cpf))
        self.work_by_cpf[someone.cpf] = someone.work()

    async def called(self, partner: str) -> None:
        """Count a call, yield to other tasks, and fail if the test says so."""
        self.calls[partner] += 1
        await asyncio.sleep(0.001)
        if self.failing[partner]:
            raise self.failing[partner].pop(0)


async def no_reservation() -> None:
    """Reserve nothing: for tests of a partner's client alone."""


class FakeContactDirectory:
    """Diretrix."""

    def __init__(self, partner: FakePartner) -> None:
        self._partner = partner

    def check(self) -> None:
        """It may always be asked."""

    async def by_phone(self, phone: Phone, reserve: Reserve) -> tuple[Candidate, ...]:
        """Candidates of the national number."""
        await reserve()
        await self._partner.called("diretrix")
        return tuple(self._partner.by_alias.get(phone.national, ()))

    async def by_email(self, email: Email, reserve: Reserve) -> tuple[Candidate, ...]:
        """Candidates of the address."""
        await reserve()
        await self._partner.called("diretrix")
        return tuple(self._partner.by_alias.get(email.address, ()))


class FakePersonProvider:
    """The Work API."""

    def __init__(self, partner: FakePartner) -> None:
        self._partner = partner

    def check(self) -> None:
        """It may always be asked."""

    async def by_cpf(self, cpf: Cpf, reserve: Reserve) -> dict[str, Any] | None:
        """The answer as received."""
        await reserve()
        await self._partner.called("work")
        return self._partner.work_by_cpf.get(cpf.digits)


class FakeDatabase:
    """PersonReader and PersonStore: what is stored under an alias or a CPF, with its times."""

    def __init__(self) -> None:
        self.answers: dict[str, StoredAnswer] = {}
        self.parties: dict[str, tuple[str, dict[str, Any] | None, datetime | None]] = {}
        self.contacts: dict[str, dict[str, tuple[bool, datetime]]] = {}  # alias -> CPF -> only listed, since when
        self.unanswered: dict[str, datetime] = {}  # CPF -> until when

    async def find(self, contact: Contact) -> StoredFacts:
        """Return all that is known under the contact's phone and e-mail."""
        await asyncio.sleep(0)
        aliases = [alias for alias in contact.aliases if not alias.startswith("c:")]
        known = tuple(
            StoredPerson(alias, cpf, *self.parties[cpf], listed, created_at)
            for alias in aliases
            for cpf, (listed, created_at) in self.contacts.get(alias, {}).items()
        )
        return StoredFacts(known, tuple(self.answers[alias] for alias in aliases if alias in self.answers))

    async def find_by_cpf(self, cpf: Cpf) -> StoredPerson | None:
        """Return the party of a CPF."""
        await asyncio.sleep(0)
        party = self.parties.get(cpf.digits)
        return None if party is None else StoredPerson("", cpf.digits, *party)

    async def save_answer(self, alias: Phone | Email, candidates: tuple[Candidate, ...], asked_at: datetime) -> None:
        """Store the answer for an alias."""
        await asyncio.sleep(0)
        self.answers[alias.alias] = StoredAnswer(alias.alias, candidates, asked_at)
        for candidate in candidates:
            self.parties.setdefault(candidate.cpf, (candidate.name, None, None))
            there = self.contacts.setdefault(alias.alias, {})
            there[candidate.cpf] = (False, there.get(candidate.cpf, (False, asked_at))[1])

    async def save_person(
        self, aliases: tuple[Phone | Email, ...], person: Person, raw: dict[str, Any], lead_id: str, at: datetime
    ) -> None:
        """Store a person under the proven and the listed aliases."""
        del lead_id
        await asyncio.sleep(0)
        self.parties[person.cpf] = (person.name, raw, at)
        for alias in [*aliases, *person.aliases()]:
            self.contacts.setdefault(alias.alias, {}).setdefault(person.cpf, (True, at))

    async def is_unanswered(self, cpf: Cpf, now: datetime) -> bool:
        """Whether the Work API had no answer lately."""
        await asyncio.sleep(0)
        return cpf.digits in self.unanswered and now < self.unanswered[cpf.digits]

    async def save_unanswered(self, cpf: Cpf, reason: str, until: datetime) -> None:
        """Store that the Work API had no answer."""
        del reason
        await asyncio.sleep(0)
        self.unanswered[cpf.digits] = until


class FakeLedger:
    """The ledger of one process, and the leases of the fleet."""

    def __init__(self, leases: dict[str, UUID] | None = None) -> None:
        self.calls: dict[UUID, tuple[str, str]] = {}  # provider and status
        self._leases = leases if leases is not None else {}
        self._me = uuid4()
        self.held = asyncio.Event()  # clear it, and reservations wait
        self.held.set()

    def check(self, provider: str, source: str) -> None:
        """Nobody is refused without being counted."""

    async def reserve(  # noqa: PLR0913 - the port
        self, provider: str, kind: str, alias: str, event_id: str, source: str, price: Decimal, budget: int | None
    ) -> UUID:
        """Write the row of a call."""
        del kind, alias, source, price
        UUID(event_id)
        await asyncio.sleep(0)
        await self.held.wait()
        spent = sum(one == provider and status != "free" for one, status in self.calls.values())
        if budget is not None and spent >= budget:
            raise BudgetSpentError(f"{provider}: {BUDGET_SPENT}")
        call = uuid4()
        self.calls[call] = (provider, "reserved")
        return call

    async def settle(self, call: UUID, status: str) -> None:
        """Write the status of a call."""
        await asyncio.sleep(0)
        self.calls[call] = (self.calls[call][0], status)

    async def take_lease(self, cpf: str, seconds: float) -> bool:
        """Take a CPF unless another worker holds it."""
        del seconds
        await asyncio.sleep(0)
        return self._leases.setdefault(cpf, self._me) == self._me

    async def drop_lease(self, cpf: str) -> None:
        """Give a CPF back."""
        await asyncio.sleep(0)
        if self._leases.get(cpf) == self._me:
            del self._leases[cpf]


class RecordingProducer:
    """Keeps what is enqueued. A record counts as acknowledged when ``acknowledge`` is called."""

    def __init__(self) -> None:
        self.is_full = False
        self.records: list[tuple[str, QueuedRecord]] = []
        self.placed: list[int | None] = []  # where each was to go
        self._unacknowledged: list[Callable[[], None]] = []

    def partitions(self, topic: str) -> int:
        """Every topic has the same number."""
        del topic
        return PARTITIONS

    def enqueue(  # noqa: PLR0913 - the port
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        acknowledged: Callable[[], None] | None = None,
        partition: int | None = None,
    ) -> None:
        """Keep one record."""
        self.placed.append(partition)
        self.records.append((topic, QueuedRecord(key, value, headers, acknowledged)))
        if acknowledged is not None:
            self._unacknowledged.append(acknowledged)

    async def wait_for_capacity(self) -> None:
        """Return at once: there is always capacity."""

    def acknowledge(self) -> None:
        """Acknowledge everything that was enqueued so far."""
        waiting, self._unacknowledged = self._unacknowledged, []
        for acknowledged in waiting:
            acknowledged()

    def of(self, topic: str) -> list[QueuedRecord]:
        """Return the records of one topic, in order."""
        return [record for name, record in self.records if name == topic]


def partition_for(contact_key: str) -> int:
    """Return the partition of a contact's webhooks."""
    return partition_of(contact_key.encode(), PARTITIONS)


def c2s_webhook(lead: str = "lead-1", *, name: str = "", phone: str = "", email: str = "") -> bytes:
    """Return a C2S webhook as a record's value."""
    payload = {
        "id": lead,
        "hook_action": "on_create_lead",
        "attributes": {
            "updated_at": "2026-01-31T12:00:00Z",
            "customer": {"name": name, "phone": phone, "email": email},
        },
    }
    return encode_webhook(Source.C2S, NOW, payload, None)
