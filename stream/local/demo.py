"""Plays a day of leads against the whole system and compares the results with the expected ones.

The figures come from the ledger, the topics and the simulators' own counts. The demo fails if these disagree.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer

from stream import topics
from stream.domain.errors import StopError
from stream.domain.events import EnrichedEvent, Outcome, decode_event, event_id
from stream.domain.sources import SOURCES
from stream.kafka.clients import open_consumer
from stream.local.day import Day, Webhook
from stream.local.legacy import insert_legacy
from stream.local.senders import request
from stream.local.simulators import population_body
from stream.local.stack import Stack
from stream.reporting.report import Report, report
from stream.store.ledger import BILLING_ZONE
from stream.store.pool import open_pool

EVENTS_TIMEOUT_SECONDS = 180.0  # for the events of a wave
REPORT_TIMEOUT_SECONDS = 120.0  # for the CRM sync and the journal to catch up


@dataclass(slots=True)
class Played:
    """When each webhook was posted, and the events that came, in order. The keys are event ids."""

    posted: dict[str, float] = field(default_factory=dict)
    events: dict[str, list[tuple[float, EnrichedEvent]]] = field(default_factory=dict)

    def answered(self, identity: str) -> EnrichedEvent | None:
        """The first event of a webhook that is not ``pending``."""
        ends = (event for _, event in self.events.get(identity, []) if event.outcome != Outcome.PENDING)
        return next(ends, None)

    def milliseconds_to_event(self, identity: str) -> float:
        """The time from the POST to the first event."""
        return (self.events[identity][0][0] - self.posted[identity]) * 1000


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of a run, and its faults."""

    figures: dict[str, Any]
    faults: list[str]
    bill: Report


def identity(webhook: Webhook) -> str:
    """The event id that a webhook must have."""
    return event_id(SOURCES[webhook.source].read(webhook.body))


async def prepare(stack: Stack, day: Day) -> None:
    """Put the known people of the day into the simulated partners and the database."""
    await insert_legacy(stack.database_url, day.in_postgres, day.cpf_in_postgres)
    async with aiohttp.ClientSession() as session:
        url = f"{stack.simulators_url}/_control/people"
        async with session.put(url, data=population_body(day.partners)) as response:
            response.raise_for_status()


async def play(stack: Stack, day: Day, *, spacing: float) -> Played:
    """POST the webhooks, ``spacing`` seconds apart, and collect the events. A wave waits for the previous one."""
    played = Played()
    group = f"demo-{time.time_ns()}"
    async with (
        aiohttp.ClientSession() as session,
        open_consumer(stack.settings(), topics.ENRICHED.name, group) as consumer,
    ):
        reader = asyncio.create_task(_read(consumer, played))
        try:
            begin = 0
            for size in day.waves:
                wave = day.webhooks[begin : begin + size]
                begin += size
                await _post_wave(stack, session, wave, played, spacing)
                await _all_answered(wave, played)
                stack.say(f"{begin} of {len(day.webhooks)} webhooks answered")
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
    return played


async def _post_wave(
    stack: Stack, session: aiohttp.ClientSession, wave: Sequence[Webhook], played: Played, spacing: float
) -> None:
    for webhook in wave:
        path, body, headers = request(webhook.source, webhook.body)
        played.posted.setdefault(identity(webhook), time.perf_counter())
        async with session.post(stack.producers_url + path, json=body, headers=headers) as response:
            if response.status != 200:  # noqa: PLR2004
                raise StopError(f"the producers answered {response.status}: {await response.text()}")
        await asyncio.sleep(spacing)


async def _read(consumer: AIOKafkaConsumer, played: Played) -> None:
    async for record in consumer:
        event = decode_event(record.value)
        played.events.setdefault(event.event_id, []).append((time.perf_counter(), event))


async def _all_answered(wave: Sequence[Webhook], played: Played) -> None:
    until = time.monotonic() + EVENTS_TIMEOUT_SECONDS
    while missing := [webhook.why for webhook in wave if played.answered(identity(webhook)) is None]:
        if time.monotonic() > until:
            raise StopError(
                f"no event after {EVENTS_TIMEOUT_SECONDS:.0f} s for {len(missing)} webhooks: {', '.join(missing)}"
            )
        await asyncio.sleep(0.02)


