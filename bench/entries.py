"""The memory of 50,000 entries, the memory of a worker at steady load, and the recovery time.

The memory of the entries is the growth of a fresh process that fills the project's own table. The worker is started as
a user would, on a real broker whose changelog has the entries. It has recovered when the table has answered a webhook
that waited for it. Measured after SIGTERM and SIGKILL, with static membership.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.known import fill, with_family
from bench.result import Options, Row, at_most
from stream import topics
from stream.domain.events import Tier, decode_event
from stream.domain.leads import Source, encode_webhook
from stream.kafka.clients import open_consumer, open_producer, partition_of
from stream.local.people import Someone, population
from stream.local.processes import Child
from stream.local.stack import Stack

GOALS = ("50,000 entries <= 50 MB", "worker's RSS at steady load <= 200 MB", "recovery to the first event <= 3 s")
COMMAND = "python -m bench entries"
ENTRIES = 50_000
STEADY = 500  # webhooks a second
STEADY_FOR = 60.0  # seconds
MB = 1_000_000
LIMIT = 60.0  # seconds until an event must be there


async def run(options: Options) -> list[Row]:
    """Memory first, then a whole system."""
    entries = max(1_000, int(ENTRIES * options.scale))
    rows = [await _memory(entries, options)]
    people = with_family(population(entries // 4, options.seed), options.seed)
    with Stack(lambda text: print(text, file=sys.stderr)) as stack:
        await asyncio.to_thread(stack.start_servers)
        known = await _fill_changelog(stack, people, entries)
        rows += await _worker(stack, known, entries, options)
    return rows


async def _memory(entries: int, options: Options) -> Row:
    """The median of fresh processes."""
    command = [sys.executable, "-m", "bench.known", "--entries", str(entries), "--seed", str(options.seed)]
    grown, values = [], 0
    for _ in range(options.rounds):
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        out, _ = await process.communicate()
        growth, values, _ = map(int, out.split())
        grown.append(growth / MB)
    note = f"growth of a fresh process's RSS, median of {options.rounds}; values {values / entries:.0f} bytes each"
    value = median(grown)
    return Row(f"memory of {entries:,} entries", value, "MB", *at_most(50, value), COMMAND, note)


async def _fill_changelog(stack: Stack, people: list[Someone], entries: int) -> list[Someone]:
    """Write the entries to the changelog as a worker does; returns the people whose phone it has."""
    table: dict[bytes, bytes] = {}
    async with open_producer(stack.settings(), linger_ms=5) as producer:
        for partition, key, value in fill(table, people, entries - 10):
            await producer.send(topics.CHANGELOG.name, value, key, partition)
    return [one for one in people if any(f"{part}/p:+55{one.phone}".encode() in table for part in range(8))][:-1]


class Witness:
    """Sends webhooks and receives their events."""

    def __init__(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer, partitions: int) -> None:
        self._producer, self._consumer, self._partitions = producer, consumer, partitions
        self._number = 0

    async def send(self, one: Someone) -> str:
        """Publish a webhook of a known person; returns its lead id once the broker has acknowledged it."""
        future = await self.send_soon(one)
        await future
        return f"lead-{self._number}"

    async def send_soon(self, one: Someone) -> asyncio.Future[object]:
        """Publish a webhook; the future is done when the broker has acknowledged it."""
        self._number += 1
        customer = {"name": one.name, "phone": f"({one.phone[:2]}) {one.phone[2:]}", "email": one.email}
        now = datetime.now(UTC)
        payload = {
            "id": f"lead-{self._number}",
            "hook_action": "on_create_lead",
            "attributes": {"updated_at": now.isoformat(), "customer": customer},
        }
        key = f"+55{one.phone}".encode()
        value = encode_webhook(Source.C2S, now, payload, None)
        future: asyncio.Future[object] = await self._producer.send(
            topics.WEBHOOKS.name, value, key, partition_of(key, self._partitions)
        )
        return future

    async def answered(self, lead: str) -> tuple[float, str | None]:
        """Wait for the event of a lead; returns when it was seen and which tier answered."""
        async with asyncio.timeout(LIMIT):
            async for record in self._consumer:
                event = decode_event(record.value)
                if event.lead.id == lead:
                    return time.monotonic(), event.tier
        raise TimeoutError

    async def drain(self) -> int:
        """Read the events so far; returns their number."""
        return sum(len(batch) for batch in (await self._consumer.getmany(timeout_ms=0)).values())


async def _worker(stack: Stack, known: list[Someone], entries: int, options: Options) -> list[Row]:
    settings = stack.settings()
    worker = Child("worker", ["stream", "worker"], stack.environment(), stack.folder)
    stack.children["worker"] = worker
    async with (
        open_producer(settings) as producer,
        open_consumer(settings, topics.ENRICHED.name, f"bench-{time.time_ns()}") as consumer,
    ):
        witness = Witness(producer, consumer, settings.topic_partitions)
        ready = f"{stack.worker_url}/readyz"
        await _back(witness, worker, known[0])  # joins the group, whose first member it is
        await asyncio.to_thread(worker.wait_for, ready)
        rows = [
            await _recovery(name, end, witness, worker, known, ready, entries, options.rounds)
            for name, end in (("SIGTERM", worker.stop), ("SIGKILL", worker.kill))
        ]
        rows.append(await _steady(witness, worker, known, entries, STEADY_FOR * min(1.0, options.scale * 5)))
    return rows


async def _back(witness: Witness, worker: Child, one: Someone) -> tuple[float, float]:
    """Seconds from the start of the process to the event of a webhook that waited for it, and its CPU seconds."""
    lead = await witness.send(one)
    begin = time.monotonic()
    worker.start()
    seen, tier = await witness.answered(lead)
    cpu = psutil.Process(worker.pid).cpu_times()
    if tier != Tier.CACHE:
        raise RuntimeError(f"answered by {tier}: the table was not recovered")
    return seen - begin, cpu.user + cpu.system


async def _recovery(  # noqa: PLR0913 - one measurement
    name: str,
    end: Callable[[], object],
    witness: Witness,
    worker: Child,
    known: list[Someone],
    ready: str,
    entries: int,
    rounds: int,
) -> Row:
    took, cpu = [], []
    for number in range(rounds):
        await asyncio.to_thread(end)
        seconds, busy = await _back(witness, worker, known[number % len(known)])
        took.append(seconds)
        cpu.append(busy)
        await asyncio.to_thread(worker.wait_for, ready)
    value = median(took)
    note = (
        f"start of the process to the event, {median(cpu):.1f} s of it CPU; static membership; median of {rounds},"
        f" {min(took):.2f} to {max(took):.2f}"
    )
    return Row(f"recovery of {entries:,} entries after {name}", value, "s", *at_most(3, value), COMMAND, note)


async def _steady(witness: Witness, worker: Child, known: list[Someone], entries: int, seconds: float) -> Row:
    """Memory while known people write: the maximum in the second half."""
    process = psutil.Process(worker.pid)
    begin, sent, seen, most = time.monotonic(), 0, await witness.drain(), 0
    seen = 0
    while (now := time.monotonic()) < begin + seconds:
        while sent < (now - begin) * STEADY:
            await witness.send_soon(known[sent % len(known)])
            sent += 1
        seen += await witness.drain()
        if now > begin + seconds / 2:
            most = max(most, process.memory_info().rss)
        await asyncio.sleep(0.02)
    note = f"{STEADY} webhooks/s for {seconds:.0f} s, {entries:,} entries; {seen:,} events of {sent:,} seen by then"
    value = most / MB
    return Row("worker's RSS at steady load", value, "MB", *at_most(200, value), COMMAND, note)
