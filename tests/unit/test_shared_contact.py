"""One contact that two sources write about: what ends one source's webhook must not end the other's."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from uuid import UUID

from stream.domain.errors import BudgetSpentError, DatabaseUnavailableError
from stream.domain.identity import Phone
from stream.domain.leads import Source, encode_webhook
from stream.domain.parking import BUDGET_SPENT, SOURCE_SPENT
from stream.domain.person import Candidate, person_from_work
from stream.local.people import population
from tests.support.agent_rig import Worker
from tests.support.fake_rig import FakeRig
from tests.support.fakes import NOW, FakeLedger, c2s_webhook
from tests.support.lookup_rig import SOMEONE


def google(lead: str, phone: str, name: str) -> bytes:
    columns = [
        {"column_id": "FULL_NAME", "string_value": name},
        {"column_id": "PHONE_NUMBER", "string_value": phone},
    ]
    return encode_webhook(Source.GOOGLE_ADS, NOW, {"lead_id": lead, "user_column_data": columns}, None)


class OneSourceIsSpent(FakeLedger):
    """C2S has used up its part of the budget."""

    async def reserve(  # noqa: PLR0913 - the port
        self, provider: str, kind: str, alias: str, event_id: str, source: str, price: Decimal, budget: int | None
    ) -> UUID:
        """Refuse one source."""
        if source == Source.C2S:
            raise BudgetSpentError(f"{provider}: {BUDGET_SPENT}{SOURCE_SPENT}")
        return await super().reserve(provider, kind, alias, event_id, source, price, budget)


async def test_a_source_whose_budget_is_spent_holds_up_no_other() -> None:
    """The Google lead behind a refused C2S webhook of the same contact has a part of its own."""
    rig = FakeRig()
    rig.know(SOMEONE)
    worker = Worker(rig)
    worker.enricher._chain._paid_calls._ledger = OneSourceIsSpent()  # noqa: SLF001
    c2s = c2s_webhook("l1", name=SOMEONE.name, phone=SOMEONE.phone)
    await worker.receive(c2s, google("g1", SOMEONE.phone, SOMEONE.name))
    assert {event.lead.id: event.outcome for event in worker.events()} == {"l1": "pending", "g1": "enriched"}


async def test_what_is_recalled_without_a_slot_starts_from_the_table() -> None:
    """An answer that PostgreSQL has not stored yet still says whose phone it is: nobody listed beside it answers."""
    rig = FakeRig()
    owner, relative, busy = population(3, seed=9)
    rig.know(busy)
    phone = Phone.parse(owner.phone)
    assert phone is not None
    person = person_from_work(relative.work(), relative.cpf, NOW)
    await rig.store.save_person((phone,), person, relative.work(), "l0", NOW)
    rig._partner.by_alias[phone.national] = [Candidate(owner.name.upper(), owner.cpf)]  # noqa: SLF001
    rig._partner.work_by_cpf[owner.cpf] = owner.work()  # noqa: SLF001
    worker = Worker(rig, slots=1)

    async def away(*_: object) -> None:
        raise DatabaseUnavailableError("database: away")

    rig.store.save_answer = away  # type: ignore[method-assign,assignment]
    await worker.receive(c2s_webhook("l1", name="Outro Nome Qualquer", phone=owner.phone))
    rig.ledgers[-1].held.clear()
    await worker.read(c2s_webhook("l2", name=busy.name, phone=busy.phone))
    await worker.read(c2s_webhook("l3", name=relative.name, phone=owner.phone))
    for _ in range(50):
        await asyncio.sleep(0)
    said = [event for event in worker.events() if event.lead.id == "l3" and event.person is not None]
    assert [event for event in said if event.match == "name"] == []
    rig.ledgers[-1].held.set()
    await worker.enricher.single_flight.drain(5)
