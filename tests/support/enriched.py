"""Helpers for tests of consumers: events of ``contacts.enriched``, committed offsets, processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid5

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError

from stream.domain.events import NAMESPACE
from stream.domain.person import Candidate, Person, person_from_candidate
from stream.kafka.clients import client_options, consumer_options, open_admin
from stream.settings import Settings
from stream.topics import ENRICHED
from tests.support.waiting import LIMIT, until

__all__ = ["LIMIT", "until"]  # tests import them from here as well

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
PERSON = person_from_candidate(Candidate("MARIA LIMA", "52998224725"), NOW)
STARTED: list[asyncio.subprocess.Process] = []


def identity(lead: str, source: str = "c2s") -> str:
    """The event id of a lead's only webhook."""
    return str(uuid5(NAMESPACE, f"{source}/{lead}"))


def event(  # noqa: PLR0913 - an event
    lead: str,
    person: Person | None = PERSON,
    *,
    outcome: str = "",
    source: str = "c2s",
    key: str = "+5511987654321",
    calls: tuple[int, int] = (0, 0),
    updated_at: datetime | None = NOW,
    received_at: datetime = NOW,
    emitted_at: datetime = NOW,
) -> dict[str, Any]:
    """An event as the worker emits it."""
    outcome = outcome or ("enriched" if person is not None else "not_found")
    return {
        "schema_version": 1,
        "event_id": identity(lead, source),
        "revision": f"{outcome}-{person.facts if person is not None else ''}",
        "lead": {
            "source": source,
            "id": lead,
            "updated_at": updated_at,
            "hook_action": "on_create_lead",
            "name": "Maria",
        },
        "contact": {"key": key, "phone": key if key.startswith("+") else None, "email": None, "cpf": None},
        "outcome": outcome,
        "tier": "diretrix" if person is not None else None,
        "person": orjson.loads(person.encode()) if person is not None else None,
        "calls": {"diretrix": calls[0], "work": calls[1]},
        "received_at": received_at,
        "emitted_at": emitted_at,
    }


async def publish(settings: Settings, values: Sequence[dict[str, Any] | bytes], topic: str = ENRICHED.name) -> None:
    """Publish events in order, keyed by their contact; bytes are published as they are."""
    producer = AIOKafkaProducer(**client_options(settings), enable_idempotence=True)
    await producer.start()
    try:
        sent = []
        for value in values:
            raw = value if isinstance(value, bytes) else orjson.dumps(value)
            key = b"foreign" if isinstance(value, bytes) else value["contact"]["key"].encode()
            sent.append(await producer.send(topic, raw, key=key))
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


@asynccontextmanager
async def reading(settings: Settings, topic: str, group: str | None = None) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer with all partitions of a topic assigned manually."""
    consumer = AIOKafkaConsumer(**consumer_options(settings), group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        async with open_admin(settings) as admin:
            (found,) = await admin.describe_topics([topic])
        consumer.assign([TopicPartition(topic, partition["partition"]) for partition in found["partitions"]])
        yield consumer
    finally:
        await consumer.stop()


async def everything(settings: Settings, topic: str) -> list[ConsumerRecord]:
    """All records of a topic up to its present end."""
    async with reading(settings, topic) as consumer:
        parts = sorted(consumer.assignment())
        await consumer.seek_to_beginning(*parts)
        ends = await consumer.end_offsets(parts)
        records: list[ConsumerRecord] = []
        while any([await consumer.position(part) < ends[part] for part in parts]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                records += batch
        return records


async def committed(settings: Settings, group: str, topic: str = ENRICHED.name) -> dict[int, int]:
    """The committed offsets of a group; partitions without a commit are left out."""
    async with open_admin(settings) as admin, asyncio.timeout(LIMIT):
        while True:
            try:
                offsets = await admin.list_consumer_group_offsets(group)
                break
            except GroupCoordinatorNotAvailableError:  # the broker has just started
                await asyncio.sleep(0.1)
    return {part.partition: at.offset for part, at in offsets.items() if part.topic == topic and at.offset >= 0}


async def lag(settings: Settings, group: str, topic: str = ENRICHED.name) -> int:
    """How many records of a topic a group has not committed."""
    async with reading(settings, topic) as consumer:
        ends = await consumer.end_offsets(sorted(consumer.assignment()))
    at = await committed(settings, group, topic)
    return sum(end - at.get(part.partition, 0) for part, end in ends.items())


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment of a process beside the test's broker."""
    return {
        "PATH": os.environ["PATH"],
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "TOPIC_PARTITIONS": str(settings.topic_partitions),
        "CRM_WEB_PORT": "0",
        "JOURNAL_WEB_PORT": "0",
        **more,
    }


async def start(settings: Settings, *arguments: str, **more: str) -> asyncio.subprocess.Process:
    """Start ``python ...`` beside the test's broker; it ends with the test."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        env=environment(settings, **more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    STARTED.append(process)
    return process


async def end_started() -> None:
    """Kill the processes that a failed test has left, which would read the next test's topics."""
    while STARTED:
        process = STARTED.pop()
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def command(settings: Settings, *arguments: str, **more: str) -> tuple[int | None, str, str]:
    """Run ``python -m stream ...`` to its end; returns exit code, output and error output."""
    process = await start(settings, "-m", "stream", *arguments, **more)
    async with asyncio.timeout(LIMIT):
        out, said = await process.communicate()
    return process.returncode, out.decode(), said.decode()
