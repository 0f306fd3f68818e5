"""How the cost of a webhook grows with the number of replayed webhooks, with the known contacts, and beyond the table.

Only our worker runs, as in ``hits``: a full topic, one core, events a second and microseconds of that core for an
event. Beyond the capacity the table removes its oldest unused entries, and PostgreSQL answers for them. A million
webhooks are replayed once, whatever ``--rounds`` says, and are never all in memory.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import replace
from statistics import median

from bench.hits import PARTITIONS, Play
from bench.leads import crowd
from bench.result import Options, Row
from bench.sides import OURS, stage, workplace
from stream.domain.errors import StopError
from stream.local.legacy import insert_legacy
from stream.local.stack import Stack

GOALS = ("flat a webhook up to the capacity; beyond it say where it bends",)
COMMAND = "python -m bench growth"
WEBHOOKS = (10_000, 100_000, 1_000_000)
FEW, PEOPLE = 1_000, (1_000, 4_000, 16_000)  # 16,000 people have the 50,000 entries of a full table
REPLAYED = 100_000  # webhooks of each number of people
CAPACITY = 3_000  # entries, when more people than it holds come: a small one, so that filling it takes no time
BEYOND = (800, 1_200, 2_000, 4_000)  # people; three entries each
BEYOND_REPLAYED = 20_000
ONCE = 500_000  # webhooks: more are replayed in one round
ON_DISK = 5_000  # bytes in the broker's files, of a webhook and its event


async def run(options: Options) -> list[Row]:
    """Measure each size once a round; ``--scale`` shortens the replay."""
    rows = []
    async with stage({"TOPIC_PARTITIONS": str(PARTITIONS)}) as stack:
        for count in WEBHOOKS:
            rows += await _measured(stack, options, f"{count:,} webhooks of {FEW:,} contacts", FEW, count)
        for people in PEOPLE:
            rows += await _measured(stack, options, f"{people:,} contacts, {REPLAYED:,} webhooks", people, REPLAYED)
    async with stage({"TOPIC_PARTITIONS": str(PARTITIONS), "CACHE_CAPACITY": str(CAPACITY)}) as stack:
        await insert_legacy(stack.database_url, crowd(max(BEYOND), options.seed), [])
        for people in BEYOND:
            what = f"{people * 3 / CAPACITY:.1f}x the table's capacity, {BEYOND_REPLAYED:,} webhooks"
            rows += await _measured(stack, options, what, people, BEYOND_REPLAYED)
    return rows


async def _measured(stack: Stack, options: Options, what: str, people: int, webhooks: int) -> list[Row]:
    webhooks = int(webhooks * options.scale)
    if webhooks > ONCE:
        options = replace(options, rounds=1)
    _must_fit(people + webhooks)
    print(f"{what} ...", file=sys.stderr)
    with workplace() as folder:
        play = Play(stack, folder, options, people=people, webhooks=webhooks)
        for number in range(options.rounds):
            await play.round(OURS, number + 1)
        rates, costs = play.measured(OURS)
    spread = f"{min(costs):.1f}..{max(costs):.1f} in {len(costs)} rounds; {median(rates):,.0f} events/s"
    return [Row(f"growth: {what}", median(costs), "us/event", "", None, COMMAND, spread)]


def _must_fit(webhooks: int) -> None:
    """Raise StopError if the broker's files would fill the disk; half of the free space is left."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if webhooks * ON_DISK * 2 > free:
        raise StopError(f"{webhooks:,} webhooks need {webhooks * ON_DISK / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
