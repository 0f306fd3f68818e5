"""The CRM sync on a real database and a real HTTP server, with a producer and a table of writes that can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid5

import aiohttp
import asyncpg
import orjson
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaConnectionError

from stream import topics
from stream.crm.client import C2S
from stream.crm.sync import CrmSync
from stream.crm.writes import CrmWrites
from stream.domain.errors import DatabaseUnavailableError, TransientError
from stream.domain.events import NAMESPACE
from stream.domain.person import Candidate, Person, person_from_candidate, person_from_work
from stream.local.simulators import Simulators, serving
from stream.settings import load
from tests.support.waiting import LIMIT

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CPF = "52998224725"
PARTIAL = person_from_candidate(Candidate("MARIA LIMA", CPF), NOW)
MARIA = person_from_work({"DadosBasicos": {"nome": "MARIA LIMA"}, "DadosEconomicos": {"renda": "8500,50"}}, CPF, NOW)


@dataclass
class RecordingProducer:
    """Stands in for the Kafka producer: keeps the records it is given, or raises as if the broker were away."""

    sent: list[tuple[str, bytes, dict[str, bytes]]] = field(default_factory=list)
    away: bool = False

    async def send_and_wait(
        self, topic: str, value: bytes, key: bytes | None, headers: list[tuple[str, bytes]], partition: int
    ) -> None:
        """Keep one record, without its key and partition."""
        del key, partition
        if self.away:
            raise KafkaConnectionError
        self.sent.append((topic, value, dict(headers)))


class FailingWrites(CrmWrites):
    """The real class, but the database is away after a call: ``failures`` times, or until ``away`` is set."""

    failures = 0
    away: asyncio.Event | None = None  # set when the database is back
    dead = False  # the process that would store the result has died

    async def mark(self, c2s_id: str, facts: str, status: str, reason: str = "") -> None:
        """Fail, or store the result."""
        self._fail()
        await super().mark(c2s_id, facts, status, reason)

    async def release(self, c2s_id: str, facts: str) -> None:
        """Wait, then fail or remove the claim."""
        await self._wait()
        self._fail()
        await super().release(c2s_id, facts)

    async def release_lead(self, source: str, lead_id: str) -> None:
        """Wait, then remove the claim."""
        await self._wait()
        await super().release_lead(source, lead_id)

    async def mark_created(self, source: str, lead_id: str, c2s_id: str, facts: str | None, event_id: str) -> None:
        """Fail, or store the creation."""
        self._fail()
        await super().mark_created(source, lead_id, c2s_id, facts, event_id)

    async def mark_lead(self, source: str, lead_id: str, status: str, c2s_id: str | None = None) -> None:
        """Fail, or store the result."""
        self._fail()
        await super().mark_lead(source, lead_id, status, c2s_id)

    async def _wait(self) -> None:
        if self.away is not None:
            await self.away.wait()

    def _fail(self) -> None:
        if self.failures or self.dead:
            self.failures -= not self.dead
            raise DatabaseUnavailableError("database: away")


@dataclass
class Crm:
    """The CRM sync's environment: a simulated C2S, the table of writes, the producer."""

    c2s: Simulators
    writes: FailingWrites
    dead_letters: RecordingProducer
    base: str
    session: aiohttp.ClientSession

    def sync(self, **settings: str) -> CrmSync:
        """A new CRM sync with these settings, as after a restart."""
        loaded = load({"C2S_BASE_URL": self.base, "C2S_TIMEOUT": "500ms", **settings})
        return CrmSync(C2S(self.session, loaded), self.writes, self.dead_letters, loaded)  # type: ignore[arg-type]

    async def unconfirmed(self) -> list[tuple[str, str, str]]:
        """The unconfirmed writes: kind, lead, status."""
        return [(one.kind, one.lead, one.status) for one in await self.writes.unconfirmed()]


@asynccontextmanager
async def serving_crm(pool: asyncpg.Pool) -> AsyncIterator[Crm]:
    """A C2S that answers at once, on the database of ``pool``."""
    simulators = Simulators(scale=0.0)
    async with serving(simulators) as base, aiohttp.ClientSession() as session:
        yield Crm(simulators, FailingWrites(pool), RecordingProducer(), base, session)


def record(value: bytes) -> ConsumerRecord:
    return ConsumerRecord(
        topics.ENRICHED.name, 3, 17, 1_769_860_800_000, 0, b"+5511987654321", value, None, 0, len(value), ()
    )


def event(
    person: Person | None = None, outcome: str = "", *, lead: str = "L1", source: str = "c2s", **more: Any
) -> Any:
    identity = str(uuid5(NAMESPACE, f"{source}/{lead}/{more.get('hook_action')}/{more.get('updated_at')}"))
    body = {
        "event_id": identity,
        "revision": "r",
        "lead": {"source": source, "id": lead, "name": "Maria", "product": "Casa", **more},
        "contact": {"key": "+5511987654321", "phone": "+5511987654321", "email": None, "cpf": None},
        "outcome": outcome or ("enriched" if person is not None else "not_found"),
        "person": orjson.Fragment(person.encode()) if person is not None else None,
        "received_at": NOW,
        "emitted_at": NOW,
    }
    return record(orjson.dumps(body))


def google(person: Person | None = None, outcome: str = "") -> Any:
    return event(person, outcome, lead="G1", source="google_ads")


async def die(crm: Crm, call: asyncio.Task[None]) -> None:
    """End a process during its call: its result is not stored."""
    crm.writes.dead = True
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    crm.writes.dead = False


async def until_handled(sync: CrmSync, record: Any) -> None:
    """Handle a record as the consumer loop does: retry after a transient error."""
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                return await sync.handle(record)
            except TransientError:
                await asyncio.sleep(0.02)


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not holds():  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.01)
