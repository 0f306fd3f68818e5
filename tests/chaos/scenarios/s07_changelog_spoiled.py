"""The table's changelog is damaged, emptied, deleted, and created with another number of partitions."""

from __future__ import annotations

import asyncio
import random

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete

from stream import topics
from stream.kafka.clients import consumer_options, open_admin, open_producer
from stream.local.people import Someone
from stream.ops.topics import create_missing
from stream.settings import Settings
from tests.chaos import scenario
from tests.chaos.rig import Rig
from tests.support.system import counts, events_until, lead

CHANGELOG = topics.CHANGELOG.name
LIMIT = 120.0  # seconds
Record = tuple[int, bytes, bytes | None]


class Scenario(scenario.Scenario):
    """The result is a clear error or a cold table: never a wrong person, and nobody is paid for again."""

    number, name = 7, "changelog"
    full = {"webhooks": 600, "people": 150, "per_second": 150}
    small = {"webhooks": 80, "people": 40, "per_second": 100}
    processes = ("producers", "worker")

    def play(self, rig: Rig, webhooks: int, people: int, per_second: int) -> None:
        """``webhooks`` after each change, about the same ``people``, who are all known by then."""
        known = rig.people(people)
        rig.post([lead(f"first-{number}", one) for number, one in enumerate(known)])
        rig.settle()
        for what, spoil in (("spoiled", self.spoil), ("emptied", self.empty), ("deleted and made again", self.remake)):
            rig.stop("worker")
            paid = counts(rig.stack)["counts"]
            with rig.breaking(f"changelog {what}"):
                spoil(rig)
                rig.restart("worker", ready=True)
            rig.load(webhooks, per_second=per_second)
            rig.settle()
            self.hold(rig, known, paid, what)
        self.other_partitions(rig)

    def spoil(self, rig: Rig) -> None:
        """Overwrite every entry with a damaged one or another key's, and add records that no worker wrote."""
        asyncio.run(_spoil(rig))

    def empty(self, rig: Rig) -> None:
        """Empty the changelog, as a clean-up that removed everything would."""
        asyncio.run(_empty(rig.stack.settings()))

    def remake(self, rig: Rig) -> None:
        """Without its changelog a worker does not start; a new changelog is empty."""
        asyncio.run(_delete(rig.stack.settings()))
        self.refuses(rig, "the topic is missing")
        asyncio.run(_create(rig.stack.settings()))

    def other_partitions(self, rig: Rig) -> None:
        """With another number of partitions a worker does not start either."""
        rig.stop("worker")
        with rig.breaking("changelog with one partition more"):
            asyncio.run(_add_partition(rig.stack.settings()))
            self.refuses(rig, "partitions is")
            asyncio.run(_delete(rig.stack.settings()))
            asyncio.run(_create(rig.stack.settings()))
            rig.restart("worker", ready=True)

    @staticmethod
    def refuses(rig: Rig, reason: str) -> None:
        """Check that the worker exits by itself and says why."""
        worker = rig.stack.children["worker"]
        worker.start()
        code = rig.until_gone("worker", LIMIT)
        said = worker.tail(800)
        rig.promise(code == 1, f"the worker ended with {code}: {said}")
        rig.promise(CHANGELOG in said and reason in said, f"the worker does not say what is wrong: {said}")

    @staticmethod
    def hold(rig: Rig, people: list[Someone], paid: dict[str, int], what: str) -> None:
        """Check that everybody gets their own data and nothing was paid."""
        by_phone = {f"+55{one.phone}": one for one in people}
        events = events_until(rig.stack, lambda events: len(events) >= len(rig.evidence.emissions))
        wrong = [
            event.lead.id
            for event in events
            if event.person is not None
            and event.contact.phone in by_phone
            and event.person.cpf != by_phone[event.contact.phone].cpf
        ]
        rig.promise(not wrong, f"changelog {what}: {len(wrong)} webhooks got a wrong person, such as {wrong[:3]}")
        nobody = {event.lead.id for event in events if event.outcome == "not_found"}
        rig.promise(not nobody, f"changelog {what}: {len(nobody)} webhooks of known people got nobody")
        now = counts(rig.stack)["counts"]
        again = {name: now.get(name, 0) - paid.get(name, 0) for name in ("diretrix", "work")}
        rig.promise(not any(again.values()), f"changelog {what}: partners were asked again: {again}")
        rig.promise(not rig.left, f"changelog {what}: the worker left by itself")


