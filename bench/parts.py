"""The pure parts of a hit, each timed alone by pyperf: ``python -m bench.parts -o parts.json``.

The input differs from call to call (a thousand webhooks of a thousand people), so no part profits from a cache that
production would not have. If a part caches spellings, it is timed with and without the cached value.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr
from datetime import UTC, datetime
from pathlib import Path
from time import process_time
from typing import Any

import orjson

from bench.leads import crowd, entries, known, records, repeats
from producers.duplicates import Duplicates
from producers.records import RawWebhook, webhook_record
from stream import logs
from stream.domain import matching
from stream.domain.choice import next_step
from stream.domain.events import Answer, Outcome, encode_event, event_headers, event_id
from stream.domain.freshness import decode
from stream.domain.identity import Contact, Email, Phone, contact_of
from stream.domain.leads import decode_webhook
from stream.domain.sources.c2s import read_lead as lead_from_c2s
from stream.domain.sources.lead import Lead, Source
from stream.kafka.clients import partition_of
from stream.kafka.offset_tracker import Tracker
from stream.lookup.table_cache import Lifetimes, TableCache
from stream.settings import load

COUNT = 1_000
FETCHED = 500  # records of a fetch
TURN = 200  # webhooks that the agent answers in one turn of the loop
NOBODY: frozenset[str] = frozenset()


def over(function: Callable[[Any], object], inputs: Iterable[Any]) -> Callable[[int], float]:
    """A pyperf time function: one call for each input."""
    given = list(inputs)

    def timed(loops: int) -> float:
        calls = list(itertools.islice(itertools.cycle(given), loops))
        started = process_time()
        for one in calls:
            function(one)
        return process_time() - started

    return timed


def main() -> None:
    """Time everything."""
    import pyperf  # noqa: PLC0415 - an extra: who only makes the parts does without

    runner = pyperf.Runner(program_args=("-m", "bench.parts"))
    for name, timed in parts().items():
        runner.bench_time_func(name, timed)


def parts(count: int = COUNT) -> dict[str, Callable[[int], float]]:
    """The timed parts, by name, over ``count`` webhooks of as many people."""
    people = crowd(count, 1)
    payloads = list(repeats(people, count, 1))
    made = records(iter(payloads))
    now = datetime.now(UTC)
    webhooks = [decode_webhook(one.value) for one in made]
    leads = [one.lead for one in webhooks]
    typed = [lead_from_c2s(orjson.loads(raw)) for raw in payloads]
    contacts = [contact_of(lead, NOBODY) for lead in leads]
    table = {key: value for _, key, value in entries(known(people), 1)}
    cache = TableCache(table, lambda *_: None, Lifetimes(86_400, 3_600, 10**6), random.Random(1).random)
    recalled = [cache.facts(0, contact, now.timestamp()) for contact in contacts]
    answers = [_answered(cache, contact, lead, now.timestamp()) for contact, lead in zip(contacts, leads, strict=True)]
    return {
        "read the webhook, as the producers normalised it": over(decode_webhook, [one.value for one in made]),
        "read the webhook, its payload": over(decode_webhook, [_bare(one.value) for one in made]),
        "contact, remembered": over(lambda lead: contact_of(lead, NOBODY), leads),
        "phone, new spelling": over(Phone.parse, [lead.phone for lead in typed]),
        "e-mail, new spelling": over(Email.parse, [one.email for one in typed]),
        "partition, key remembered": over(lambda key: partition_of(key, 8), [one.key or b"" for one in made]),
        "entry, decoded": over(decode, table.values()),
        "the table's answer, entry and name remembered": over(
            lambda one: _answered(cache, one[0], one[1], now.timestamp()), zip(contacts, leads, strict=True)
        ),
        "the table's answer, from all that is known of a contact": over(
            lambda contact: cache.facts(0, contact, now.timestamp()), contacts
        ),
        "guarantee: the right person, from all that is known": over(
            lambda one: next_step(one[0], one[1].name, one[2]), zip(contacts, leads, recalled, strict=True)
        ),
        "two names, not remembered": over(
            _compare, [(lead.name, one.name) for lead, one in zip(leads, people, strict=True)]
        ),
        "guarantee: ids that a replay keeps": over(event_id, leads),
        "guarantee: CloudEvents headers": over(lambda lead: event_headers(lead.id, now), leads),
        "write the event": over(
            lambda one: encode_event(one[0], one[1], one[2], now, "identity"),
            zip(webhooks, contacts, answers, strict=True),
        ),
        "guarantee: nothing lost (commit tracker)": _tracked,
        "guarantee: a log line, masked": _logged(
            [(contact, lead.id) for contact, lead in zip(contacts, leads, strict=True)]
        ),
        "producers: a delivery remembered, as many as can be": _remembered,
        "producers: a webhook's record": over(
            lambda part: webhook_record(Source.C2S, part, now, NOBODY),
            [RawWebhook(raw, orjson.loads(raw)) for raw in payloads],
        ),
    }


def _answered(cache: TableCache, contact: Contact, lead: Lead, now: float) -> Answer:
    """Ask the table as the agent does."""
    entry = cache.primary_entry(0, contact, now)
    answer = None if entry is None else entry.answer(contact, lead.name)
    assert answer is not None
    return answer


def _bare(value: bytes) -> bytes:
    """A record as another system publishes it."""
    message = orjson.loads(value)
    del message["normalised"]
    return orjson.dumps(message)


def _compare(pair: tuple[str, str]) -> object:
    return matching.compare.__wrapped__(*pair)


def _tracked(loops: int) -> float:
    tracker = Tracker()
    started = process_time()
    for first in range(0, loops, FETCHED):
        offsets = range(first, min(first + FETCHED, loops))
        tracker.track(offsets)
        for offset in offsets:
            tracker.complete(offset)
    return process_time() - started


def _remembered(loops: int) -> float:
    most = load({}).producer_duplicate_window
    deliveries = Duplicates(most)
    for number in range(most):
        deliveries.acknowledged(f"{number:036d}")
    return over(deliveries.acknowledged, [f"{number:036d}" for number in range(most, most + loops)])(loops)


EVENT_ID = "5f0c8a8e-2f43-5d0b-9d0e-3a1f5a7c9b21"


def _logged(inputs: list[tuple[Contact, str]]) -> Callable[[int], float]:
    logs.configure(load({}), "bench")

    async def lines(loops: int) -> None:
        """Log lines for as many webhooks as the agent answers in one tick."""
        left = itertools.islice(itertools.cycle(inputs), loops)
        while turn := list(itertools.islice(left, TURN)):
            for contact, lead in turn:
                logs.webhook_line("Found existing enrichment", contact.masked, Outcome.ENRICHED, lead, EVENT_ID)
            await asyncio.sleep(0)

    def to_a_file(loops: int) -> float:
        with Path("/dev/null").open("w") as nowhere, redirect_stderr(nowhere):
            started = process_time()
            asyncio.run(lines(loops))
            return process_time() - started

    return to_a_file


if __name__ == "__main__":
    main()
