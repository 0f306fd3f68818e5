"""The miss path: look-ups of unknown contacts while Diretrix and the Work API take as long as in production.

By Little's law a worker with S slots can't complete more than S / L look-ups a second if one takes L seconds on
average. The benchmark measures how near it comes while every slot has work: from the end of the second use of all
slots to the end of the last but one. L is the time for which the simulated partners slept. So all other time in a
slot (reading, the ledger, storing, answering, waiting for the guard or a connection) counts as loss.

The partners take a seeded time within the observed ranges. In a second measurement all calls take equally long: then
all slots become free at the same moment, and the work after a call comes in bursts. ``workers`` does the same with 1,
2 and 4 workers.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from statistics import median

import aiohttp
from aiokafka.structs import ConsumerRecord

from bench.broker import Item, empty_topics, fill, until_events
from bench.leads import crowd, records, repeats
from bench.result import Options, Row, at_least
from bench.sides import stage
from producers.records import Record
from stream import topics
from stream.domain.errors import StopError
from stream.domain.events import decode_event
from stream.kafka.clients import partition_of
from stream.local.kafka import free_port
from stream.local.people import Someone
from stream.local.processes import Child
from stream.local.simulators import LATENCY_SECONDS, population_body
from stream.local.stack import Stack

GOALS = ("throughput >= 0.95 of slots / latency",)
COMMAND = "python -m bench misses"
PARTITIONS = 8
SLOTS = 128  # the default
ALIKE = {"diretrix": 1.25, "work": 3.5}  # seconds a call: the middle of what is observed
FIRST_SEEN = 0.98  # least share of the look-ups that Diretrix answers
WAVES = 8  # how often every slot is used
RUN_UP, RUN_OUT = 2, 1  # of them, before and after what is measured


async def run(options: Options) -> list[Row]:
    """Look everybody up once a round, with both kinds of partner, alternating."""
    count = SLOTS * waves(WAVES, options.scale)
    kinds: tuple[tuple[str, dict[str, float], float | None], ...] = (
        ("miss path: share of slots / latency", {}, 0.95),
        ("the same, all calls equally long", ALIKE, None),
    )
    shares: dict[str, list[float]] = {name: [] for name, _, _ in kinds}
    async with ready(SLOTS, 1) as trial:
        for number in range(options.rounds):
            for turn, (name, alike, _) in enumerate(kinds):
                measured = await trial.round(count, options.seed + 10 * number + turn, 1, alike)
                shares[name].append(measured.rate * measured.latency / SLOTS)
                print(f"round {number + 1}: {name}: {measured}, {shares[name][-1]:.3f}", file=sys.stderr)
    rows = []
    for name, alike, goal in kinds:
        took = " + ".join(f"{low:g}..{high:g}" for low, high in (LATENCY_SECONDS["diretrix"], LATENCY_SECONDS["work"]))
        took = " + ".join(map(str, alike.values())) or took
        found = shares[name]
        note = f"{min(found):.3f}..{max(found):.3f} in {len(found)} rounds; {SLOTS} slots, {took} s a look-up, {count}"
        verdict = at_least(goal, median(found)) if goal is not None else ("", None)
        rows.append(Row(name, median(found), "x", *verdict, COMMAND, note))
    return rows


def waves(most: int, scale: float) -> int:
    """How often every slot is used; at least one of them is measured."""
    return max(RUN_UP + RUN_OUT + 1, round(most * scale))


@dataclass(frozen=True, slots=True)
class Measured:
    """Look-ups a second while every slot had work, and the mean seconds that the partners took for one."""

    rate: float
    latency: float

    def __str__(self) -> str:
        return f"{self.rate:.1f} look-ups/s at {self.latency:.2f} s"


class Trial:
    """Servers and partners; the workers are started and stopped in each round."""

    def __init__(self, stack: Stack, slots: int) -> None:
        self._stack = stack
        self._slots = slots

    async def round(self, count: int, seed: int, workers: int, alike: dict[str, float]) -> Measured:
        """Look up ``count`` new contacts. ``alike``: seconds of every call, instead of the usual range."""
        settings = self._stack.settings()
        await empty_topics(settings)
        people = _spread_evenly(count, seed)
        await self._prepare(people, alike)
        made = records(repeats(people, count, seed))
        with self._working(workers) as children:
            await fill(settings, topics.WEBHOOKS.name, _items(made))
            there = until_events(settings, count, lambda _: None, lambda: all(one.is_running for one in children))
            events = [event async for event in there]
        _check(events, count)
        stamps = sorted(event.timestamp for event in events)
        at_once = self._slots * workers
        begin, end = RUN_UP * at_once - 1, count - RUN_OUT * at_once - 1
        rate = (end - begin) * 1000 / (stamps[end] - stamps[begin])
        return Measured(rate, await self._latency())

    @contextmanager
    def _working(self, count: int) -> Iterator[list[Child]]:
        with ExitStack() as ends:
            children = []
            for number in range(count):
                port = free_port()
                environment = {**self._stack.environment(), "STREAM_WEB_PORT": str(port), "WORKERS": str(count)}
                child = Child(f"worker-{number}", ["stream", "worker"], environment, self._stack.folder)
                child.start()
                ends.callback(child.stop)
                child.wait_for(f"http://127.0.0.1:{port}/readyz")
                children.append(child)
            yield children

    async def _prepare(self, people: Sequence[Someone], alike: dict[str, float]) -> None:
        faults = {name: {"latency": seconds} for name, seconds in alike.items()}
        async with aiohttp.ClientSession(self._stack.simulators_url) as session:
            for path, body in (("reset", {}), ("people", population_body(people)), ("faults", faults)):
                data = {"data": body} if isinstance(body, bytes) else {"json": body}
                async with session.put(f"/_control/{path}", **data) as response:
                    response.raise_for_status()

    async def _latency(self) -> float:
        """Mean seconds that both partners together took for a look-up."""
        url = f"{self._stack.simulators_url}/_control/counts"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            told = await response.json()
        return sum(seconds / told["counts"][partner] for partner, seconds in told["seconds"].items())


@asynccontextmanager
async def ready(slots: int, most_workers: int, scale: float = 1.0) -> AsyncIterator[Trial]:
    """Start servers, and partners with ``scale``; every other limit is above what the slots need."""
    most = str(slots * most_workers)
    extra = {
        "TOPIC_PARTITIONS": str(PARTITIONS),
        "WORKER_INSTANCE_ID": "",
        "LOOKUP_SLOTS": str(slots),
        "DIRETRIX_MAX_CONCURRENCY": most,
        "WORK_API_MAX_CONCURRENCY": most,
    }
    async with stage(extra, scale) as stack:
        stack.start_simulators()
        yield Trial(stack, slots)


def _spread_evenly(count: int, seed: int) -> list[Someone]:
    """People whose contacts are spread evenly over the partitions, so that all workers finish together."""
    lanes: dict[int, list[Someone]] = {number: [] for number in range(PARTITIONS)}
    share = count // PARTITIONS
    for someone in crowd(count * 2, seed):
        lane = lanes[partition_of(f"+55{someone.phone}".encode(), PARTITIONS)]
        if len(lane) < share:
            lane.append(someone)
    people = [someone for together in zip(*lanes.values(), strict=True) for someone in together]
    if len(people) != count:
        raise StopError(f"{count} contacts can't be spread over {PARTITIONS} partitions")
    return people


def _items(made: list[Record]) -> list[Item]:
    return [(partition_of(one.key or b"", PARTITIONS), one.key, one.value, one.headers) for one in made]


def _check(events: list[ConsumerRecord], count: int) -> None:
    """Check that all were looked up and found: a parked webhook would end sooner.

    A webhook that is read again, because partitions moved during its look-up, is answered by PostgreSQL.
    """
    tiers = Counter(decode_event(event.value).tier for event in events)
    if len(events) != count or not tiers.keys() <= {"diretrix", "postgres"} or tiers["diretrix"] < FIRST_SEEN * count:
        raise StopError(f"{len(events)} events for {count} new contacts, answered by {tiers}")
