"""The worker runs without Faust: on a plain consumer it keeps the same promises, on a real broker."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from structlog.testing import capture_logs

from stream import topics
from stream.dead_letters.guard import DlqGuard
from stream.domain.dead_letter_limit import DlqLimit
from stream.domain.events import EnrichedEvent, Outcome, Tier, decode_event, event_id
from stream.domain.identity import contact_of
from stream.domain.leads import decode_webhook
from stream.faust_runtime.runtime import FaustRuntime
from stream.health.probe import Probe
from stream.health.watchdog import Allowance, Pulse, Watchdog
from stream.kafka.batch_producer import BatchProducer, RetryUntilShutdown
from stream.kafka.clients import open_producer, partition_of
from stream.local.people import Someone, population
from stream.lookup.table_cache import Lifetimes, TableCache, partition_of_key
from stream.settings import Settings
from stream.worker.agent import Enricher, Limits
from stream.worker.health import WorkerFacts
from stream.worker.lifecycle import Stop, Worker
from stream.worker.outcomes import Outcomes
from tests.conftest import PARTITIONS
from tests.support.agent_rig import PATIENCE
from tests.support.enriched import committed, everything, reading
from tests.support.fakes import c2s_webhook
from tests.support.gated_rig import Rig
from tests.support.plain_runtime import PlainRuntime
from tests.support.waiting import LIMIT, until, until_true

Runtime = PlainRuntime | FaustRuntime
PEOPLE = population(48, seed=61)
KNOWN, STRANGERS = PEOPLE[:24], PEOPLE[24:]
# All of a worker but what carries it, with an interpreter that has no Faust.
WITHOUT = """
import sys
sys.modules["faust"] = sys.modules["mode"] = None
import stream.worker.agent, stream.worker.retry_reader, stream.worker.health, stream.worker.lifecycle
import tests.support.plain_runtime
"""


def test_only_the_runtime_imports_faust() -> None:
    """No module that the agent needs imports Faust, not even in a function."""
    ended = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@dataclass
class Life:
    """One worker from its start to its end."""

    worker: Worker
    runtime: Runtime
    producer: BatchProducer
    stop: Stop
    running: asyncio.Task[int]

    async def leaves(self) -> int:
        """End in good order; the exit code."""
        self.stop.request()
        async with asyncio.timeout(LIMIT):
            return await self.running

    async def dies(self) -> None:
        """End at once: nothing is drained, delivered or committed."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)


async def _for_ever() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def living(
    settings: Settings, rig: Rig, kind: Callable[[Settings], Runtime] = PlainRuntime
) -> AsyncIterator[Life]:
    """A worker on a runtime with a real Kafka and fake providers."""
    async with open_producer(settings) as kafka_producer:
        producer = BatchProducer(kafka_producer, RetryUntilShutdown())
        await producer.load_metadata(
            topics.WEBHOOKS.name, topics.ENRICHED.name, *[topic.name for topic in topics.RETRIES]
        )
        runtime = kind(settings)

        def publish(partition: int, key: bytes, value: bytes | None) -> None:
            producer.enqueue(topics.CHANGELOG.name, key, value, [], partition=partition)

        cache = TableCache(runtime.table, publish, Lifetimes(86_400.0, 3_600.0, 1_000), lambda: 0.0)
        dlq_guard = DlqGuard(DlqLimit(100, 0.75, 100))
        outcomes = Outcomes(producer, rig.clock, PATIENCE, dlq_guard)
        limits = Limits(deadline=LIMIT, slots=64, queue=1_000, queue_limit=LIMIT, span=1_000)
        enricher = Enricher(cache, rig.worker(), outcomes, producer, limits, rig.clock, frozenset())
        runtime.add_agent(enricher.run)
        allowance = Allowance(LIMIT, LIMIT)
        facts = WorkerFacts(Probe("the broker"), Probe("the database"), allowance)
        facts.watch(runtime, enricher)
        retry: Any = SimpleNamespace(run=_for_ever)
        worker = Worker(
            runtime=runtime,
            enricher=enricher,
            cache=cache,
            producer=producer,
            retry=retry,
            watchdog=Watchdog(facts.gather, allowance, every=0.1),
            pulse=Pulse(LIMIT),
            probes=list,
            dlq_guard=dlq_guard,
            grace=LIMIT,
        )
        stop = Stop()
        running = asyncio.create_task(worker.run(stop))
        try:
            yield Life(worker, runtime, producer, stop, running)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await runtime.stop()
            await enricher.stop()
            await producer.close()


