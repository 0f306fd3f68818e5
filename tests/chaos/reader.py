"""Reads the evidence: topics from the last position on, commits, the ledger, the CRM's and the journal's records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from stream import topics
from stream.domain.errors import PoisonError
from stream.domain.events import event_id
from stream.domain.identity import contact_of
from stream.domain.leads import decode_webhook
from stream.kafka.clients import consumer_options
from stream.local.stack import Stack
from stream.settings import Settings
from stream.topics import Topic
from tests.chaos.evidence import Arrival, Call, DeadLetter, Emission, Evidence, Place
from tests.support.system import crm

LIMIT = 120.0  # seconds for one look
READ = [topic for topic in topics.ALL if topic is not topics.CHANGELOG]


class Reader:
    """Adds new records to ``evidence``."""

    def __init__(self, stack: Stack, evidence: Evidence) -> None:
        self._stack = stack
        self.evidence = evidence
        self._next: dict[TopicPartition, int] = {}

    def catch_up(self) -> None:
        """Read every topic to its present end."""
        asyncio.run(self._catch_up())

    async def _catch_up(self) -> None:
        settings = self._stack.settings()
        async with asyncio.timeout(LIMIT), _assigned(settings, READ) as consumer:
            ends = await consumer.end_offsets(list(consumer.assignment()))
            for partition in ends:
                consumer.seek(partition, self._next.get(partition, 0))
            while any(self._next.get(partition, 0) < end for partition, end in ends.items()):
                batches = await consumer.getmany(timeout_ms=200)
                for partition, records in batches.items():
                    for record in records:
                        self._take(record)
                    self._next[partition] = records[-1].offset + 1
                if not batches:  # what retention or compaction removed must not be waited for
                    for partition in ends:
                        self._next[partition] = max(self._next.get(partition, 0), await consumer.position(partition))

    def _take(self, record: ConsumerRecord) -> None:
        evidence = self.evidence
        if record.topic == topics.WEBHOOKS.name:
            evidence.arrivals.append(arrival(record))
        elif record.topic == topics.ENRICHED.name:
            evidence.emissions.append(emission(record))
        elif record.topic == topics.DEAD.name:
            evidence.letters.append(letter(record))
        else:
            evidence.parked.add(read_webhook(record.value)[0])

    def committed(self, group: str, topic: Topic) -> dict[int, int]:
        """The committed offset of each partition, 0 if nothing was committed."""
        return {partition: committed for partition, (committed, _) in self._bounds(group, topic).items()}

    def lags(self, group: str, topic: Topic) -> dict[int, int]:
        """The number of records of each partition that a group has not committed."""
        return {partition: end - committed for partition, (committed, end) in self._bounds(group, topic).items()}

    def _bounds(self, group: str, topic: Topic) -> dict[int, tuple[int, int]]:
        return asyncio.run(_bounds(self._stack.settings(), group, topic))

    def read_database(self) -> None:
        """Read the ledger, the CRM and the journal as they are now."""
        asyncio.run(self._read_database())
        held = crm(self._stack)
        self.evidence.messages, self.evidence.leads = held["messages"], held["leads"]

    async def _read_database(self) -> None:
        connection = await asyncpg.connect(self._stack.database_url)
        try:
            rows = await connection.fetch("SELECT * FROM stream.paid_calls ORDER BY reserved_at")
            self.evidence.calls = [_call(row) for row in rows]
            messages = "SELECT count(*) FROM stream.crm_deliveries WHERE status IN ('claimed', 'unconfirmed')"
            self.evidence.unconfirmed_messages = await connection.fetchval(messages)
            leads = await connection.fetch("SELECT c2s_id, status FROM stream.crm_leads")
            self.evidence.recorded_leads = {row["c2s_id"] for row in leads if row["c2s_id"] is not None}
            self.evidence.unconfirmed_leads = sum(row["status"] in {"claimed", "unconfirmed"} for row in leads)
            if "journal" in self._stack.children:
                answered = await connection.fetch("SELECT event_id FROM stream.answered")
                self.evidence.journal = {str(row["event_id"]) for row in answered}
        finally:
            await connection.close()


@asynccontextmanager
async def _assigned(
    settings: Settings, wanted: list[Topic], group: str | None = None
) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        **consumer_options(settings), group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        await consumer.start()
        consumer.assign(
            [
                TopicPartition(topic.name, number)
                for topic in wanted
                for number in range(topic.partitions or settings.topic_partitions)
            ]
        )
        yield consumer
    finally:
        await consumer.stop()


async def _bounds(settings: Settings, group: str, topic: Topic) -> dict[int, tuple[int, int]]:
    async with asyncio.timeout(LIMIT), _assigned(settings, [topic], group) as consumer:
        partitions = list(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        committed = await asyncio.gather(*(consumer.committed(partition) for partition in partitions))
        return {one.partition: (done or 0, ends[one]) for one, done in zip(partitions, committed, strict=True)}


def read_webhook(value: bytes | None) -> tuple[str, str]:
    """Event id and contact key of a record; ("", "") if it can't be read."""
    try:
        lead = decode_webhook(value).lead
    except PoisonError:
        return "", ""
    return event_id(lead), contact_of(lead, frozenset()).key


def arrival(record: ConsumerRecord) -> Arrival:
    """Read a record of ``webhooks``."""
    identity, key = read_webhook(record.value)
    names = {name for name, _ in record.headers}
    moved = bool(names & {"reroute", "attempt"})
    return Arrival((record.partition, record.offset), identity, key, moved, record.timestamp / 1000)


def emission(record: ConsumerRecord) -> Emission:
    """Read a record of ``contacts.enriched``."""
    event = orjson.loads(record.value)
    return Emission(
        (record.partition, record.offset),
        event["event_id"],
        event["revision"],
        event["contact"]["key"],
        event["outcome"],
        record.timestamp / 1000,
        event["calls"]["diretrix"] + event["calls"]["work"],
    )


def letter(record: ConsumerRecord) -> DeadLetter:
    """Read a dead letter. One of the CRM sync does not end its webhook."""
    facts = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    is_webhook = facts.get("dl-topic") == topics.WEBHOOKS.name
    return DeadLetter(
        _origin(facts) if is_webhook else None,
        read_webhook(record.value)[0] if is_webhook else "",
        facts.get("dl-stage", ""),
        facts.get("dl-reason", ""),
    )


def _origin(facts: Mapping[str, str]) -> Place | None:
    place = int(facts["dl-partition"]), int(facts["dl-offset"])
    return place if min(place) >= 0 else None


def _call(row: asyncpg.Record) -> Call:
    settled = row["settled_at"]
    return Call(
        row["provider"],
        row["alias"],
        row["status"],
        row["reserved_at"].timestamp(),
        settled.timestamp() if settled is not None else None,
    )
