"""The receiver: webhooks over HTTP until the broker has them, compared with two peers.

The peers are bare aiohttp and aiohttp + ``send_and_wait``. Each side is one process on one core; the load generator
and the broker have the others. There are 64 keep-alive connections in a closed loop, with single webhooks and with
bodies of 100. A side warms up with a tenth of the load before it is measured, and the broker with a round that is not
counted. Every other round the order of the sides is reversed, so that a broker that still warms up disadvantages no
side.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import psutil

from bench import cores
from bench.broker import empty_topics, end_of
from bench.leads import crowd, repeats
from bench.result import Options, Row, at_least, at_most
from bench.sides import OTHER_TREE, Side, other_tree, running, stage, workplace
from stream import topics
from stream.domain.errors import StopError
from stream.local.processes import Child, answers
from stream.local.stack import C2S_TOKEN, Stack

FLOOR = 0.65  # of the rate of aiohttp + publish: fairness and public interfaces come first (ADR 13)
GOALS = (f">= {FLOOR}x aiohttp + publish", "p99 <= 20 ms")
COMMAND = "python -m bench receiver"
CONNECTIONS = 64
WEBHOOKS = 30_000  # a round, single
BATCH = 100
BATCHED = 60_000  # a round, in bodies of 100
PEOPLE = 10_000
OURS = Side(
    "producers", ("producers",), "secret, lead read, key, acks=all, idempotent, duplicates, dead letters: defaults"
)
PUBLISH = Side(
    "aiohttp + publish", ("bench.peers.receiver_publish",), "acks=all, idempotent, key = id; nothing else; uvloop"
)
BARE = Side("bare aiohttp", ("bench.peers.receiver_bare",), "nothing: answers; uvloop")
OTHER = other_tree("producers")
SIDES = (OURS, PUBLISH, *((OTHER,) if OTHER_TREE else ()), BARE)
FIGURES = (("rate", "webhooks/s"), ("p50_ms", "ms"), ("p99_ms", "ms"), ("cost", "us of the core"))
ROUTE = "/api/v1/webhooks/c2s"


async def run(options: Options) -> list[Row]:
    """Measure all sides in alternating rounds, with one webhook and with a hundred in a body."""
    with workplace() as folder:
        async with stage() as stack:
            rows = []
            for size, count in ((1, WEBHOOKS), (BATCH, BATCHED)):
                play = Play(stack, folder, options, size, int(count * options.scale))
                await play.round(PUBLISH, 0)
                for number in range(options.rounds):
                    for side in SIDES if number % 2 == 0 else SIDES[::-1]:
                        await play.round(side, number + 1)
                rows += play.rows()
    return rows


class Play:
    """Bodies of ``size`` webhooks, and the results."""

    def __init__(self, stack: Stack, folder: Path, options: Options, size: int, count: int) -> None:
        self._stack = stack
        self._folder = folder
        self._size = size
        payloads = list(repeats(crowd(min(PEOPLE, count), options.seed), count + count // 10, options.seed))
        self._warm = _bodies(folder / f"warm-{size}.jsonl", payloads[count:], size)
        self._bodies = _bodies(folder / f"bodies-{size}.jsonl", payloads[:count], size)
        self._count = count
        self._measured: dict[Side, list[dict[str, Any]]] = {}

    async def round(self, side: Side, number: int) -> None:
        """Send all bodies to one side; round 0 is not counted."""
        await empty_topics(self._stack.settings())
        with running(side, self._stack, self._folder, self._folder) as child:
            if side is OURS:
                await asyncio.to_thread(child.wait_for, f"{self._stack.producers_internal_url}/readyz")
            elif side is OTHER:
                await _is_ready(self._stack, child)
            else:
                await _listens(self._stack.producers_url)
            await load(self._stack, self._warm)
            before = used(child.pid)
            measured = await load(self._stack, self._bodies)
            measured["cost"] = (used(child.pid) - before) * 1e6 / self._count
        if set(measured["statuses"]) != {"200"}:
            raise StopError(f"{side.name} answered {measured['statuses']}")
        there = await end_of(self._stack.settings(), topics.WEBHOOKS.name)
        if side is not BARE and there < self._count:
            raise StopError(f"{side.name} answered 200 to {self._count} webhooks and the broker has {there}")
        measured["rate"] = self._count / measured["seconds"]
        if number:
            self._measured.setdefault(side, []).append(measured)
        print(
            f"round {number}, {self._size} a body: {side.name:<18} {measured['rate']:8,.0f} webhooks/s,"
            f" p50 {measured['p50_ms']:.1f} ms, p99 {measured['p99_ms']:.1f} ms,"
            f" {measured['cost']:.0f} us of the core each",
            file=sys.stderr,
        )

    def rows(self) -> list[Row]:
        """The table."""
        what = f"receiver, {self._size} a body"
        rows = []
        for side, rounds in self._measured.items():
            for key, unit in FIGURES:
                values = [one[key] for one in rounds]
                is_goal = side is OURS and key == "p99_ms" and self._size == 1
                goal = at_most(20, median(values)) if is_goal else ("", None)
                note = f"{_spread(values)}{'; ' + side.promises if key == 'rate' else ''}"
                rows.append(
                    Row(f"{what}: {side.name}, {key.split('_')[0]}", median(values), unit, *goal, COMMAND, note)
                )
        for side in (PUBLISH, OTHER):
            ratios = [
                mine["rate"] / theirs["rate"]
                for mine, theirs in zip(self._measured[OURS], self._measured.get(side, []), strict=False)
            ]
            if ratios:
                is_goal = side is PUBLISH and self._size == 1
                goal = at_least(FLOOR, median(ratios)) if is_goal else ("", None)
                rows.append(Row(f"{what}: ours / {side.name}", median(ratios), "x", *goal, COMMAND, _spread(ratios)))
        return rows


def _bodies(path: Path, payloads: list[bytes], size: int) -> Path:
    path.write_bytes(b"\n".join(_bodied(payloads, size)))
    return path


def _bodied(payloads: list[bytes], size: int) -> Iterator[bytes]:
    if size == 1:
        yield from payloads
        return
    left = iter(payloads)
    while body := list(itertools.islice(left, size)):
        yield b"[" + b",".join(body) + b"]"


async def _is_ready(stack: Stack, child: Child) -> None:
    """Wait until another tree's receiver is ready: the first releases serve their pages on the public port."""
    pages = (f"{stack.producers_internal_url}/readyz", f"{stack.producers_url}/readyz")
    async with asyncio.timeout(30):
        while not any([await asyncio.to_thread(answers, page) for page in pages]):
            if not child.is_running:
                raise StopError(f"{child.name} ended: {child.tail()}")
            await asyncio.sleep(0.05)


async def _listens(url: str) -> None:
    """Wait until a peer accepts connections."""
    host, port = url.removeprefix("http://").split(":")
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return


async def load(stack: Stack, bodies: Path, module: str = "bench.load", **options: object) -> dict[str, Any]:
    """Run the load generator, or the probe, in a process of its own; returns its report."""
    arguments = {"url": stack.producers_url + ROUTE, "bodies": bodies, "header": f"X-Webhook-Token: {C2S_TOKEN}"}
    arguments |= {"connections": CONNECTIONS, **options}
    flags = [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *flags, stdout=asyncio.subprocess.PIPE, env={**os.environ, **stack.environment()}
    )
    cores.pin(process.pid, cores.REST)
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise StopError(f"{module} ended with {process.returncode}")
    report: dict[str, Any] = orjson.loads(output)
    return report


def used(pid: int) -> float:
    """The processor time of a process, in seconds."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _spread(values: list[float]) -> str:
    return f"{min(values):,.4g}..{max(values):,.4g} in {len(values)} rounds"
