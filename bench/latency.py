"""The latency of a repeat, from POST to event at 200 a second, also while 1,000 unknown contacts wait for a partner.

The whole system runs as a user would run it: producers, worker, simulated partners. The table knows everybody who
comes back. The loop is open: a webhook's latency counts from when it was due, so a system that stops is charged for
it. A busy round begins when the partner has its first calls, and the next round when all unknown contacts were
answered. A call takes 1.5 to 2.5 s, by a seeded chance. In another kind of round it takes exactly 2 s, so that all
concurrent calls are answered at the same moment, again and again.

A round's p99 depends on its 15 or 30 slowest webhooks, which one pause of the broker can delay. So a percentile is
taken over all rounds of a kind. A ratio compares a round with the calm rounds before and after it, because other load
on the machine affects these alike; the median of the ratios is reported. The spread beside each figure shows how
reliable it is.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp
import orjson

from bench.broker import end_of, fill, until_events
from bench.leads import crowd, entries, known, payload, repeats
from bench.receiver import ROUTE, load
from bench.result import Options, Row, at_most
from bench.sides import stage, workplace
from stream import topics
from stream.domain.errors import StopError
from stream.local.people import Someone
from stream.local.stack import C2S_TOKEN, Stack

GOALS = ("p50 <= 10 ms, p99 <= 50 ms", "p99 with 1,000 unknown contacts waiting <= 2x")
COMMAND = "python -m bench latency"
RATE = 200.0  # webhooks a second
SECONDS = 15.0  # of a round
PEOPLE = 5_000
UNKNOWN = 1_000
PARTNER, SPREAD = 2.0, 0.5  # seconds a call, at most that much more or less


async def run(options: Options) -> list[Row]:
    """Measure calm and busy rounds, alternating."""
    everybody = crowd(PEOPLE + 2 * UNKNOWN * options.rounds, options.seed)
    known_people, strangers = everybody[:PEOPLE], everybody[PEOPLE:]
    with workplace() as folder:
        async with stage({"WORKER_INSTANCE_ID": ""}) as stack:
            settings = stack.settings()
            changelog = entries(known(known_people), settings.topic_partitions)
            await fill(settings, topics.CHANGELOG.name, [(*entry, []) for entry in changelog])
            stack.start_simulators()
            stack.start_ours("producers", "worker")
            play = Play(stack, folder, options, known_people, strangers)
            await play.warm_up()
            for number in range(options.rounds):
                await play.calm(number)
                await play.busy(number)
                await play.calm(number)
                await play.sharp(number)
            await play.calm(options.rounds)
    return play.rows()


class Play:
    """The rounds."""

    def __init__(
        self, stack: Stack, folder: Path, options: Options, people: list[Someone], strangers: list[Someone]
    ) -> None:
        self._stack = stack
        self._folder = folder
        self._count = max(100, int(RATE * SECONDS * options.scale))
        webhooks = self._count * (4 * options.rounds + 2)
        self._payloads = list(repeats(people, len(people) + webhooks, options.seed))
        del self._payloads[: len(people)]
        self._strangers = strangers
        self._calm: list[dict[str, Any]] = []
        self._busy: list[dict[str, Any]] = []
        self._sharp: list[dict[str, Any]] = []

    async def warm_up(self) -> None:
        """Run everything that repeats do only once. The one-time work of look-ups is measured."""
        await self._probe()

    async def calm(self, number: int) -> None:
        """A round without other work."""
        self._calm.append(await self._probe())
        _tell(f"round {number + 1}: calm", self._calm[-1])

    async def busy(self, number: int) -> None:
        """A round while a thousand unknown contacts wait for the partner."""
        self._busy.append(await self._with_strangers(f"round {number + 1}: busy", 2 * number, SPREAD))

    async def sharp(self, number: int) -> None:
        """The same while all calls take equally long."""
        self._sharp.append(await self._with_strangers(f"round {number + 1}: all calls alike", 2 * number + 1, 0))

    async def _with_strangers(self, what: str, number: int, spread: float) -> dict[str, Any]:
        await _control(self._stack, "faults", {"diretrix": {"latency": PARTNER, "spread": spread}})
        settings = self._stack.settings()
        before = await end_of(settings, topics.ENRICHED.name)
        chance = random.Random(number)
        unknown = self._strangers[number * UNKNOWN : (number + 1) * UNKNOWN]
        body = [payload(one, 10_000_000 + number * UNKNOWN + n, chance) for n, one in enumerate(unknown)]
        await _post(self._stack, body)
        measured = await self._probe()
        left = before + self._count + UNKNOWN - await end_of(settings, topics.ENRICHED.name)
        if left <= 0:
            raise StopError("the unknown contacts did not wait long enough to be a load")
        _tell(f"{what}, {left} unknown contacts left at its end", measured)
        alive = self._stack.children["worker"]
        there = until_events(settings, before + self._count + UNKNOWN, lambda _: None, lambda: alive.is_running)
        assert [event async for event in there], "all have been answered"
        return measured

    async def _probe(self) -> dict[str, Any]:
        bodies = self._folder / "bodies.jsonl"
        bodies.write_bytes(b"\n".join(self._payloads[: self._count]))
        del self._payloads[: self._count]
        measured = await load(self._stack, bodies, "bench.probe", rate=RATE)
        if measured["events"] != self._count:
            raise StopError(f"{measured['events']} of {self._count} events came")
        return measured

    def rows(self) -> list[Row]:
        """The table."""
        kinds = (("calm", self._calm, (10.0, 50.0)), ("busy", self._busy, None), ("all calls alike", self._sharp, None))
        rows = []
        for name, rounds, goals in kinds:
            for percent, goal in zip((50, 99), goals or (None, None), strict=True):
                value = percentile(rounds, percent)
                verdict = at_most(goal, value) if goal is not None else ("", None)
                what = f"repeat, POST to event, {name}: p{percent}"
                spread = _spread([one[f"event_p{percent}_ms"] for one in rounds])
                note = f"of all rounds together; {spread}; {RATE:.0f}/s, open loop, {self._count} a round"
                rows.append(Row(what, value, "ms", *verdict, COMMAND, note))
        for name, rounds, most in (("busy", self._busy, 2.0), ("all calls alike", self._sharp, None)):
            took = f"{PARTNER:g} s" if most is None else f"{PARTNER - SPREAD:g}..{PARTNER + SPREAD:g} s"
            first = 0 if rounds is self._busy else 1
            beside = [self._calm[2 * number + first : 2 * number + first + 2] for number in range(len(rounds))]
            ratios = [percentile([one], 99) / percentile(two, 99) for one, two in zip(rounds, beside, strict=True)]
            verdict = at_most(most, median(ratios)) if most is not None else ("", None)
            note = f"{_spread(ratios)}, each beside the calm ones around it; {UNKNOWN} unknown contacts, {took} a call"
            rows.append(Row(f"repeat, POST to event: p99 {name} / calm", median(ratios), "x", *verdict, COMMAND, note))
        return rows


def percentile(rounds: list[dict[str, Any]], percent: int) -> float:
    """The time in milliseconds within which ``percent`` of all webhooks of the rounds were answered."""
    together = [latency for one in rounds for latency in one["event_ms"]]
    return quantiles(together, n=100, method="inclusive")[percent - 1]


async def _post(stack: Stack, body: list[dict[str, Any]]) -> None:
    headers = {"X-Webhook-Token": C2S_TOKEN}
    async with (
        aiohttp.ClientSession() as session,
        session.post(stack.producers_url + ROUTE, data=orjson.dumps(body), headers=headers) as response,
    ):
        response.raise_for_status()


async def _control(stack: Stack, what: str, body: object) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.put(f"{stack.simulators_url}/_control/{what}", json=body) as response,
    ):
        response.raise_for_status()


def _tell(what: str, measured: dict[str, Any]) -> None:
    print(f"{what}: p50 {measured['event_p50_ms']:.1f} ms, p99 {measured['event_p99_ms']:.1f} ms", file=sys.stderr)


def _spread(values: list[float]) -> str:
    return f"{min(values):,.4g}..{max(values):,.4g} in {len(values)} rounds"
