"""Everything that anybody can write to ``webhooks``, between valid webhooks."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import ClassVar

import psutil
from aiokafka import AIOKafkaProducer

from stream import topics
from stream.kafka.clients import client_options
from stream.kafka.header_names import tolerate_invalid_header_names
from tests.chaos import scenario
from tests.chaos.hostile import Hostile, Writer
from tests.chaos.rig import Rig
from tests.support.odd_header import send_odd_header

CODECS = (None, "gzip")
ODD = (b"noise", b"with a header whose name is no text", b"noise")
LARGEST = 4_000_000  # bytes; the broker is to be the one who refuses
AT_ONCE = 10  # messages
WEBHOOKS = topics.WEBHOOKS.name


class Scenario(scenario.Scenario):
    """Hostile records become dead letters, the valid ones in between are answered, and the worker never restarts."""

    number, name = 6, "hostile"
    full = {"webhooks": 5_000, "hostile": 10_000, "per_second": 100}
    small = {"webhooks": 400, "hostile": 600, "per_second": 100}
    # Nothing is away, so that nobody need be parked; and what the fuse is for is not what this is about.
    environment: ClassVar = {"LOOKUP_DEADLINE": "30s", "FUSE_IN_A_ROW": "100000", "FUSE_SHARE": "1"}

    def play(self, rig: Rig, webhooks: int, hostile: int, per_second: int) -> None:
        """``hostile``: the number of hostile records beside the valid ``webhooks``."""
        tolerate_invalid_header_names()  # the scenario reads these messages as well
        worker = rig.stack.children["worker"]
        pid = worker.pid
        people = rig.people(webhooks // 10)
        messages = list(Writer(rig.chance, people, rig.stack.settings().topic_partitions).messages(hostile))
        load = rig.load(webhooks, per_second=per_second)
        asyncio.run(_publish(rig, messages, seconds=webhooks / per_second))
        load.wait()
        rig.settle()
        rig.promise(worker.is_running and worker.pid == pid, "the worker was restarted")
        rig.note("worker's memory", f"{psutil.Process(worker.pid).memory_info().rss / 1e6:.0f} MB")
        self.hold(rig, messages)

    def hold(self, rig: Rig, messages: list[Hostile]) -> None:
        """Check that each kind ended as it must, and that no valid webhook is a dead letter."""
        dead = sum(message.is_dead for message in messages) + len(ODD) * rig.stack.settings().topic_partitions
        letters = rig.evidence.letters
        dead_letters = len({letter.origin for letter in letters})
        rig.promise(dead_letters == dead, f"{dead_letters} messages are dead letters, {dead} can't be read")
        killed = [letter.event_id for letter in letters if letter.event_id]
        rig.promise(not killed, f"good webhooks are dead: {killed[:5]}")


async def _publish(rig: Rig, messages: list[Hostile], *, seconds: float) -> None:
    """Write to the topic for this long as a foreign producer: not idempotent, and sometimes compressed."""
    settings, began = client_options(rig.stack.settings()), time.monotonic()
    async with AsyncExitStack() as stack:
        producers = [AIOKafkaProducer(**settings, compression_type=one, max_request_size=LARGEST) for one in CODECS]
        for producer in producers:
            await producer.start()
            stack.push_async_callback(producer.stop)
        for first in range(0, len(messages), AT_ONCE):
            producer = producers[first // AT_ONCE % len(producers)]
            some = messages[first : first + AT_ONCE]
            sent = [
                await producer.send(WEBHOOKS, one.value, one.key, one.partition, headers=one.headers) for one in some
            ]
            await asyncio.gather(*sent)
            due = began + seconds * first / len(messages)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        for partition in range(rig.stack.settings().topic_partitions):
            await send_odd_header(producers[0], WEBHOOKS, partition, *ODD)
