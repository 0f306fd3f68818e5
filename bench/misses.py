"""The miss path: contacts that nobody knows yet, Diretrix and the Work API at fixed latencies.

By Little's law a worker with S slots can't end more than S / L look-ups a second when one takes L seconds. What is
measured is how near it comes: the share of S / L over all look-ups, from the start of the first to the last event.
``workers`` does the same with 1, 2 and 4 workers.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from statistics import median

import aiohttp
from aiokafka.structs import ConsumerRecord

from bench.broker import Item, empty_topics, fill, until_events
from bench.leads import crowd, records, repeats
from bench.result import Options, Row, at_least
from bench.sides import stage
from producers.items import Record
from stream import topics
from stream.domain.errors import StopError
from stream.domain.events import decode_event
from stream.kafka import partition_of
from stream.local.kafka import free_port
from stream.local.people import Someone
from stream.local.processes import Child
from stream.local.simulators import population_body
from stream.local.stack import Stack

GOALS = ("throughput >= 0.95 of slots / latency",)
COMMAND = "python -m bench misses"
PARTITIONS = 8
SLOTS = 128  # the default
DIRETRIX, WORK = 1.25, 3.5  # seconds a call: the middle of what is observed
FIRST_SEEN = 0.98  # least share of the look-ups that Diretrix answers
WAVES = 6  # how often every slot is used


async def run(options: Options) -> list[Row]:
    """Look everybody up once a round."""
    waves = max(2, round(WAVES * options.scale))
    async with ready(SLOTS, 1, DIRETRIX, WORK) as trial:
        shares = []
        for number in range(options.rounds):
            took = await trial.round(SLOTS * waves, options.seed + number, 1)
            shares.append(SLOTS * waves / took * (DIRETRIX + WORK) / SLOTS)
            print(f"round {number + 1}: {SLOTS * waves / took:.1f} look-ups/s, {shares[-1]:.3f}", file=sys.stderr)
    note = (
        f"{min(shares):.3f}..{max(shares):.3f} in {len(shares)} rounds; {SLOTS} slots, {DIRETRIX} + {WORK} s a look-up,"
        f" {SLOTS * waves} look-ups"
    )
    return [
        Row("miss path: share of slots / latency", median(shares), "x", *at_least(0.95, median(shares)), COMMAND, note)
    ]


class Trial:
    """Servers and partners; workers come and go with each round."""

    def __init__(self, stack: Stack, latencies: dict[str, float]) -> None:
        self._stack = stack
        self._latencies = latencies

    async def round(self, count: int, seed: int, workers: int) -> float:
        """Seconds from the start of the first look-up to the last event, of ``count`` new contacts."""
        settings = self._stack.settings()
        await empty_topics(settings)
        people = _spread_evenly(count, seed)
        await self._prepare(people)
        made = records(repeats(people, count, seed))
        with self._working(workers) as children:
            await fill(settings, topics.WEBHOOKS.name, _items(made))
            there = until_events(settings, count, lambda _: None, lambda: all(one.is_running for one in children))
            events = [event async for event in there]
        _check(events, count)
        stamps = sorted(event.timestamp for event in events)
        return (stamps[-1] - stamps[0]) / 1000 + sum(self._latencies.values())

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

    async def _prepare(self, people: Sequence[Someone]) -> None:
        faults = {name: {"latency": seconds} for name, seconds in self._latencies.items()}
        async with aiohttp.ClientSession(self._stack.simulators_url) as session:
            for path, body in (("people", population_body(list(people))), ("faults", faults)):
                data = {"data": body} if isinstance(body, bytes) else {"json": body}
                async with session.put(f"/_control/{path}", **data) as response:
                    response.raise_for_status()


@asynccontextmanager
async def ready(slots: int, most_workers: int, diretrix: float, work: float) -> AsyncIterator[Trial]:
    """Servers, and partners at fixed latencies; every other limit lies above what the slots ask for."""
    most = str(slots * most_workers)
    extra = {
        "TOPIC_PARTITIONS": str(PARTITIONS),
        "WORKER_INSTANCE_ID": "",
        "LOOKUP_SLOTS": str(slots),
        "DIRETRIX_MAX_CONCURRENCY": most,
        "WORK_API_MAX_CONCURRENCY": most,
    }
    async with stage(extra) as stack:
        stack.start_simulators()
        yield Trial(stack, {"diretrix": diretrix, "work": work})


def _spread_evenly(count: int, seed: int) -> list[Someone]:
    """People whose contacts are as many on each partition: chance would leave one worker with the last of them."""
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
    """All must have been looked up and found: a parked webhook would end sooner.

    One that is read again, because partitions moved while it was looked up, is answered by PostgreSQL.
    """
    tiers = Counter(decode_event(event.value).tier for event in events)
    if len(events) != count or not tiers.keys() <= {"diretrix", "postgres"} or tiers["diretrix"] < FIRST_SEEN * count:
        raise StopError(f"{len(events)} events for {count} new contacts, answered by {tiers}")
