"""The retry reader on a real broker: parked webhooks come back when they are due, and block no others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from prometheus_client import REGISTRY

from stream import topics
from stream.dead_letters.guard import DlqGuard
from stream.domain.dead_letter_limit import DlqLimit
from stream.domain.events import event_id
from stream.domain.identity import Contact, Phone
from stream.domain.leads import Source, decode_webhook, encode_webhook
from stream.domain.parking import Parking, RetryPolicy
from stream.kafka.batch_producer import BatchProducer, RetryUntilShutdown
from stream.kafka.clients import open_admin, open_consumer, open_producer
from stream.kafka.offset_tracker import Tracker
from stream.ops.topics import create_missing, differences, must_stop
from stream.settings import Settings
from stream.worker.outcomes import Outcomes
from stream.worker.pending_webhook import PendingWebhook, SourceRecord
from stream.worker.retry_reader import RetryReader
from tests.integration.test_topics import remove
from tests.support.enriched import command, committed, everything, until
from tests.support.fakes import NOW, RecordingProducer

FIRST, SECOND, THIRD = topics.RETRIES
LONGEST = timedelta(hours=1)
SECRETS = {"DIRETRIX_USER": "x", "DIRETRIX_PASSWORD": "x", "WORK_API_TOKEN": "x", "DIRETRIX_DAILY_BUDGET": "unlimited"}


class Clock:
    """A clock that a test sets; it begins at the present time, like the broker's."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def __call__(self) -> datetime:
        """The present time."""
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def park(
    settings: Settings, clock: Clock, names: Sequence[str], due: timedelta, topic: topics.Topic = FIRST
) -> None:
    """Park webhooks, each named by its key, ``due`` from now."""
    async with open_producer(settings) as producer:
        for name in names:
            headers = Parking(1, clock(), clock() + due, 0).headers("test")
            await producer.send_and_wait(
                topic.name, name.encode(), key=name.encode(), headers=[("ce_id", b"x"), *headers]
            )


class Stuck(BatchProducer):
    """A producer that never delivers the record with the value ``stuck``."""

    def enqueue(self, topic: str, key: bytes | None, value: bytes | None, *rest: Any) -> None:  # type: ignore[override]
        """Enqueue all other records."""
        if value != b"stuck":
            super().enqueue(topic, key, value, *rest)


@asynccontextmanager
async def reader(
    settings: Settings,
    clock: Callable[[], datetime],
    kind: type[BatchProducer] = BatchProducer,
    busy: Callable[[str], bool] = lambda _: False,
) -> AsyncIterator[AIOKafkaConsumer]:
    """A running reader; yields its consumer."""
    async with open_producer(settings) as kafka_producer, open_consumer(settings, None, topics.RETRY_GROUP) as consumer:
        producer = kind(kafka_producer, RetryUntilShutdown())
        await producer.load_metadata(topics.WEBHOOKS.name)
        running = asyncio.create_task(RetryReader(consumer, producer, clock, LONGEST, busy).run())
        try:
            yield consumer
            assert not running.done(), running.exception()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await producer.close()


async def back(settings: Settings) -> list[ConsumerRecord]:
    """The webhooks in `webhooks`."""
    return await everything(settings, topics.WEBHOOKS.name)


async def until_back(settings: Settings, count: int) -> list[str]:
    """Wait until ``count`` webhooks are back; returns their names, sorted."""

    async def there() -> bool:
        return len(await back(settings)) >= count

    await until(there)
    return sorted(record.value.decode() for record in await back(settings))


async def waits(consumer: AIOKafkaConsumer, partitions: int) -> None:
    """Wait until so many partitions are held."""

    async def paused() -> bool:
        return len(consumer.paused()) == partitions

    await until(paused)


async def stands(settings: Settings, topic: topics.Topic = FIRST) -> int:
    """How many records of a retry topic are committed."""
    return sum((await committed(settings, topics.RETRY_GROUP, topic.name)).values())


async def test_a_due_webhook_comes_back_unchanged(broker: Settings, clock: Clock) -> None:
    """It has the same key, bytes and headers, is on the key's partition, and is committed after the acknowledgement."""
    names = [f"w{number}" for number in range(20)]
    await park(broker, clock, names, -timedelta(seconds=1))
    async with reader(broker, clock):
        assert await until_back(broker, 20) == sorted(names)
        await until(lambda: _equals(stands(broker), 20))
    for record in await back(broker):
        said = dict(record.headers)
        assert record.key == record.value
        assert (said["ce_id"], said["attempt"], said["reason"]) == (b"x", b"1", b"test")


