"""Transactions of other producers on a real broker: aborted and open ones are not read, and markers block no group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from stream import topics
from stream.crm.key_order import KeyOrder
from stream.crm.sync import CRM_CONSUMER
from stream.dead_letters import queue as dlq
from stream.domain.dead_letters import DeadLetterFilter
from stream.kafka import consumer_loop
from stream.kafka.batch_producer import BatchProducer, RetryUntilShutdown
from stream.kafka.clients import client_options, open_admin, open_consumer, open_producer
from stream.kafka.consumer_loop import ConsumerLoop, open_consumer_loop
from stream.ops.replay import Absolute, Replay, plan
from stream.reporting.journal import JOURNAL_CONSUMER, Journal
from stream.settings import Settings
from stream.worker.retry_reader import RetryReader
from tests.integration.test_dlq import LETTERS
from tests.support.enriched import committed, event, until

ABORTED, COMMITTED = "aborted", "committed"


@asynccontextmanager
async def upstream(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer of transactions; the broker aborts one that stays open for a minute."""
    producer = AIOKafkaProducer(
        **client_options(settings), transactional_id=f"upstream-{uuid4()}", transaction_timeout_ms=60_000
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def send(producer: AIOKafkaProducer, topic: topics.Topic, values: Sequence[bytes], **more: Any) -> None:
    """Write to partition 0, or another, and wait for the acknowledgement."""
    where = {"partition": 0, **more}
    await asyncio.gather(*[await producer.send(topic.name, value, **where) for value in values])


async def transaction(producer: AIOKafkaProducer, topic: topics.Topic, values: Sequence[bytes], end: str) -> None:
    """A whole transaction."""
    await producer.begin_transaction()
    await send(producer, topic, values)
    await (producer.commit_transaction() if end == COMMITTED else producer.abort_transaction())


async def log_end(settings: Settings, topic: topics.Topic) -> int:
    """The end of partition 0 including markers and open transactions."""
    consumer = AIOKafkaConsumer(**client_options(settings))
    await consumer.start()
    try:
        return (await consumer.end_offsets([TopicPartition(topic.name, 0)]))[TopicPartition(topic.name, 0)]
    finally:
        await consumer.stop()


async def at_the_end(settings: Settings, group: str, topic: topics.Topic) -> bool:
    """Whether a group has committed partition 0 up to its end."""
    return (await committed(settings, group, topic.name)).get(0, 0) == await log_end(settings, topic)


def values(*leads: str) -> list[bytes]:
    return [orjson.dumps(event(lead)) for lead in leads]


Seen = Callable[[], Awaitable[list[str]]]


@asynccontextmanager
async def crm_sync(settings: Settings, _: asyncpg.Pool) -> AsyncIterator[Seen]:
    """A running loop of the CRM sync; yields the leads that it has handled."""
    seen: list[str] = []

    async def handle(record: ConsumerRecord) -> None:
        seen.append(orjson.loads(record.value)["lead"]["id"])

    async def read() -> list[str]:
        return seen

    stop = asyncio.Event()
    async with open_consumer(settings, None, topics.CRM_GROUP) as consumer:
        task = asyncio.create_task(ConsumerLoop(consumer, CRM_CONSUMER, KeyOrder(handle, concurrency=4)).run(stop))
        try:
            yield read
        finally:
            stop.set()
            await task


@asynccontextmanager
async def journal(settings: Settings, pool: asyncpg.Pool) -> AsyncIterator[Seen]:
    """A running journal; yields the leads that have a row."""

    async def read() -> list[str]:
        return [row["lead_id"] for row in await pool.fetch("SELECT lead_id FROM stream.answered ORDER BY lead_id")]

    stop = asyncio.Event()
    async with open_consumer_loop(settings, JOURNAL_CONSUMER, Journal(pool, webhook_events=False)) as loop:
        task = asyncio.create_task(loop.run(stop))
        try:
            yield read
        finally:
            stop.set()
            await task


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits follow quickly."""
    monkeypatch.setattr(consumer_loop, "COMMIT_EVERY_S", 0.1)


@pytest.mark.parametrize(
    ("reader", "group"), [(crm_sync, topics.CRM_GROUP), (journal, topics.JOURNAL_GROUP)], ids=["crm-sync", "journal"]
)
async def test_events_of_transactions_are_read_once_committed(
    broker: Settings, pool: asyncpg.Pool, reader: Any, group: str
) -> None:
    """Aborted events are not read, open ones after their commit, and the group reaches the end of the log."""
    async with upstream(broker) as first, upstream(broker) as second, open_producer(broker) as plain:
        await transaction(first, topics.ENRICHED, values("a-aborted"), ABORTED)
        async with reader(broker, pool) as seen:
            # Nothing but an aborted transaction: there is no record at all, and yet it is done with.
            await until(lambda: at_the_end(broker, group, topics.ENRICHED))
            await transaction(first, topics.ENRICHED, values("b-committed"), COMMITTED)
            await until(lambda: at_the_end(broker, group, topics.ENRICHED))
            assert await seen() == ["b-committed"]
            await first.begin_transaction()
            stable = await log_end(broker, topics.ENRICHED)
            await send(first, topics.ENRICHED, values("c-open"))
            await transaction(second, topics.ENRICHED, values("d-aborted"), ABORTED)
            await send(plain, topics.ENRICHED, values("e-plain"))
            await send(plain, topics.ENRICHED, values("f-elsewhere"), partition=1)

            async def elsewhere() -> bool:
                return "f-elsewhere" in await seen()

            await until(elsewhere)  # so partition 0 was fetched too
            assert (await committed(broker, group)).get(0) == stable
            assert await seen() == ["b-committed", "f-elsewhere"]
            await first.commit_transaction()
            await until(lambda: at_the_end(broker, group, topics.ENRICHED))
            assert sorted(await seen()) == ["b-committed", "c-open", "e-plain", "f-elsewhere"]
            await transaction(first, topics.ENRICHED, values("g-aborted", "h-aborted"), ABORTED)
            await until(lambda: at_the_end(broker, group, topics.ENRICHED))
        async with reader(broker, pool) as seen_again:
            await send(plain, topics.ENRICHED, values("i-plain"))
            await until(lambda: at_the_end(broker, group, topics.ENRICHED))
            assert (await seen_again())[-1] == "i-plain"
            assert not [lead for lead in await seen_again() if "aborted" in lead]


async def test_parked_webhooks_of_transactions_come_back_once_committed(broker: Settings) -> None:
    """The retry reader moves webhooks that are committed and due, and its group reaches the end of the log."""
    first = topics.RETRIES[0]
    async with (
        upstream(broker) as producer,
        open_producer(broker) as ours,
        open_consumer(broker, None, topics.RETRY_GROUP) as consumer,
        open_consumer(broker, topics.WEBHOOKS.name, "test") as back,
    ):
        await transaction(producer, first, [b"aborted"], ABORTED)
        batch_producer = BatchProducer(ours, RetryUntilShutdown())
        await batch_producer.load_metadata(topics.WEBHOOKS.name)
        reader = RetryReader(consumer, batch_producer, lambda: datetime.now(UTC), timedelta(hours=1), lambda _: False)
        running = asyncio.create_task(reader.run())
        try:
            await until(lambda: at_the_end(broker, topics.RETRY_GROUP, first))
            await transaction(producer, first, [b"committed-1", b"committed-2"], COMMITTED)
            await until(lambda: at_the_end(broker, topics.RETRY_GROUP, first))
            assert not running.done(), running.exception()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await batch_producer.close()
        moved: list[bytes] = []
        async with asyncio.timeout(30):
            while len(moved) < 2:
                fetched = await back.getmany(timeout_ms=200)
                moved += [record.value for records in fetched.values() for record in records]
        assert sorted(moved) == [b"committed-1", b"committed-2"]


async def test_dead_letters_are_read_to_an_end_that_is_a_marker(
    broker: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``dlq`` lists committed letters and does not wait for a record if the last offset is a marker."""
    monkeypatch.setattr(dlq, "STALL_TIMEOUT_S", 3.0)
    letters = dlq.DeadLetterQueue(broker, frozenset(), lambda: datetime.now(UTC))
    good, bad = LETTERS[0], LETTERS[1]
    async with upstream(broker) as producer:
        await producer.begin_transaction()
        await send(producer, topics.DEAD, [good.value], headers=good.headers)
        await producer.commit_transaction()
        assert [one.offset for one in await _listed(letters)] == [0]
        await producer.begin_transaction()
        await send(producer, topics.DEAD, [bad.value], headers=bad.headers)
        assert [one.offset for one in await _listed(letters)] == [0]
        await producer.abort_transaction()
        assert [one.offset for one in await _listed(letters)] == [0]
        assert await log_end(broker, topics.DEAD) == 4


async def _listed(letters: dlq.DeadLetterQueue) -> list[Any]:
    return await letters.find(DeadLetterFilter())


async def test_a_replay_ends_at_the_last_stable_offset(broker: Settings) -> None:
    """A plan moves a group to the last stable offset at most, which is the end without an open transaction."""
    async with upstream(broker) as producer, open_admin(broker) as admin:
        replay = Replay(admin, broker, topics.WORKER_GROUP)
        await transaction(producer, topics.WEBHOOKS, [b"a", b"b"], COMMITTED)
        bounds = next(one for one in await replay.bounds() if one.partition == 0)
        assert (bounds.earliest, bounds.latest) == (0, 3)
        await producer.begin_transaction()
        await send(producer, topics.WEBHOOKS, [b"open"])
        (move,) = [one for one in plan(await replay.bounds(), Absolute(99)) if one.partition == 0]
        assert move.to == 3
        await replay.execute([move], skip_unread=True)
        assert (await committed(broker, topics.WORKER_GROUP, topics.WEBHOOKS.name))[0] == 3
        await producer.abort_transaction()
        assert next(one for one in await replay.bounds() if one.partition == 0).latest == 5
