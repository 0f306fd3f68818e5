"""Events of a later version, read by this version's CRM sync and journal: no dead letter, no lost row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import aiohttp
import asyncpg
import msgspec
import orjson
import pytest
from aiokafka import ConsumerRecord

from stream import topics
from stream.crm.client import C2S
from stream.crm.sync import CrmSync
from stream.crm.writes import CrmWrites
from stream.domain.events import decode_event
from stream.domain.person import Candidate, person_from_candidate
from stream.local.simulators import Simulators, serving
from stream.reporting.journal import Journal
from stream.settings import load
from tests.support.enriched import event

MARIA = person_from_candidate(Candidate("MARIA LIMA", "52998224725"), datetime(2026, 1, 31, tzinfo=UTC))


class NoLetters:
    """Stands in for the producer: a dead letter fails the test."""

    async def send_and_wait(self, *_: object, **__: object) -> None:
        """Fail."""
        pytest.fail("a dead letter was written")


LATER: list[dict[str, Any]] = [
    {**event("match", MARIA), "match": "later"},
    {**event("outcome", MARIA), "outcome": "later"},
    {**event("tier", MARIA), "tier": "later", "match": "name"},
    event("nobody", None, outcome="later"),
    event("ambiguous", None, outcome="ambiguous"),
    event("elsewhere", MARIA, source="later"),
    event("google", None, outcome="later", source="google_ads"),
]


def record(value: dict[str, Any], offset: int) -> Any:
    raw = orjson.dumps(value)
    return ConsumerRecord(topics.ENRICHED.name, 0, offset, 1_769_860_800_000, 0, b"k", raw, None, 0, len(raw), ())


async def test_the_crm_is_told_nothing_unknown_as_if_it_were_sure(pool: asyncpg.Pool) -> None:
    """Whom this version can't judge is told with a warning; without a person nothing is said to a lead that exists."""
    c2s = Simulators(scale=0.0)
    async with serving(c2s) as base, aiohttp.ClientSession() as session:
        settings = load({"C2S_BASE_URL": base})
        sync = CrmSync(C2S(session, settings), CrmWrites(pool), NoLetters(), settings)  # type: ignore[arg-type]
        for offset, value in enumerate(LATER):
            await sync.handle(record(value, offset))
    warned = {one["lead"]: "ATENÇÃO" in one["body"] for one in c2s.messages}
    assert warned == {"match": True, "outcome": True, "tier": False, "ambiguous": False}
    assert [one["description"] for one in c2s.leads] == ["Lead recebido."]


async def test_a_lead_created_under_an_unknown_outcome_is_told_what_follows(pool: asyncpg.Pool) -> None:
    """That nothing was found, asked for, is told after a creation that did not say it."""
    c2s = Simulators(scale=0.0)
    async with serving(c2s) as base, aiohttp.ClientSession() as session:
        settings = load({"C2S_BASE_URL": base, "CRM_NOTE_NOT_FOUND": "true"})
        sync = CrmSync(C2S(session, settings), CrmWrites(pool), NoLetters(), settings)  # type: ignore[arg-type]
        for offset, outcome in enumerate(("later", "not_found", "not_found")):
            await sync.handle(record(event("google", None, outcome=outcome, source="google_ads"), offset))
    assert len(c2s.leads) == 1
    assert ["nenhum dado encontrado" in one["body"] for one in c2s.messages] == [True]


async def test_the_journal_keeps_a_row_of_each(pool: asyncpg.Pool) -> None:
    """No value of a later version costs the books a webhook, also in ``public.webhook_events``."""
    await Journal(pool, webhook_events=True).write([decode_event(orjson.dumps(value)) for value in LATER])
    rows = await pool.fetch("SELECT lead_id, source, outcome, tier FROM stream.answered")
    assert {tuple(row.values()) for row in rows} == {
        (value["lead"]["id"], value["lead"]["source"], value["outcome"], value["tier"]) for value in LATER
    }
    assert await pool.fetchval("SELECT count(*) FROM public.webhook_events WHERE status = 'completed'") == len(LATER)


async def test_an_instant_without_a_day_costs_the_journal_one_row(pool: asyncpg.Pool) -> None:
    """The first second of year 1 has no day in Sao Paulo: it is left out, and the others are written."""
    events = [decode_event(orjson.dumps(value)) for value in (event("odd", MARIA), event("good", MARIA))]
    odd = msgspec.structs.replace(events[0], received_at=datetime(1, 1, 1, tzinfo=UTC))
    await Journal(pool, webhook_events=False).write([odd, events[1]])
    assert [row["lead_id"] for row in await pool.fetch("SELECT lead_id FROM stream.answered")] == ["good"]