def webhook(lead: str, someone: Someone) -> tuple[bytes, bytes, str]:
    """Key and value of a webhook as the producers write it, and its event id."""
    value = c2s_webhook(lead, name=someone.name, phone=someone.phone)
    read = decode_webhook(value).lead
    return contact_of(read, frozenset()).record_key, value, event_id(read)


async def send(settings: Settings, prefix: str, people: Sequence[Someone]) -> dict[str, tuple[int, int]]:
    """Send one webhook for each, in order; returns partition and offset by event id."""
    there = {}
    async with open_producer(settings) as producer:
        for number, someone in enumerate(people):
            key, value, identity = webhook(f"{prefix}-{number}", someone)
            at = await producer.send_and_wait(topics.WEBHOOKS.name, value, key=key)
            assert at.partition == partition_of(key, PARTITIONS)
            there[identity] = (at.partition, at.offset)
    return there


async def events(settings: Settings) -> list[EnrichedEvent]:
    """All events so far."""
    records: list[ConsumerRecord] = await everything(settings, topics.ENRICHED.name)
    return [decode_event(record.value) for record in records]


async def until_answered(settings: Settings, wanted: dict[str, tuple[int, int]], times: int = 1) -> None:
    """Wait until each of these webhooks has so many events."""

    async def are_there() -> bool:
        counts = Counter(event.event_id for event in await events(settings))
        return all(counts[identity] >= times for identity in wanted)

    await until(are_there, f"{times} events of {len(wanted)} webhooks")


async def until_committed(settings: Settings, offsets: dict[int, int]) -> None:
    """Wait until the worker's group has committed these offsets."""

    async def stands() -> bool:
        return await committed(settings, topics.WORKER_GROUP, topics.WEBHOOKS.name) == offsets

    await until(stands, f"the group to stand at {offsets}")


async def ends(settings: Settings) -> dict[int, int]:
    """The end of each partition of ``webhooks``."""
    async with reading(settings, topics.WEBHOOKS.name) as consumer:
        found = await consumer.end_offsets([TopicPartition(topics.WEBHOOKS.name, n) for n in range(PARTITIONS)])
    return {at.partition: offset for at, offset in found.items()}


def first_of(there: dict[str, tuple[int, int]]) -> dict[int, int]:
    """The first offset of each partition."""
    first: dict[int, int] = {}
    for partition, offset in there.values():
        first[partition] = min(offset, first.get(partition, offset))
    return first


async def check_nothing_is_lost_or_paid_twice(settings: Settings, rig: Rig, sent: dict[str, tuple[int, int]]) -> None:
    """Each webhook was answered with its person, always the same, and each person was requested once."""
    said = await events(settings)
    assert {event.event_id for event in said} == sent.keys()
    assert {event.outcome for event in said} == {Outcome.ENRICHED}
    assert len({(event.event_id, event.revision) for event in said}) == len(sent)
    for topic in (*topics.RETRIES, topics.DEAD):
        assert await everything(settings, topic.name) == [], topic.name
    for provider in ("diretrix", "work"):
        assert rig.calls(provider) == len(PEOPLE)
        assert Counter(await rig.statuses(provider))["paid"] == len(PEOPLE)


@pytest.fixture
def rig() -> Rig:
    """Providers that know everybody."""
    rig = Rig()
    for someone in PEOPLE:
        rig.know(someone)
    return rig


async def test_a_worker_that_dies_loses_nothing_and_pays_nothing_twice(broker: Settings, rig: Rig) -> None:
    """Only the completed prefix is committed; after the restart the table is back and the rest is read again."""
    async with living(broker, rig) as first:
        sent = await send(broker, "first", KNOWN)
        await until_answered(broker, sent)
        rig.hold("diretrix")
        held = await send(broker, "held", STRANGERS)
        repeats = await send(broker, "again", KNOWN)
        await until_answered(broker, repeats)  # they lie behind the held ones, and are completed before them
        stands = first_of(held)
        assert len(stands) == PARTITIONS
        await first.runtime.commit()
        await until_committed(broker, stands)
        await until_true(lambda: not first.producer.backlog, "all to be delivered")
        table = dict(first.runtime.table)
        assert not first.running.done()
        await first.dies()
    assert rig.calls("diretrix") == len(KNOWN)
    assert {partition_of_key(key) for key in table} == set(range(PARTITIONS))

    async with living(broker, rig) as second:
        await until_answered(broker, repeats, times=2)
        assert second.runtime.table == table
        assert rig.calls("diretrix") == len(KNOWN)
        assert await committed(broker, topics.WORKER_GROUP, topics.WEBHOOKS.name) == stands
        rig.let_go()
        await until_answered(broker, held)
        assert await second.leaves() == 0
    await until_committed(broker, await ends(broker))
    tiers = {event.tier for event in await events(broker) if event.event_id in repeats}
    assert tiers == {Tier.CACHE}
    await check_nothing_is_lost_or_paid_twice(broker, rig, sent | held | repeats)