async def _equals(value: object, wanted: int) -> bool:
    return await value == wanted  # type: ignore[misc,no-any-return]


async def test_a_webhook_that_is_not_due_waits_uncommitted(broker: Settings, clock: Clock) -> None:
    """It comes back when it is due and not before; until then a restart reads it again."""
    await park(broker, clock, ["soon"], timedelta(seconds=30))
    async with reader(broker, clock) as consumer:
        await waits(consumer, 1)
        clock.at += timedelta(seconds=29)
        assert await back(broker) == []
        assert await stands(broker) == 0
    async with reader(broker, clock) as consumer:
        await waits(consumer, 1)
        clock.at += timedelta(seconds=2)
        assert await until_back(broker, 1) == ["soon"]
        await until(lambda: _equals(stands(broker), 1))


SOON, LATER = '{"source":"c2s","payload":"soon"}', '{"payload":"later","source":"c2s"}'


class Queue:
    """A look-up queue that is full for some sources and counts the reader's checks."""

    def __init__(self, *full: str) -> None:
        self.full = set(full)
        self.asked: Counter[str] = Counter()

    def is_busy_for(self, source: str) -> bool:
        """Whether it is full for a source."""
        self.asked[source] += 1
        return source in self.full

    async def looked(self, source: str) -> None:
        """Wait until the reader has checked a few more times."""
        enough = self.asked[source] + 3

        async def often() -> bool:
            return self.asked[source] >= enough

        await until(often)


async def test_a_due_webhook_waits_while_the_worker_is_busy_but_not_forever(broker: Settings, clock: Clock) -> None:
    """It comes back when there is room, or after it has waited for the longest delay."""
    await park(broker, clock, [SOON], timedelta(seconds=30))
    queue = Queue("c2s")
    async with reader(broker, clock, busy=queue.is_busy_for) as consumer:
        await waits(consumer, 1)
        clock.at += timedelta(seconds=31)
        await queue.looked("c2s")
        assert await back(broker) == []
        queue.full.clear()
        assert await until_back(broker, 1) == [SOON]
        queue.full.add("c2s")
        await park(broker, clock, [LATER], timedelta(seconds=30))
        await waits(consumer, 1)
        clock.at += LONGEST + timedelta(seconds=31)
        assert await until_back(broker, 2) == [LATER, SOON]


async def test_webhooks_that_wait_for_room_block_no_other_source(broker: Settings, clock: Clock) -> None:
    """While a source has used its part of the queue its webhooks wait, and those of the other source come back."""
    recorded = RecordingProducer()
    outcomes: Any = Outcomes(recorded, clock, RetryPolicy((timedelta(0),), LONGEST), DlqGuard(DlqLimit(100, 0.75, 100)))
    flood = [parked_webhook(number, Source.C2S) for number in range(60)]
    others = [parked_webhook(number, Source.GOOGLE_ADS) for number in range(60, 70)]
    for one in [*flood, *others]:
        outcomes.park(one, "queue")
    async with open_producer(broker) as producer:
        for (topic, record), partition in zip(recorded.records, recorded.placed, strict=True):
            if topic == FIRST.name:
                await producer.send_and_wait(topic, record.value, record.key, partition, headers=list(record.headers))
    queue = Queue("c2s")
    async with reader(broker, clock, busy=queue.is_busy_for):
        assert await until_back(broker, 10) == sorted(one.record.value.decode() for one in others)
        await queue.looked("c2s")
        assert len(await back(broker)) == 10
        queue.full.clear()
        await until_back(broker, 70)


def parked_webhook(number: int, source: Source) -> Any:
    """A webhook as a worker parks it."""
    payload: dict[str, Any] = {"lead_id": str(number), "user_column_data": []}
    if source is Source.C2S:
        payload = {"id": str(number), "attributes": {"updated_at": "2026-01-31T12:00:00Z"}}
    value = encode_webhook(source, NOW, payload, None)
    record = ConsumerRecord("webhooks", 0, number, 0, 1, None, value, None, 0, 0, ())
    webhook = decode_webhook(value)
    phone = Phone.parse(f"1198765{number:04d}")
    assert phone is not None
    return PendingWebhook(
        SourceRecord(record, Tracker()), webhook, Contact(phone, None, None, phone.alias), event_id(webhook.lead)
    )


