"""The producers on a real broker: every webhook that got 200 is in the topic, whatever fails."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

import aiohttp
import msgspec
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from producers.publisher import BrokerUnavailableError, KafkaPublisher, open_publisher
from producers.records import RawWebhook, Record, webhook_record
from stream.domain.leads import Source, decode_webhook
from stream.local.kafka import LocalKafka
from stream.settings import Settings
from stream.topics import DEAD, WEBHOOKS
from tests.support.broker import make_topics, recreate_topics, settings_of
from tests.support.waiting import LIMIT, until, until_true

ROOT = Path(__file__).parents[2]
TOKEN, PORTAL = "integration-token", "olx:integration-password"
PARTITIONS = 8
PORTAL_WAITS = 4.8  # seconds; Grupo OLX gives up after 5
# What Java's default partitioner (murmur2) gives these keys among 8 partitions.
JAVAS = {"+5511987654321": 4, "+5511913572468": 0, "ana@example.com": 6, "L-without-contact": 3}


def settings_for(servers: str) -> Settings:
    return settings_of(servers, PARTITIONS)


@pytest.fixture
async def servers(kafka: str) -> str:
    await recreate_topics(settings_for(kafka))  # the topics of other tests have other partitions
    return kafka


@pytest.fixture
def crashable(tmp_path: Path) -> Iterator[LocalKafka]:
    """A broker of its own that the test may kill."""
    with LocalKafka(tmp_path, say=lambda _: None) as broker:
        yield broker


def event(lead: str, **customer: str) -> bytes:
    return orjson.dumps({"id": lead, "attributes": {"updated_at": "2026-01-31T12:00:00Z", "customer": customer}})


async def everything(servers: str, topic: str) -> list[ConsumerRecord]:
    """All records of a topic, from its beginning to its present end."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers)
    await consumer.start()
    try:
        parts = [TopicPartition(topic, number) for number in range(1 if topic == DEAD.name else PARTITIONS)]
        consumer.assign(parts)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(parts)
        records: list[ConsumerRecord] = []
        while any([await consumer.position(part) < ends[part] for part in parts]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                records += batch
        return records
    finally:
        await consumer.stop()


async def leads(servers: str) -> set[str]:
    return {decode_webhook(record.value).lead.id for record in await everything(servers, WEBHOOKS.name)}


class Server:
    """``python -m producers`` and an HTTP client of it."""

    def __init__(
        self, process: asyncio.subprocess.Process, port: int, internal_port: int, session: aiohttp.ClientSession
    ) -> None:
        self.process = process
        self._url = f"http://127.0.0.1:{port}"
        self._internal_url = f"http://127.0.0.1:{internal_port}"
        self._session = session

    async def post(self, body: bytes) -> tuple[int, dict[str, object]]:
        """Post to the route of C2S."""
        url, headers = f"{self._url}/api/v1/webhooks/c2s", {"X-Webhook-Token": TOKEN}
        async with self._session.post(url, data=body, headers=headers) as response:
            return response.status, await response.json()

    async def post_portal(self, lead: str) -> tuple[int, dict[str, str]]:
        """Post to the route of Grupo OLX; returns status and headers."""
        url = f"{self._url}/api/v1/webhooks/grupo-olx"
        headers = {"Authorization": f"Basic {base64.b64encode(PORTAL.encode()).decode()}"}
        body = {"originLeadId": lead, "clientListingId": "A1", "phoneNumber": "11987654321"}
        async with self._session.post(url, json=body, headers=headers) as response:
            return response.status, dict(response.headers)

    async def answers(self, status: int, lead: str) -> bool:
        """Whether posting ``lead`` gets this status."""
        return (await self.post(event(lead)))[0] == status

    async def ready(self) -> bool:
        """Whether /readyz returns this status."""
        async with self._session.get(f"{self._internal_url}/readyz") as response:
            return response.status == 200

    async def load(self, prefix: str, clients: int, stop: asyncio.Event, answered: list[str]) -> None:
        """Post until stopped or until the server is gone; notes the leads that got 200."""

        async def one(client: int) -> None:
            number = 0
            while not stop.is_set():
                lead = f"{prefix}-{client}-{number}"
                number += 1
                try:
                    status, _ = await self.post(event(lead, phone=f"119{client:04}{number:04}"))
                except (aiohttp.ClientError, ConnectionError):
                    return
                if status == 200:
                    answered.append(lead)

        await asyncio.gather(*(one(client) for client in range(clients)))


@asynccontextmanager
async def running(servers: str, **variables: str) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "producers",
        env={
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": servers,
            "C2S_WEBHOOK_TOKEN": TOKEN,
            "GOOGLE_ADS_KEY": "integration-key",
            "PRODUCER_PORT": "0",
            "LOG_JSON": "true",
            **variables,
        },
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    reader: asyncio.Task[bytes] | None = None
    try:
        line: dict[str, int] = {}
        while "port" not in line:
            line = orjson.loads(await process.stderr.readline())
        reader = asyncio.create_task(process.stderr.read())
        async with aiohttp.ClientSession() as session:
            yield Server(process, line["port"], line["internal_port"], session)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if reader is not None:
            await reader


async def test_each_webhook_is_on_its_keys_partition(servers: str) -> None:
    """A webhook is on its contact's partition with its key and CloudEvents headers, as it was received."""
    tag = uuid4().hex
    customers = [{"phone": "11987654321"}, {"phone": "(11) 91357-2468"}, {"email": "Ana@Example.com"}, {}]
    bodies = [event(f"{tag}-{number}", **customer) for number, customer in enumerate(customers)]
    bodies[3] = bodies[3].replace(f"{tag}-3".encode(), b"L-without-contact")
    async with running(servers) as server:
        await until(server.ready)
        status, answer = await server.post(b"[" + b",".join(bodies) + b"]")
        assert (status, answer["processed"]) == (200, 4)
    found = {record.key.decode(): record for record in await everything(servers, WEBHOOKS.name)}
    for (key, partition), body in zip(JAVAS.items(), bodies, strict=True):
        record = found[key]
        assert record.partition == partition
        assert body in record.value
        assert {name for name, _ in record.headers} >= {"ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time"}


async def test_bad_webhooks_are_kept_byte_by_byte(servers: str) -> None:
    """An unreadable webhook is a dead letter with its bytes and reason; the good one beside it is in the topic."""
    tag = uuid4().hex
    bad = f'{{"id": "{tag}",  "attributes": 1}}'.encode()
    async with running(servers) as server:
        await until(server.ready)
        status, answer = await server.post(b"[" + bad + b"," + event(f"{tag}-good") + b"]")
        assert (status, answer["processed"]) == (200, 1)
    assert f"{tag}-good" in await leads(servers)
    (letter,) = [record for record in await everything(servers, DEAD.name) if tag.encode() in record.value]
    assert letter.value == bad
    assert dict(letter.headers)["dl-reason"] == b"attributes: an object is required"


async def test_the_largest_body_fits_the_topic(servers: str) -> None:
    """The broker accepts a body of 1 MiB with everything that is added to it."""
    lead = uuid4().hex
    body = event(lead, phone="11987654321", name="x" * 500, pad="\u00e7" * 500)
    body = body[:-1] + b',"pad":"' + b"x" * (1_048_576 - len(body) - 9) + b'"}'
    assert len(body) == 1_048_576
    async with running(servers) as server:
        await until(server.ready)
        assert (await server.post(body))[0] == 200
    assert lead in await leads(servers)


async def published(publisher: KafkaPublisher, records: Sequence[Record]) -> bool:
    try:
        await publisher.publish(records)
    except BrokerUnavailableError:
        return False
    return True


async def test_after_a_refused_batch_the_next_ones_are_accepted(servers: str) -> None:
    """A record that the broker refuses gets an error and does not block later ones."""
    bodies = [event(uuid4().hex, phone="11987654321") for _ in range(3)]
    parts = [RawWebhook(body, orjson.loads(body)) for body in bodies]
    # One partition for all: that is where the refused batch leaves a gap.
    good = [webhook_record(Source.C2S, part, datetime.now(UTC), frozenset()) for part in parts]
    large = msgspec.structs.replace(good[0], value=b"x" * 2_000_000)
    async with open_publisher(settings_for(servers), flush=5) as publisher:
        await until(partial(published, publisher, good[:1]))
        with pytest.raises(BrokerUnavailableError, match="MessageSizeTooLarge"):
            await publisher.publish([large])
        await until(partial(published, publisher, good[1:]))
    values = {record.value for record in await everything(servers, WEBHOOKS.name)}
    assert {one.value for one in good} <= values
    assert large.value not in values


async def test_a_missing_topic_is_not_ready_and_answered_503(crashable: LocalKafka) -> None:
    """Without the topics every webhook gets 503; after `topics` has run they are accepted without a restart."""
    settings = settings_for(crashable.bootstrap_servers)
    async with running(crashable.bootstrap_servers, PRODUCER_PUBLISH_TIMEOUT="1s") as server:
        await until(lambda: server.answers(503, "L1"))
        assert not await server.ready()
        await make_topics(settings)
        await until(server.ready)
        await until(lambda: server.answers(200, "L1"))
    assert await leads(crashable.bootstrap_servers) == {"L1"}


async def test_a_broker_that_goes_and_comes_back(crashable: LocalKafka) -> None:
    """Without the broker a webhook gets 503 in bounded time; afterwards every webhook that got 200 is there."""
    servers = crashable.bootstrap_servers
    settings = settings_for(servers)
    await make_topics(settings)
    async with running(servers, PRODUCER_PUBLISH_TIMEOUT="1s") as server:
        await until(server.ready)
        answered = {"L0"}
        assert (await server.post(event("L0")))[0] == 200
        await asyncio.to_thread(crashable.kill)
        started = time.monotonic()
        for number in range(1, 4):
            assert (await server.post(event(f"away-{number}")))[0] == 503
        assert not await server.ready()
        assert time.monotonic() - started < 40
        await asyncio.to_thread(crashable.start)
        await until(server.ready)
        for lead in ("L1", "L2", "L3"):
            await until(partial(server.answers, 200, lead))
            answered.add(lead)
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(server.process.wait(), LIMIT) == 0
    assert answered <= await leads(servers)


async def test_a_portal_is_answered_in_time_while_the_broker_hangs(crashable: LocalKafka) -> None:
    """Grupo OLX gets 503 before it gives up; a webhook that was published all the same has the id of its repeat."""
    servers = crashable.bootstrap_servers
    await make_topics(settings_for(servers))
    assert crashable.pid is not None
    async with running(servers, GRUPO_OLX_CREDENTIALS=PORTAL) as server:
        await until(server.ready)
        assert (await server.post_portal("o1"))[0] == 200
        os.kill(crashable.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            status, headers = await server.post_portal("o2")
            took = time.monotonic() - started
        finally:
            os.kill(crashable.pid, signal.SIGCONT)
        assert (status, "Retry-After" in headers, took < PORTAL_WAITS) == (503, True, True)

        async def is_taken() -> bool:
            return (await server.post_portal("o2"))[0] == 200

        await until(is_taken)
    second = [record for record in await everything(servers, WEBHOOKS.name) if b'"o2"' in record.value]
    assert len(second) >= 1
    assert len({dict(record.headers)["ce_id"] for record in second}) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
async def test_every_webhook_that_got_200_survives_the_end_of_the_process(
    servers: str, number: signal.Signals, code: int
) -> None:
    """Stopped or killed under load, every webhook that got 200 is in the topic."""
    stop = asyncio.Event()
    async with running(servers) as server:
        await until(server.ready)
        answered: list[str] = []
        load = asyncio.create_task(server.load(uuid4().hex, 16, stop, answered))
        await until_true(lambda: len(answered) > 64)
        server.process.send_signal(number)
        assert await asyncio.wait_for(server.process.wait(), LIMIT) == code
        stop.set()
        await load
    assert set(answered) <= await leads(servers)


async def test_the_example_of_an_upstream_producer_publishes(servers: str) -> None:
    """examples/publish.py writes records that the stream can read."""
    tag = uuid4().hex
    lines = b"\n".join(event(f"{tag}-{number}", phone="11987654321") for number in range(3))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "examples/publish.py"),
        "c2s",
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": servers},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(lines), LIMIT)
    assert (process.returncode, out) == (0, b"3 published\n")
    assert {f"{tag}-{number}" for number in range(3)} <= await leads(servers)
