"""The cost of Python's garbage collector for a hit, by its settings, with 50,000 entries in the table.

Each setting runs in a fresh process: webhooks are read, found in the table and encoded as events. The objects that a
worker holds until the broker acknowledges are held here too, and freed whenever there are ``HELD`` webhooks.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import median

import click

from bench.entries import ENTRIES
from bench.known import fill, with_family
from bench.result import Options, Row
from stream.domain.choice import PersonFound, next_step
from stream.domain.events import Answer, Outcome, Tier, encode_event
from stream.domain.identity import contact_of
from stream.domain.leads import Source, decode_webhook, encode_webhook
from stream.kafka.clients import partition_of
from stream.local.people import population
from stream.lookup.table_cache import Lifetimes, TableCache
from stream.settings import load
from stream.worker import wiring as bootstrap

GOALS = ("which settings of the collector cost a hit least",)
COMMAND = "python -m bench collector"
SETTINGS: dict[str, tuple[bool, tuple[int, int, int] | None]] = {  # freeze, thresholds
    "as Python sets it": (False, None),
    "frozen": (True, None),
    "thresholds 50,000, 50, 100": (False, (50_000, 50, 100)),
    "frozen, thresholds 50,000, 50, 100": (True, (50_000, 50, 100)),
    "off": (False, (0, 0, 0)),
}
HELD = 8_192  # webhooks, as many as are read ahead
HITS = 100_000


async def run(options: Options) -> list[Row]:
    """Measure all settings in alternating rounds; returns medians."""
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in SETTINGS}
    for _ in range(options.rounds):
        for name in SETTINGS:
            command = [sys.executable, "-m", "bench.collector", name, str(max(HELD * 2, int(HITS * options.scale)))]
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            out, _ = await process.communicate()
            measured[name].append(tuple(json.loads(out)))
    rows = []
    for name, figures in measured.items():
        costs, pauses = zip(*figures, strict=True)
        note = f"CPU time; the longest pause {median(pauses):.0f} ms; {min(costs):.1f} to {max(costs):.1f}"
        rows.append(Row(f"collector {name}: a hit", median(costs), "us", "", None, COMMAND, note))
    return rows


def _table() -> tuple[TableCache, list[bytes]]:
    people = with_family(population(ENTRIES // 4, 1), 1)
    table: dict[bytes, bytes] = {}
    known = sum(1 for _ in fill(table, people, ENTRIES)) // 8
    cache = TableCache(table, lambda *_: None, Lifetimes(86_400, 3_600, ENTRIES), lambda: 0.5)
    cache.recovered()
    now = datetime.now(UTC)
    payloads = (
        {
            "id": f"lead-{number}",
            "hook_action": "on_create_lead",
            "attributes": {
                "updated_at": now.isoformat(),
                "customer": {"name": one.name, "phone": one.phone, "email": one.email},
                "log": [{"created_at": now.isoformat(), "description": "lead received"}] * 3,
            },
        }
        for number, one in enumerate(people[:known])
    )
    return cache, [encode_webhook(Source.C2S, now, payload, None) for payload in payloads]


def _hits(cache: TableCache, values: list[bytes], count: int) -> float:
    """Microseconds of CPU time for a hit."""
    partitions = load({}).topic_partitions
    now = bootstrap.now()
    held: list[object] = []
    begin = time.process_time()
    for number in range(count):
        webhook = decode_webhook(values[number % len(values)])
        contact = contact_of(webhook.lead, frozenset())
        known = cache.facts(partition_of(contact.key.encode(), partitions), contact, now.timestamp())
        step = next_step(contact, webhook.lead.name, known)
        if not isinstance(step, PersonFound):
            raise TypeError("no hit")
        answer = Answer(Outcome.ENRICHED, Tier.CACHE, step.match, step.person.person, step.person.facts)
        held.append((webhook, contact, answer, encode_event(webhook, contact, answer, now)))
        if len(held) == HELD:
            held.clear()
    return (time.process_time() - begin) / count * 1e6


@contextmanager
def _pauses() -> Iterator[list[float]]:
    """Milliseconds of each collection."""
    pauses: list[float] = []
    begin = 0.0

    def watch(phase: str, _: object) -> None:
        nonlocal begin
        if phase == "start":
            begin = time.perf_counter()
        else:
            pauses.append((time.perf_counter() - begin) * 1000)

    gc.callbacks.append(watch)
    yield pauses
    gc.callbacks.remove(watch)


@click.command()
@click.argument("name", type=click.Choice(list(SETTINGS)))
@click.argument("count", type=int)
def main(name: str, count: int) -> None:
    """Print microseconds a hit and the longest pause in milliseconds, as JSON."""
    cache, values = _table()
    freeze, thresholds = SETTINGS[name]
    gc.collect()
    if freeze:
        gc.freeze()
    if thresholds is not None:
        gc.set_threshold(*thresholds)
    _hits(cache, values, HELD)
    with _pauses() as pauses:
        cost = _hits(cache, values, count)
    print(json.dumps([cost, max(pauses, default=0.0)]))


if __name__ == "__main__":
    main()
