"""The table of writes to the CRM: each write is claimed once, and those that may have been carried out are listed."""

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
def writes(pool: asyncpg.Pool) -> CrmWrites:
    return CrmWrites(pool)


async def test_facts_are_claimed_once_for_a_lead(writes: CrmWrites) -> None:
    """Of twenty concurrent claims one succeeds; other facts and other leads have their own claims."""
    claims = await asyncio.gather(*(writes.claim("lead", "facts", str(uuid4())) for _ in range(20)))
    assert claims.count(True) == 1
    assert await writes.claim("lead", "other facts", EVENT)
    assert await writes.claim("other lead", "facts", EVENT)


async def test_a_message_that_was_not_sent_may_be_claimed_again(writes: CrmWrites) -> None:
    """A released claim can be made again; a confirmed write can't be released."""
    assert await writes.claim("lead", "facts", EVENT)
    await writes.release("lead", "facts")
    assert not await writes.has_result("lead", "facts", MINUTE)
    assert await writes.claim("lead", "facts", EVENT)
    await writes.mark("lead", "facts", "confirmed")
    await writes.release("lead", "facts")
    assert await writes.has_result("lead", "facts", MINUTE)
    assert not await writes.claim("lead", "facts", EVENT)


@pytest.mark.parametrize(
    ("status", "reclaim_after", "wins"),
    [
        ("refused", None, 1),
        ("unconfirmed", None, 0),
        ("unconfirmed", timedelta(minutes=1), 1),
        ("claimed", timedelta(minutes=1), 0),
        ("confirmed", timedelta(0), 0),
    ],
)
async def test_one_process_reclaims_a_write(
    writes: CrmWrites, status: str, reclaim_after: timedelta | None, wins: int
) -> None:
    """One of twenty processes reclaims a refused or, on request, unconfirmed write; calls in progress stay claimed."""
    await writes.claim("lead", "facts", EVENT)
    await writes.mark("lead", "facts", status)
    await writes.claim_lead("google_ads", "1")
    await writes.mark_lead("google_ads", "1", "created" if status == "confirmed" else status)
    reclaimed = await asyncio.gather(*(writes.reclaim("lead", "facts", EVENT, reclaim_after) for _ in range(20)))
    reclaimed_leads = await asyncio.gather(*(writes.reclaim_lead("google_ads", "1", reclaim_after) for _ in range(20)))
    assert reclaimed.count(True) == reclaimed_leads.count(True) == wins


async def test_writes_that_may_have_been_carried_out_are_listed(writes: CrmWrites) -> None:
    """Claims of a dead process and unconfirmed writes are listed, oldest first; confirmed and refused ones are not."""
    for facts, status in (("a", "confirmed"), ("b", "refused"), ("c", "unconfirmed"), ("d", "")):
        await writes.claim("lead", facts, EVENT)
        if status:
            await writes.mark("lead", facts, status, "why")
    for lead, status in (("1", "created"), ("2", "refused"), ("3", "unconfirmed"), ("4", "")):
        await writes.claim_lead("google_ads", lead)
        if status:
            await writes.mark_lead("google_ads", lead, status, "77" if status == "created" else None)
    listed = [(one.kind, one.lead, one.facts, one.status) for one in await writes.unconfirmed()]
    assert listed == [
        ("message", "lead", "c", "unconfirmed"),
        ("message", "lead", "d", "claimed"),
        ("lead", "3", "", "unconfirmed"),
        ("lead", "4", "", "claimed"),
    ]


async def test_a_lead_is_created_once(writes: CrmWrites) -> None:
    """Of twenty concurrent claims one succeeds, and the id from the CRM is stored for later messages."""
    claims = await asyncio.gather(*(writes.claim_lead("google_ads", "1") for _ in range(20)))
    assert claims.count(True) == 1
    assert await writes.find_lead("google_ads", "1") == CrmLead(None, "claimed")
    await writes.mark_lead("google_ads", "1", "created", "c2s-9")
    await writes.release_lead("google_ads", "1")
    assert await writes.find_lead("google_ads", "1") == CrmLead("c2s-9", "created")
    assert await writes.find_lead("c2s", "1") is None


async def test_a_creation_that_was_not_carried_out_may_be_claimed_again(writes: CrmWrites) -> None:
    """A released claim of a lead leaves no row."""
    assert await writes.claim_lead("google_ads", "1")
    await writes.release_lead("google_ads", "1")
    assert await writes.find_lead("google_ads", "1") is None
    assert await writes.claim_lead("google_ads", "1")


async def test_a_claim_fails_without_a_database(pool: asyncpg.Pool, writes: CrmWrites) -> None:
    """A claim without a database raises DatabaseUnavailableError, so no call is made."""
    pool.terminate()
    with pytest.raises(DatabaseUnavailableError):
        await writes.claim("lead", "facts", EVENT)
    with pytest.raises(DatabaseUnavailableError):
        await writes.claim_lead("google_ads", "1")
