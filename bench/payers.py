"""Ways to answer a trace of webhooks, and the cost of each.

``Ours`` is the project's own table, chain and policies. The others are services that one might write instead, each as
good as its idea allows: canonical contacts, both aliases looked up, and an answer shared by all later webhooks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from unittest.mock import patch
from uuid import UUID, uuid4

from bench.reasons import Policy, why_asked
from bench.residents import Resident
from bench.visits import Visit
from stream.domain.choice import Answered, Ask, PersonFound, Step, is_conclusive, next_step
from stream.domain.contact_facts import ContactFacts
from stream.domain.identity import Contact, Cpf, Phone
from stream.domain.person import Candidate
from stream.domain.provider import Provider
from stream.kafka.clients import partition_of
from stream.local.people import Someone
from stream.lookup import chain
from stream.lookup.chain import LookupChain
from stream.lookup.ports import CallLedger, LookupRequest, PersonReader, PersonStore, PricingPolicy, Reserve
from stream.lookup.table_cache import Lifetimes, TableCache
from stream.providers.specs import provider_specs
from stream.settings import Settings
from tests.support.fakes import FakeContactDirectory, FakeDatabase, FakeLedger, FakePartner


@dataclass(slots=True)
class Bill:
    """The result of a trace. A call is paid if somebody was found; ``calls`` includes free ones."""

    webhooks: int = 0
    paying: int = 0  # webhooks with a call that was paid for
    paid: int = 0
    calls: int = 0
    work_calls: int = 0
    why: Counter[str] = field(default_factory=Counter)  # paid calls by what made the project ask

    @property
    def in_100(self) -> float:
        """Paying webhooks in 100."""
        return 100 * self.paying / self.webhooks


class Payer(Protocol):
    """Answers one webhook after the other."""

    bill: Bill

    async def answer(self, visit: Visit) -> None: ...  # noqa: D102
    def restart(self) -> None: ...  # noqa: D102 - the process ends and starts again
    def lose(self) -> None: ...  # noqa: D102 - and what it kept beside the database is gone


class Partner(FakePartner):
    """Diretrix and the Work API for everybody in a trace, without latency."""

    def __init__(self, visits: Iterable[Visit]) -> None:
        super().__init__()
        self.people: dict[str, Someone] = {}
        for visit in visits:
            one = visit.someone
            if one.known:
                self.people[one.cpf] = one
                answers = one.answers if isinstance(one, Resident) else {}
                alone = [Candidate(one.name.upper(), one.cpf)]
                given = filter(None, (visit.phone, visit.email))
                self.by_alias.update({alias: answers.get(alias, alone) for alias in given})

    async def called(self, partner: str) -> None:
        """Count a call."""
        self.calls[partner] += 1

    def check(self) -> None:
        """It may always be asked."""

    async def by_cpf(self, cpf: Cpf, reserve: Reserve) -> dict[str, Any] | None:
        """The Work API's answer, made when it is requested."""
        await reserve()
        await self.called("work")
        one = self.people.get(cpf.digits)
        return one.work() if one is not None else None


class AlwaysAsk:
    """Pays for each webhook: for the phone, and for the e-mail if the phone is not known."""

    def __init__(self, partner: Partner) -> None:
        self.bill = Bill()
        self._partner = partner

    async def answer(self, visit: Visit) -> None:
        """Ask."""
        self.bill.webhooks += 1
        for alias in filter(None, (visit.phone, visit.email)):
            self.bill.calls += 1
            if alias in self._partner.by_alias:
                self.bill.paid += 1
                self.bill.paying += 1
                return

    def restart(self) -> None:
        """Nothing is kept."""

    lose = restart


class MemoryCache(AlwaysAsk):
    """AlwaysAsk with a dict and a TTL, under both aliases, which also keeps answers of "nobody"."""

    def __init__(self, partner: Partner, lifetime: timedelta) -> None:
        super().__init__(partner)
        self._lifetime = lifetime
        self._until: dict[str, datetime] = {}

    async def answer(self, visit: Visit) -> None:
        """Answer from the dict, else ask."""
        aliases = visit.contact.aliases
        if any(self._until.get(alias, visit.at) > visit.at for alias in aliases):
            self.bill.webhooks += 1
            return
        await super().answer(visit)
        self._until.update(dict.fromkeys(aliases, visit.at + self._lifetime))

    def restart(self) -> None:
        """A dict is gone with its process."""
        self._until.clear()

    lose = restart


class Clock:
    """The time of the webhook that is being answered."""

    at: datetime

    def __call__(self) -> datetime:
        """Now."""
        return self.at


class CountingLedger(FakeLedger):
    """A ledger without a budget, which is not counted again at each call."""

    async def reserve(self, provider: str, *_: Any) -> UUID:
        """Write the intent of a call."""
        call = uuid4()
        self.calls[call] = (provider, "reserved")
        return call