async def _entries(settings: Settings) -> list[Record]:
    """Read the changelog's records."""
    there = [TopicPartition(CHANGELOG, number) for number in range(settings.topic_partitions)]
    consumer = AIOKafkaConsumer(**consumer_options(settings), auto_offset_reset="earliest")
    latest: dict[tuple[int, bytes], bytes | None] = {}
    await consumer.start()
    try:
        consumer.assign(there)
        ends = await consumer.end_offsets(there)
        while any([await consumer.position(one) < end for one, end in ends.items()]):
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                latest.update({(partition.partition, record.key): record.value for record in records})
    finally:
        await consumer.stop()
    return [(partition, key, value) for (partition, key), value in latest.items()]


async def _spoil(rig: Rig) -> None:
    settings, chance = rig.stack.settings(), rig.chance
    entries = [(partition, key, value) for partition, key, value in await _entries(settings) if value]
    values = [value for _, _, value in entries]
    spoiled: list[Record] = [(partition, key, _damaged(chance, value, values)) for partition, key, value in entries]
    spoiled += [
        (chance.randrange(settings.topic_partitions), key, chance.choice(values))
        for key in (b"noise", b"99999/p:+5511987654321", b"-1/x", b"x/y", b"\xff\xfe", b"9" * 5_000, b"")
    ]
    async with open_producer(settings) as producer:
        for partition, key, value in spoiled:
            await producer.send(CHANGELOG, value, key, partition=partition)
    rig.note("entries spoiled", len(spoiled))


def _damaged(chance: random.Random, value: bytes, others: list[bytes]) -> bytes:
    """Damage one entry: another byte, cut, too long, of another version, or of another key."""
    at = chance.randrange(len(value))
    return chance.choice(
        [
            value[:at] + bytes([value[at] ^ (1 << chance.randrange(8))]) + value[at + 1 :],
            value[:at],
            value + b"x",
            b"\x63" + value[1:],
            chance.choice(others),
            chance.choice(others),
            chance.randbytes(300),
            b"{}",
        ]
    )


async def _empty(settings: Settings) -> None:
    there = [TopicPartition(CHANGELOG, number) for number in range(settings.topic_partitions)]
    async with open_admin(settings) as admin:
        # Kafka deletes records of what it may delete, not of what it only compacts.
        await _configure(admin, "compact,delete")
        await admin.delete_records({one: RecordsToDelete(before_offset=-1) for one in there})
        await _configure(admin, "compact")


async def _configure(admin: AIOKafkaAdminClient, policy: str) -> None:
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # noqa: PLC0415 - its long name

    config = {**topics.CHANGELOG.settings(), "cleanup.policy": policy}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, CHANGELOG, config)])


async def _delete(settings: Settings) -> None:
    async with open_admin(settings) as admin, asyncio.timeout(LIMIT):
        await admin.delete_topics([CHANGELOG])
        while CHANGELOG in await admin.list_topics():  # noqa: ASYNC110 - the broker has no event for it
            await asyncio.sleep(0.1)


async def _create(settings: Settings) -> None:
    async with open_admin(settings) as admin:
        await create_missing(admin, settings)


async def _add_partition(settings: Settings) -> None:
    async with open_admin(settings) as admin:
        await admin.create_partitions({CHANGELOG: NewPartitions(settings.topic_partitions + 1)})
