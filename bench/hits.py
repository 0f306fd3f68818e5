"""Tier-1 hits, from the webhook in the topic to the acknowledged event, compared with three peers.

The peers are an aiokafka loop, Quix Streams and stock Faust. All sides alternate on the same broker with the same
input: one process on one core, the broker on another. The topic is full before a side starts. Our table is full too
(its changelog is written beforehand); a peer's state fills with the first webhook of each contact. The rest is
measured by the broker's clock: events a second between the first and the last one. The events of all sides are
compared with each other.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median

import psutil
from aiokafka.structs import ConsumerRecord

from bench.broker import Item, empty_topics, fill, until_events
from bench.leads import crowd, entries, known, records, repeats
from bench.result import Options, Row, at_least
from bench.sides import (
    OTHER_TREE,
    OURS,
    PLAIN,
    QUIX,
    STOCK,
    Side,
    other_tree,
    people_file,
    running,
    saying,
    stage,
    workplace,
)
from producers.records import Record
from stream import topics
from stream.domain.errors import StopError
from stream.kafka.clients import partition_of
from stream.local.stack import Stack

GOALS = (">= 1.0x an aiokafka loop",)
COMMAND = "python -m bench hits"
PARTITIONS = 4
WEBHOOKS = 100_000  # measured
PEOPLE = 10_000  # with three aliases each they fill most of a table
OTHER = other_tree(*OURS.arguments)
SIDES = (OURS, PLAIN, OTHER) if OTHER_TREE else (OURS, PLAIN, QUIX, STOCK)
SAMPLE = 500  # events of each side that are held against ours
CHUNK = 20_000  # webhooks that are made and written at a time
MOST_KEPT = 200_000  # webhooks kept from round to round, 5 KB each; where there are more, they are made anew


async def run(options: Options) -> list[Row]:
    """Measure all sides in alternating rounds."""
    return await in_turns(SIDES, options, COMMAND, {OURS: 1.0})


async def in_turns(sides: Sequence[Side], options: Options, command: str, goals: dict[Side, float]) -> list[Row]:
    """Run A B C, A B C ...: each side once a round. ``goals``: the minimum ratio to the aiokafka loop."""
    with workplace() as folder:
        async with stage({"TOPIC_PARTITIONS": str(PARTITIONS)}) as stack:
            people, webhooks = max(100, int(PEOPLE * options.scale)), int(WEBHOOKS * options.scale)
            play = Play(stack, folder, options, people=people, webhooks=webhooks)
            for number in range(options.rounds):
                for side in sides:
                    await play.round(side, number + 1)
    return play.rows(command, goals)


class Heard:
    """What is kept of a side's events: their time stamps and identities, and the content of a sample."""

    def __init__(self, sampled: set[bytes]) -> None:
        self._sampled = sampled
        self.stamps: list[int] = []
        self.identities: set[bytes] = set()
        self.said: dict[bytes, object] = {}

    def add(self, event: ConsumerRecord) -> None:
        """Keep one event's facts."""
        identity = dict(event.headers)["ce_id"]
        self.stamps.append(event.timestamp)
        self.identities.add(identity)
        if identity in self._sampled:
            self.said[identity] = (event.partition, event.key, saying(event.value, tuple(event.headers)))