async def test_waiting_webhooks_are_measured(broker: Settings, clock: Clock) -> None:
    """The lag counts all parked webhooks, also those behind a held one; the age is that of the oldest."""
    labels = {"group": topics.RETRY_GROUP}
    await park(broker, clock, ["one"], timedelta(minutes=10))
    async with reader(broker, clock) as consumer:
        await waits(consumer, 1)
        await park(broker, clock, ["one"] * 4, timedelta(minutes=10))

        async def is_counted() -> bool:
            return REGISTRY.get_sample_value("leads_consumer_lag", labels) == 5

        await until(is_counted)
        assert (REGISTRY.get_sample_value("leads_consumer_oldest_seconds", labels) or 0) > 0
        clock.at += timedelta(minutes=11)
        await until_back(broker, 5)

        async def is_moved() -> bool:
            return REGISTRY.get_sample_value("leads_consumer_lag", labels) == 0

        await until(is_moved)
        assert REGISTRY.get_sample_value("leads_consumer_oldest_seconds", labels) == 0


async def test_a_retry_level_that_waits_blocks_no_other(broker: Settings, clock: Clock) -> None:
    """Webhooks of the short level come back while earlier ones of the same keys wait in the long level."""
    names = [f"w{number}" for number in range(12)]
    await park(broker, clock, names, timedelta(minutes=50), THIRD)
    await park(broker, clock, names, timedelta(minutes=10), SECOND)
    async with reader(broker, clock) as consumer:
        await until(lambda: _held(consumer, {SECOND.name, THIRD.name}))
        await park(broker, clock, names, timedelta(0), FIRST)
        assert await until_back(broker, 12) == sorted(names)
        clock.at += timedelta(minutes=11)
        await until_back(broker, 24)
        assert (await stands(broker, THIRD), len(await back(broker))) == (0, 24)


async def _held(consumer: AIOKafkaConsumer, names: set[str]) -> bool:
    return {partition.topic for partition in consumer.paused()} >= names


async def test_a_partition_that_waits_blocks_no_other(broker: Settings, clock: Clock) -> None:
    """While the first record of one partition is not due, those of the others come back."""
    await park(broker, clock, ["late"], timedelta(minutes=1))
    names = [f"w{number}" for number in range(30)]
    await park(broker, clock, names, timedelta(0))
    partitions = {record.value: record.partition for record in await everything(broker, FIRST.name)}
    free = sorted(name for name in names if partitions[name.encode()] != partitions[b"late"])
    async with reader(broker, clock):
        assert await until_back(broker, len(free)) == free
        clock.at += timedelta(minutes=1)
        assert len(await until_back(broker, 31)) == 31


async def test_a_partition_without_an_acknowledgement_blocks_no_other(broker: Settings, clock: Clock) -> None:
    """The partition of a record that is never acknowledged stays uncommitted, and the others go on."""
    names = ["stuck", *(f"w{number}" for number in range(30))]
    await park(broker, clock, names, timedelta(0))
    parked = await everything(broker, FIRST.name)
    where = next(record.partition for record in parked if record.value == b"stuck")
    others = sum(record.partition != where for record in parked)
    async with reader(broker, clock, Stuck):
        await until(lambda: _equals(stands(broker), others))
        more = [f"x{number}" for number in range(30)]
        await park(broker, clock, more, timedelta(0))
        parked = await everything(broker, FIRST.name)
        await until(lambda: _equals(stands(broker), sum(record.partition != where for record in parked)))
    assert where not in await committed(broker, topics.RETRY_GROUP, FIRST.name)


async def test_due_webhooks_before_one_that_is_not_due_come_back(broker: Settings, clock: Clock) -> None:
    """Within a partition the due webhooks are moved and committed in order, up to the first that is not due."""
    for name, due in (("a", 0), ("b", 0), ("c", 60), ("d", 61)):
        await _park_keyed(broker, clock, name, timedelta(seconds=due))
    async with reader(broker, clock):
        assert await until_back(broker, 2) == ["a", "b"]
        await until(lambda: _equals(stands(broker), 2))
        clock.at += timedelta(seconds=90)
        await until_back(broker, 4)
        assert [record.value for record in await back(broker)] == [b"a", b"b", b"c", b"d"]


