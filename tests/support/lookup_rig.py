"""The rig of the look-up scenarios: a world to look people up in, and requests to it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol
from uuid import uuid4

from stream.domain.choice import Answered
from stream.domain.contact_facts import ContactFacts
from stream.domain.identity import Contact, Cpf, Email, Phone
from stream.local.people import Someone, population
from stream.lookup.chain import LookupChain
from stream.lookup.ports import LookupRequest, LookupResult, PersonReader, PersonStore, PricingPolicy
from stream.providers.specs import provider_specs
from stream.settings import load
from stream.store.periodic import LEASE_S
from tests.support.fakes import NOW
from tests.support.waiting import LIMIT

PRICING = PricingPolicy(
    providers=provider_specs(
        load({"DIRETRIX_PRICE": "0.50", "WORK_API_PRICE": "0.10", "DIRETRIX_DAILY_BUDGET": "unlimited"})
    ),
    max_age=timedelta(days=180),
    unknown_for=timedelta(days=1),
    work_unknown_for=timedelta(days=7),
    lease=LEASE_S,
)


class Clock:
    """The look-up chain's clock."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        """Now."""
        return self.at


class Rig(Protocol):
    """One world to look people up in: partners, a database, and any number of workers."""

    clock: Clock
    people: PersonReader
    store: PersonStore

    def know(self, someone: Someone) -> None: ...  # noqa: D102 - both partners know them
    def mix_up(self, someone: Someone, other: Someone | None) -> None: ...  # noqa: D102 - the Work API's record of theirs
    def fail_once(self, partner: str) -> None: ...  # noqa: D102 - with a 500
    def calls(self, partner: str) -> int: ...  # noqa: D102
    def worker(self) -> LookupChain: ...  # noqa: D102 - a chain of a worker of its own
    async def statuses(self, provider: str) -> list[str]: ...  # noqa: D102 - of the ledger, sorted
    async def parties(self, cpf: str) -> int: ...  # noqa: D102


SOMEONE, OTHER = population(2, seed=11)


def contact(someone: Someone, *, by: str = "phone email") -> Contact:
    """Contact of a person, by some of phone, email, cpf."""
    phone = Phone.parse(someone.phone) if "phone" in by else None
    email = Email.parse(someone.email) if "email" in by else None
    cpf = Cpf(someone.cpf) if "cpf" in by else None
    return Contact(phone, email, cpf, next(a for a in (phone, email, cpf) if a is not None).alias)


def typed(someone: Someone) -> tuple[Phone | Email, ...]:
    """Phone and e-mail of a person."""
    both = Phone.parse(someone.phone), Email.parse(someone.email)
    return tuple(one for one in both if one is not None)


def request(who: Contact, name: str = SOMEONE.name) -> LookupRequest:
    """The request of a lead."""
    return LookupRequest(who, name, "lead-1", "c2s", str(uuid4()))


async def resolve(chain: LookupChain, asked: LookupRequest, deadline: float = LIMIT) -> LookupResult:
    """One look-up of whom nothing is known yet."""
    return await chain.resolve(asked, ContactFacts(), deadline)


async def answer(chain: LookupChain, asked: LookupRequest) -> Answered:
    """The answer of one look-up; raises what it failed with."""
    result = await resolve(chain, asked)
    assert (result.answer is None) is (result.failure is not None)
    if result.failure is not None:
        raise result.failure
    assert result.answer is not None
    return result.answer


async def look_up(rig: Rig, asked: LookupRequest) -> Answered:
    """One look-up of a fresh worker."""
    return await answer(rig.worker(), asked)