class Play:
    """The input, and the results."""

    def __init__(self, stack: Stack, folder: Path, options: Options, *, people: int, webhooks: int) -> None:
        self._stack = stack
        self._folder = folder
        self._settings = stack.settings()
        self._first = people
        count = people + webhooks
        self._count = count
        self._everyone = crowd(people, options.seed)
        self._seed = options.seed
        self._received_at = datetime.now(UTC)
        self._kept = list(self._made()) if count <= MOST_KEPT else None
        everybody = known(self._everyone)
        self._people = people_file(everybody, folder)
        self._entries = [(partition, key, value, []) for partition, key, value in entries(everybody, PARTITIONS)]
        looked_at = [one for chunk in self._kept or [next(self._made())] for one in chunk]
        self._sampled = {one.identity.encode() for one in looked_at[:: max(1, len(looked_at) // SAMPLE)]}
        self._said: tuple[Side, dict[bytes, object]] | None = None
        self._rates: dict[Side, list[float]] = {}
        self._costs: dict[Side, list[float]] = {}
        size = sum(len(record.value) for record in looked_at) / len(looked_at)
        self._input = f"{webhooks:,} webhooks ({size:.0f} bytes in the topic) of {people:,} people"

    def _made(self) -> Iterator[list[Record]]:
        """The webhooks in order, the same each time."""
        payloads = repeats(self._everyone, self._count, self._seed)
        while chunk := records(islice(payloads, CHUNK), self._received_at):
            yield chunk

    async def round(self, side: Side, number: int) -> None:
        """Let one side process all webhooks once."""
        await empty_topics(self._settings)
        for turn, chunk in enumerate(self._kept or self._made()):
            print(f"  filling the topic: {turn * CHUNK:,} of {self._count:,}", file=sys.stderr, end="\r")
            await fill(self._settings, topics.WEBHOOKS.name, _items(chunk, keyed=side.keyed))
        if side.arguments == OURS.arguments or side is OTHER:
            await fill(self._settings, topics.CHANGELOG.name, self._entries)

        with running(side, self._stack, self._people, self._folder) as child:
            process = psutil.Process(child.pid)
            looks: list[tuple[int, float]] = []  # events there, seconds of processor time used

            def say(there: int) -> None:
                print(f"  {side.name}: {there:,} of {self._count:,}", file=sys.stderr, end="\r")
                used = process.cpu_times()
                looks.append((there, used.user + used.system))

            heard = Heard(self._sampled)
            try:
                async for event in until_events(self._settings, self._count, say, lambda: child.is_running):
                    heard.add(event)
            except StopError as error:
                raise StopError(f"{side.name}: {error}\n{child.tail()}") from None
        self._compare(side, heard)
        rate = _rate(heard.stamps, self._first)
        cost = _cost(looks, self._first)
        self._rates.setdefault(side, []).append(rate)
        self._costs.setdefault(side, []).append(cost)
        print(f"round {number}: {side.name:<24} {rate:10,.0f}/s {cost:8.1f} us of the core each", file=sys.stderr)

    def _compare(self, side: Side, heard: Heard) -> None:
        """Check that each webhook has one event, and that all sides wrote the same."""
        if len(heard.stamps) != self._count or len(heard.identities) != self._count:
            found = f"{len(heard.stamps)} events, {len(heard.identities)} different"
            raise StopError(f"{side.name}: {found}, of {self._count} webhooks")
        first, said = self._said = self._said or (side, heard.said)
        for identity, one in heard.said.items():
            if side is not first and one != said[identity]:
                raise StopError(f"{side.name} says something else:\n{one}\nthan {first.name}:\n{said[identity]}")

    def measured(self, side: Side) -> tuple[list[float], list[float]]:
        """Events a second, and microseconds of the core for an event, of each round."""
        return self._rates[side], self._costs[side]

    def rows(self, command: str, goals: dict[Side, float]) -> list[Row]:
        """The table."""
        loop = self._rates[PLAIN]
        rows = []
        for side, rates in self._rates.items():
            note = f"{_spread(rates)}; {self._input}; {side.promises}"
            rows.append(Row(f"hits: {side.name}", median(rates), "events/s", "", None, command, note))
            costs = self._costs[side]
            rows.append(
                Row(f"hits: {side.name}, its processor", median(costs), "us/event", "", None, command, _spread(costs))
            )
            # Of the same round: what else the machine does then concerns both.
            ratios = [mine / theirs for mine, theirs in zip(rates, loop, strict=True)]
            goal = at_least(goals[side], median(ratios)) if side in goals else ("", None)
            if side is not PLAIN:
                name = f"hits: {side.name} / aiokafka loop"
                rows.append(Row(name, median(ratios), "x", *goal, command, _spread(ratios)))
        return rows


def _items(records: list[Record], *, keyed: bool) -> list[Item]:
    if keyed:
        return [(partition_of(one.key or b"", PARTITIONS), one.key, one.value, one.headers) for one in records]
    return [(number % PARTITIONS, None, one.value, one.headers) for number, one in enumerate(records)]


def _rate(stamps: list[int], first: int) -> float:
    """Events a second after the ``first`` ones, by the broker's clock."""
    stamps = sorted(stamps)[first:]
    return (len(stamps) - 1) * 1_000 / (stamps[-1] - stamps[0])


def _cost(looks: list[tuple[int, float]], first: int) -> float:
    """Microseconds of processor time for an event after the ``first`` ones; comparable on a busy machine."""
    begin = next((look for look in looks if look[0] >= first), looks[0])
    there, used = looks[-1]
    return (used - begin[1]) * 1e6 / (there - begin[0]) if there > begin[0] else float("nan")


def _spread(values: list[float]) -> str:
    shown = [f"{value:,.0f}" if value >= 100 else f"{value:.2f}" for value in (min(values), max(values))]
    return f"{shown[0]}..{shown[1]} in {len(values)} rounds"