async def judge(stack: Stack, day: Day, played: Played) -> Result:
    """Wait for the CRM sync and the journal, then compare all counts with each other."""
    expected_messages = sum(one.told and not _is_created(one) for one in day.webhooks)
    expected_leads = sum(one.told and _is_created(one) for one in day.webhooks)
    unique = [one for one in day.webhooks if not one.duplicate]
    async with aiohttp.ClientSession() as session, open_pool(stack.settings()) as pool:
        today = datetime.now(BILLING_ZONE).date()
        # The day may change between the first webhook and this line: then both days count.
        since = (datetime.now(UTC) - timedelta(hours=1)).astimezone(BILLING_ZONE).date()
        settings = stack.settings()
        crm: dict[str, Any] = {}
        until = time.monotonic() + REPORT_TIMEOUT_SECONDS
        while True:
            crm = await _get(session, f"{stack.simulators_url}/_control/crm")
            bill = await report(pool, since, today, settings.diretrix_price, settings.price_currency)
            is_told = len(crm["messages"]) >= expected_messages and len(crm["leads"]) >= expected_leads
            complete = bill.savings.webhooks == len(unique) and is_told
            if complete or time.monotonic() > until:
                break
            await asyncio.sleep(0.1)
        counts = (await _get(session, f"{stack.simulators_url}/_control/counts"))["counts"]
    faults = [*_wrong_answers(unique, played), *_disagreements(unique, played, crm, bill, counts, expected_messages)]
    return Result(_figures(unique, played, crm, bill, counts), faults, bill)


def _is_created(webhook: Webhook) -> bool:
    return SOURCES[webhook.source].is_created


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url) as response:
        body: dict[str, Any] = await response.json()
        return body


def _wrong_answers(webhooks: Sequence[Webhook], played: Played) -> list[str]:
    faults = []
    for webhook in webhooks:
        event = played.answered(identity(webhook))
        got = (event.outcome, event.tier, event.calls.diretrix) if event is not None else "nothing"
        if got != (webhook.outcome, webhook.tier, webhook.calls):
            faults.append(
                f"{webhook.why}: wanted {webhook.outcome} from {webhook.tier}, {webhook.calls} paid; got {got}"
            )
    return faults


def _disagreements(  # noqa: PLR0913 - all counts are compared with each other
    webhooks: Sequence[Webhook],
    played: Played,
    crm: dict[str, Any],
    bill: Report,
    counts: dict[str, int],
    expected_messages: int,
) -> list[str]:
    total = bill.savings
    paying = sum(webhook.calls > 0 for webhook in webhooks)
    by_events = sum(event.calls.diretrix for one in webhooks if (event := played.answered(identity(one))) is not None)
    booked = total.paid_calls + total.free_calls + total.unsure_calls
    pairs = {
        "webhooks in the journal and sent": (total.webhooks, len(webhooks)),
        "paying webhooks in the journal and expected": (total.paying, paying),
        "paid calls in the ledger and in the events": (total.paid_calls + total.unsure_calls, by_events),
        "paid calls in the ledger and billed by Diretrix": (total.paid_calls, counts.get("diretrix_paid", 0)),
        "calls in the ledger and answered by Diretrix": (booked, counts.get("diretrix", 0)),
        "messages in the CRM and expected": (len(crm["messages"]), expected_messages),
        "leads created and expected": (len(crm["leads"]), sum(_is_created(one) and one.told for one in webhooks)),
        "messages without data and 0": (_empty(crm), 0),
    }
    return [f"{what}: {left} and {right}" for what, (left, right) in pairs.items() if left != right]


def _empty(crm: dict[str, Any]) -> int:
    """The number of messages without data, which the replaced service sent for repeats that it answered cheaply."""
    return sum("CPF: " not in message["body"] for message in crm["messages"])


def _figures(
    webhooks: Sequence[Webhook], played: Played, crm: dict[str, Any], bill: Report, counts: dict[str, int]
) -> dict[str, Any]:
    tiers = Counter(str(event.tier) for one in webhooks if (event := played.answered(identity(one))) is not None)
    first = [played.milliseconds_to_event(identity(one)) for one in webhooks if one.first]
    repeats = [played.milliseconds_to_event(identity(one)) for one in webhooks if not one.first]
    total = bill.savings
    return {
        "webhooks": len(webhooks),
        "people": bill.people,
        "answered_by": dict(tiers),
        "paying_webhooks": total.paying,
        "paying_in_100": round(total.paying_in_100, 1),
        "diretrix_calls": counts.get("diretrix", 0),
        "work_calls": counts.get("work", 0),
        "spent": str(total.spent),
        "saved": str(total.saved),
        "currency": bill.currency,
        "first_seen_ms": _percentiles(first),
        "repeat_ms": _percentiles(repeats),
        "crm_messages": len(crm["messages"]),
        "crm_leads_created": len(crm["leads"]),
        "crm_messages_without_data": _empty(crm),
    }


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p99, in milliseconds."""
    if len(values) < 2:  # noqa: PLR2004 - quantiles need two
        return {"p50": round(values[0], 1) if values else 0.0, "p99": round(values[0], 1) if values else 0.0}
    cuts = quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}