async def _park_keyed(settings: Settings, clock: Clock, name: str, due: timedelta) -> None:
    async with open_producer(settings) as producer:
        headers = Parking(1, clock(), clock() + due, 0).headers("test")
        await producer.send_and_wait(FIRST.name, name.encode(), key=b"one", headers=headers)


async def test_a_record_without_a_readable_time_is_due_at_once(broker: Settings, clock: Clock) -> None:
    """A due time that is unreadable or far away does not keep a partition waiting."""
    async with open_producer(broker) as producer:
        for value, said in ((b"none", None), (b"odd", b"\xffsoon"), (b"naive", b"2999-01-01T00:00:00")):
            headers = [("not-before", said)] if said is not None else []
            await producer.send_and_wait(FIRST.name, value, key=b"one", headers=headers)
        await producer.send_and_wait(FIRST.name, b"null", key=b"one", headers=[("not-before", None)])
        far = b"9999-12-31T23:59:59+00:00"
        await producer.send_and_wait(FIRST.name, b"far", key=b"one", headers=[("not-before", far)])
    async with reader(broker, clock):
        assert await until_back(broker, 4) == ["naive", "none", "null", "odd"]
        clock.at += LONGEST + timedelta(minutes=1)
        assert await until_back(broker, 5) == ["far", "naive", "none", "null", "odd"]


async def test_many_records_milliseconds_apart_come_back(broker: Settings, clock: Clock) -> None:
    """A burst of parked webhooks comes back complete, in order within each partition, none twice."""
    async with open_producer(broker) as producer:
        sent = []
        for number in range(3_000):
            headers = Parking(1, clock(), clock() + timedelta(milliseconds=number), 0).headers("test")
            key = f"k{number % 7}".encode()
            sent.append(await producer.send(FIRST.name, str(number).encode(), key=key, headers=headers))
        await asyncio.gather(*sent)
    async with reader(broker, lambda: datetime.now(UTC)):
        await until_back(broker, 3_000)
        await until(lambda: _equals(stands(broker), 3_000))
    by_partition: dict[int, list[int]] = {}
    for record in await back(broker):
        by_partition.setdefault(record.partition, []).append(int(record.value))
    assert all(numbers == sorted(numbers) for numbers in by_partition.values())
    assert sorted(number for numbers in by_partition.values() for number in numbers) == list(range(3_000))


async def test_a_second_reader_gets_its_share(broker: Settings, clock: Clock) -> None:
    """A waiting webhook is moved by the reader that has its partition when it is due, and none is lost."""
    names = [f"w{number}" for number in range(40)]
    await park(broker, clock, names, timedelta(seconds=30))
    async with reader(broker, clock) as first:
        await waits(first, 4)
        async with reader(broker, clock) as second:
            await until(lambda: _shared(first, second))
            clock.at += timedelta(seconds=31)
            await until_back(broker, 40)
            await until(lambda: _equals(stands(broker), 40))
    assert {record.value.decode() for record in await back(broker)} == set(names)


async def _shared(first: AIOKafkaConsumer, second: AIOKafkaConsumer) -> bool:
    mine, theirs = first.assignment(), second.assignment()
    return bool(mine) and bool(theirs) and len(mine | theirs) == 3 * len(await _partitions(first))


async def _partitions(consumer: AIOKafkaConsumer) -> set[int]:
    partitions: set[int] = consumer.partitions_for_topic(FIRST.name) or set()
    return partitions


async def test_a_worker_without_all_retry_topics_says_what_to_run(broker: Settings, database_url: str) -> None:
    """A broker with only the first retry topic stops a worker; its error names the command that creates the others."""
    async with open_admin(broker) as admin:
        await remove(admin, SECOND.name, THIRD.name)
        assert {one.topic for one in must_stop(await differences(admin, broker))} == {SECOND.name, THIRD.name}
        code, _, said = await command(broker, "worker", DATABASE_URL=database_url, **SECRETS)
        assert code == 1
        assert "Run: python -m stream topics" in said
        assert set(await create_missing(admin, broker)) == {SECOND.name, THIRD.name}
        assert await differences(admin, broker) == []
