"""A rig whose database can be blocked, and the webhooks and headers of the outcome tests."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from stream import topics
from stream.domain.parking import Parking
from stream.kafka.partition_queue import QueuedRecord
from stream.local.people import Someone, population
from stream.lookup.chain import LookupChain
from tests.support.agent_rig import PARTITION, Worker
from tests.support.fake_rig import FakeRig
from tests.support.fakes import NOW, c2s_webhook, partition_for

SOMEONE, OTHER = population(2, seed=31)
RETRY, MEDIUM, LONG = (topic.name for topic in topics.RETRIES)


class Gate:
    """A database that answers only while ``open`` is set."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.open = asyncio.Event()
        self.failing: Exception | None = None

    async def find(self, contact: Any) -> Any:
        """Wait, then answer, or fail."""
        await self.open.wait()
        if self.failing is not None:
            raise self.failing
        return await self._database.find(contact)

    async def find_by_cpf(self, cpf: Any) -> Any:
        """Answer."""
        return await self._database.find_by_cpf(cpf)

    async def is_unanswered(self, cpf: Any, now: Any) -> bool:
        """Answer."""
        return bool(await self._database.is_unanswered(cpf, now))


class Rig(FakeRig):
    """A world of fakes whose database can be blocked."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(self.people)
        self.gate.open.set()

    def worker(self) -> LookupChain:
        """A chain whose tier 2 is behind the gate."""
        chain = super().worker()
        chain._stored._people = self.gate  # noqa: SLF001 - the port that this world exchanges
        return chain


def webhook(lead: str = "lead-1", someone: Someone = SOMEONE) -> bytes:
    return c2s_webhook(lead, name=someone.name, phone=someone.phone, email=someone.email)


def tried(since: datetime, attempt: int = 26) -> list[tuple[str, bytes]]:
    """Headers of a parked webhook that has just come back."""
    return [("reroute", b"1"), *Parking(attempt, since, NOW, 0).headers("test")]


def headers_of(record: QueuedRecord) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


def parked(worker: Worker, topic: str = RETRY) -> list[QueuedRecord]:
    records: list[QueuedRecord] = worker.producer.of(topic)
    return records


def elsewhere() -> Someone:
    """Return a person whose webhooks belong to another partition than the worker's."""
    people = population(20, seed=5)
    return next(one for one in people if partition_for(f"+55{one.phone}") != PARTITION[1])
