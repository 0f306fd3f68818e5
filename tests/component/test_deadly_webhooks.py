"""A webhook in whose paid calls workers have died, on the real ledger and partners: it ends no further worker."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg

from stream import topics
from stream.domain.crm import Create, decide
from stream.domain.events import Outcome, event_id
from stream.domain.leads import decode_webhook
from stream.local.people import population
from tests.support.agent_rig import Worker
from tests.support.fakes import c2s_webhook
from tests.support.real_rig import RealRig, real_rig
from tests.unit.test_parked_google_leads import google

SOMEONE, OTHER = population(2, seed=77)
ABANDONED = (
    "INSERT INTO stream.paid_calls (id, provider, kind, alias, event_id, source, day, price, reserved_at)"
    " VALUES ($1, $2, 'phone', 'p', $3, 'c2s', '2026-01-31', 0.01, $4)"
)


async def abandon(rig: RealRig, value: bytes, times: int, age: timedelta = timedelta(minutes=5)) -> str:
    """Leave calls of a webhook on the books as a killed worker does; its event id."""
    identity = event_id(decode_webhook(value).lead)
    for number in range(times):
        provider = ("diretrix", "work")[number % 2]
        await rig.pool.execute(ABANDONED, uuid4(), provider, UUID(identity), rig.clock.at - age)
    return identity


async def test_after_three_calls_without_an_end_it_is_a_dead_letter(pool: asyncpg.Pool) -> None:
    """No partner is asked, the letter says which rows to settle, its lead is created, and others go on."""
    async with real_rig(pool) as rig:
        rig.know(SOMEONE)
        rig.know(OTHER)
        worker, value = Worker(rig), google("deadly", SOMEONE)
        identity = await abandon(rig, value, 3)
        events = await worker.receive(value, google("behind", SOMEONE), google("other", OTHER))
    (letter,) = worker.producer.of(topics.DEAD.name)
    said = {name: (text or b"").decode() for name, text in letter.headers}
    assert (letter.value, said["dl-error"]) == (value, "DeadlyError")
    assert identity in said["dl-reason"]
    assert {event.lead.id: event.outcome for event in events} == {
        "deadly": Outcome.PENDING,
        "behind": Outcome.ENRICHED,
        "other": Outcome.ENRICHED,
    }
    assert all(isinstance(decide(event, note_not_found=False), Create) for event in events)
    assert rig.calls("diretrix") == 2
    worker.producer.acknowledge()
    assert worker.trackers.unfinished == 0


async def test_two_calls_without_an_end_are_no_proof(pool: asyncpg.Pool) -> None:
    """Nor are three that may be under way: a webhook is looked up by several workers after a rebalance."""
    async with real_rig(pool) as rig:
        rig.know(SOMEONE)
        worker = Worker(rig)
        for lead, times, age in (("two", 2, timedelta(hours=1)), ("young", 3, timedelta(seconds=5))):
            value = c2s_webhook(lead, name=SOMEONE.name, phone=SOMEONE.phone)
            await abandon(rig, value, times, age)
            await worker.receive(value)
    assert {event.outcome for event in worker.events()} == {Outcome.ENRICHED}
    assert worker.producer.of(topics.DEAD.name) == []