async def test_workers_that_come_and_go_hand_over_their_partitions_and_their_tables(broker: Settings, rig: Rig) -> None:
    """A worker that gets a partition has its part of the table, and nothing is requested twice meanwhile."""
    async with living(broker, rig) as stays:
        sent = await send(broker, "first", PEOPLE)
        await until_answered(broker, sent)
        table = dict(stays.runtime.table)
        async with living(broker, rig) as goes:
            both = (stays.runtime, goes.runtime)

            def is_shared() -> bool:
                return all(one.join_progress() is None and one.trackers.assigned == PARTITIONS // 2 for one in both)

            await until_true(is_shared, "two partitions each")
            mine, theirs = (set(map(partition_of_key, one.table)) for one in both)
            assert (mine & theirs, mine | theirs) == (set(), set(range(PARTITIONS)))
            assert stays.runtime.table | goes.runtime.table == table
            shared = await send(broker, "shared", PEOPLE)
            await until_answered(broker, shared)
            assert await goes.leaves() == 0

        def has_all() -> bool:
            return stays.runtime.join_progress() is None and stays.runtime.trackers.assigned == PARTITIONS

        await until_true(has_all, "all partitions to come back")
        assert stays.runtime.table == table
        after = await send(broker, "after", PEOPLE)
        await until_answered(broker, after)
        assert await stays.leaves() == 0
    await until_committed(broker, await ends(broker))
    tiers = {event.tier for event in await events(broker) if event.event_id in shared | after}
    assert tiers == {Tier.CACHE}
    await check_nothing_is_lost_or_paid_twice(broker, rig, sent | shared | after)


@pytest.mark.parametrize(
    ("before", "after"), [(FaustRuntime, PlainRuntime), (PlainRuntime, FaustRuntime)], ids=["exit", "way back"]
)
async def test_the_other_runtime_continues_where_the_first_stopped(
    broker: Settings, rig: Rig, before: type[Runtime], after: type[Runtime]
) -> None:
    """Offsets and changelog are the same, so a change of the runtime needs no migration and can be undone."""
    async with living(broker, rig, before) as first:
        sent = await send(broker, "first", PEOPLE)
        await until_answered(broker, sent)
        table = dict(first.runtime.table)
        assert await first.leaves() == 0
    await until_committed(broker, await ends(broker))
    repeats = await send(broker, "again", PEOPLE)
    async with living(broker, rig, after) as second:
        await until_answered(broker, repeats)
        assert second.runtime.table == table
        assert await second.leaves() == 0
    await until_committed(broker, await ends(broker))
    said = await events(broker)
    assert len(said) == len(sent | repeats)
    assert {event.tier for event in said if event.event_id in repeats} == {Tier.CACHE}
    await check_nothing_is_lost_or_paid_twice(broker, rig, sent | repeats)


async def test_a_worker_beside_one_of_the_other_runtime_is_refused(broker: Settings, rig: Rig) -> None:
    """While a member uses Faust's group protocol, a plain worker ends with the reason and the member goes on."""
    async with living(broker, rig, FaustRuntime) as first:
        sent = await send(broker, "first", PEOPLE)
        await until_answered(broker, sent)
        async with living(broker, rig) as second:
            with capture_logs() as lines:
                async with asyncio.timeout(LIMIT):
                    assert await second.running == 1
        (reason,) = [line["reason"] for line in lines if line["event"] == "leaving"]
        assert "InconsistentGroupProtocol" in reason
        repeats = await send(broker, "again", PEOPLE)
        await until_answered(broker, repeats)
        assert await first.leaves() == 0
    await check_nothing_is_lost_or_paid_twice(broker, rig, sent | repeats)