@dataclass(slots=True)
class Ports:
    """Where paid answers are kept: by default in memory, with the guarantees of the real ports."""

    clock: Clock = field(default_factory=Clock)
    database: FakeDatabase = field(default_factory=FakeDatabase)
    ledger: CallLedger = field(default_factory=CountingLedger)
    people: PersonReader | None = None
    store: PersonStore | None = None


class Ours:
    """The project's table and chain; the changelog outlives a restart, the database everything.

    ``policy``: the rule that it follows, by default its own.
    """

    def __init__(
        self,
        partner: Partner,
        settings: Settings,
        ports: Ports,
        chance: Callable[[], float],
        policy: Policy = next_step,
    ) -> None:
        self.bill = Bill()
        self._policy = policy
        self._settings, self._clock, self._chance = settings, ports.clock, chance
        self._partner = partner
        self._chain = LookupChain(
            ports.people or ports.database,
            FakeContactDirectory(partner),
            partner,
            ports.ledger,
            ports.store or ports.database,
            pricing(settings),
            ports.clock,
        )
        self._changelog: dict[bytes, bytes] = {}
        self._swept = 0.0
        self._cache = self._table()

    def _table(self) -> TableCache:
        settings = self._settings
        lifetimes = Lifetimes(
            settings.cache_ttl_known.total_seconds(),
            settings.cache_ttl_unknown.total_seconds(),
            settings.cache_capacity,
        )
        table = TableCache(dict(self._changelog), self._publish, lifetimes, self._chance)
        table.recovered()
        return table

    def _publish(self, partition: int, key: bytes, value: bytes | None) -> None:
        del partition
        if value is None:
            self._changelog.pop(key, None)
        else:
            self._changelog[key] = value

    async def answer(self, visit: Visit) -> None:
        """As the worker does: the table, then the look-up chain, and what was learned into the table."""
        self.bill.webhooks += 1
        self._clock.at = visit.at
        now, contact, name = visit.at.timestamp(), visit.contact, visit.name
        self._sweep(now)
        partition = partition_of(contact.key.encode(), self._settings.topic_partitions)
        known = self._cache.facts(partition, contact, now)
        at_once = self._policy(contact, name, known)
        if isinstance(at_once, Answered) and is_conclusive(at_once, contact, known):
            return
        request = LookupRequest(contact, name, "lead", "c2s", str(uuid4()))
        asked = self._partner.calls.copy()
        with patch.object(chain, "next_step", self._watched):
            result = await self._chain.resolve(request, known, self._settings.lookup_deadline.total_seconds())
        if result.failure is not None:
            raise result.failure
        person = result.answer.person if isinstance(result.answer, PersonFound) else None
        self._cache.remember(partition, result.facts, person, now)
        self.bill.paid += result.calls[Provider.DIRETRIX]
        self.bill.paying += result.calls[Provider.DIRETRIX] > 0
        self.bill.calls += self._partner.calls["diretrix"] - asked["diretrix"]
        self.bill.work_calls += self._partner.calls["work"] - asked["work"]

    def _watched(self, contact: Contact, name: str, known: ContactFacts, **options: Any) -> Step:
        """The policy's step; when it asks for what will be paid for, the reason is counted."""
        step = self._policy(contact, name, known, **options)
        if isinstance(step, Ask):
            spelt = step.alias.national if isinstance(step.alias, Phone) else step.alias.address
            if self._partner.by_alias.get(spelt):
                self.bill.why[why_asked(contact, name, known, step.alias, self._policy)] += 1
        return step

    def _sweep(self, now: float) -> None:
        """Once a simulated day; what is past its time is not answered from before that either."""
        if now - self._swept > 86_400:
            self._swept = now
            while self._cache.sweep(now):
                pass

    def restart(self) -> None:
        """The table comes back from its changelog."""
        self._cache = self._table()

    def lose(self) -> None:
        """The table starts cold, as after the number of partitions was grown."""
        self._changelog.clear()
        self._cache = self._table()


def pricing(settings: Settings) -> PricingPolicy:
    """The worker's policy, without budgets."""
    return PricingPolicy(
        providers={name: replace(spec, daily_budget=None) for name, spec in provider_specs(settings).items()},
        max_age=settings.enrichment_max_age,
        unknown_for=settings.cache_ttl_unknown,
        work_unknown_for=settings.work_unknown_for,
        lease=settings.lookup_deadline.total_seconds(),
    )


def distinct(visits: Sequence[Visit], of: Callable[[Contact, Visit], str]) -> int:
    """The number of different known people: the calls of somebody who knows in advance who will come back."""
    return len({of(visit.contact, visit) for visit in visits if visit.someone.known})
