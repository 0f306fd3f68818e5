"""What was written to the CRM: a claim is made once, and what may have been carried out is listed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from stream.crm.writes import CrmLead, CrmWrites
from stream.domain.errors import DatabaseUnavailableError

EVENT = str(uuid4())
MINUTE = timedelta(minutes=1)


@pytest.fixture
def deliveries(pool: asyncpg.Pool) -> CrmWrites:
    return CrmWrites(pool)


async def test_facts_are_claimed_once_for_a_lead(deliveries: CrmWrites) -> None:
    """Of twenty claims at once one wins; other facts, and another lead, are claims of their own."""
    claims = await asyncio.gather(*(deliveries.claim("lead", "facts", str(uuid4())) for _ in range(20)))
    assert claims.count(True) == 1
    assert await deliveries.claim("lead", "other facts", EVENT)
    assert await deliveries.claim("other lead", "facts", EVENT)


async def test_a_message_that_was_not_sent_may_be_claimed_again(deliveries: CrmWrites) -> None:
    """A released claim is as if it had never been; a confirmed one can't be released."""
    assert await deliveries.claim("lead", "facts", EVENT)
    await deliveries.release("lead", "facts")
    assert not await deliveries.has_result("lead", "facts", MINUTE)
    assert await deliveries.claim("lead", "facts", EVENT)
    await deliveries.mark("lead", "facts", "confirmed")
    await deliveries.release("lead", "facts")
    assert await deliveries.has_result("lead", "facts", MINUTE)
    assert not await deliveries.claim("lead", "facts", EVENT)


@pytest.mark.parametrize(
    ("status", "unsure_for", "wins"),
    [
        ("refused", None, 1),
        ("unconfirmed", None, 0),
        ("unconfirmed", timedelta(minutes=1), 1),
        ("claimed", timedelta(minutes=1), 0),
        ("confirmed", timedelta(0), 0),
    ],
)
async def test_a_claim_is_taken_again_by_one(
    deliveries: CrmWrites, status: str, unsure_for: timedelta | None, wins: int
) -> None:
    """Of twenty at once one gets what was refused or, when asked for, unsure; a call under way is left alone."""
    await deliveries.claim("lead", "facts", EVENT)
    await deliveries.mark("lead", "facts", status)
    await deliveries.claim_lead("google_ads", "1")
    await deliveries.mark_lead("google_ads", "1", "created" if status == "confirmed" else status)
    told = await asyncio.gather(*(deliveries.reclaim("lead", "facts", EVENT, unsure_for) for _ in range(20)))
    made = await asyncio.gather(*(deliveries.reclaim_lead("google_ads", "1", unsure_for) for _ in range(20)))
    assert told.count(True) == made.count(True) == wins


async def test_what_may_have_been_carried_out_is_listed(deliveries: CrmWrites) -> None:
    """Claims of a process that died and unconfirmed writes are listed, oldest first; settled ones are not."""
    for facts, status in (("a", "confirmed"), ("b", "refused"), ("c", "unconfirmed"), ("d", "")):
        await deliveries.claim("lead", facts, EVENT)
        if status:
            await deliveries.mark("lead", facts, status, "why")
    for lead, status in (("1", "created"), ("2", "refused"), ("3", "unconfirmed"), ("4", "")):
        await deliveries.claim_lead("google_ads", lead)
        if status:
            await deliveries.mark_lead("google_ads", lead, status, "77" if status == "created" else None)
    listed = [(one.kind, one.lead, one.facts, one.status) for one in await deliveries.unconfirmed()]
    assert listed == [
        ("message", "lead", "c", "unconfirmed"),
        ("message", "lead", "d", "claimed"),
        ("lead", "3", "", "unconfirmed"),
        ("lead", "4", "", "claimed"),
    ]


async def test_a_lead_is_created_once(deliveries: CrmWrites) -> None:
    """Of twenty claims at once one wins, and the id that the CRM gave is kept for what follows."""
    claims = await asyncio.gather(*(deliveries.claim_lead("google_ads", "1") for _ in range(20)))
    assert claims.count(True) == 1
    assert await deliveries.find_lead("google_ads", "1") == CrmLead(None, "claimed")
    await deliveries.mark_lead("google_ads", "1", "created", "c2s-9")
    await deliveries.release_lead("google_ads", "1")
    assert await deliveries.find_lead("google_ads", "1") == CrmLead("c2s-9", "created")
    assert await deliveries.find_lead("c2s", "1") is None


async def test_a_creation_that_was_not_carried_out_may_be_claimed_again(deliveries: CrmWrites) -> None:
    """A released claim of a lead leaves nothing."""
    assert await deliveries.claim_lead("google_ads", "1")
    await deliveries.release_lead("google_ads", "1")
    assert await deliveries.find_lead("google_ads", "1") is None
    assert await deliveries.claim_lead("google_ads", "1")


async def test_without_a_database_nothing_is_claimed(pool: asyncpg.Pool, deliveries: CrmWrites) -> None:
    """No claim, no write to the CRM: the caller is told that the database is away."""
    pool.terminate()
    with pytest.raises(DatabaseUnavailableError):
        await deliveries.claim("lead", "facts", EVENT)
    with pytest.raises(DatabaseUnavailableError):
        await deliveries.claim_lead("google_ads", "1")
