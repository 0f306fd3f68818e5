"""How far an agent reads ahead of its oldest unfinished webhook."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from stream import topics
from stream.domain.events import Outcome
from stream.domain.identity import contact_of
from stream.domain.leads import decode_webhook
from stream.faust_runtime.app import make_app
from stream.local.people import population
from stream.settings import load
from tests.support.agent_rig import PARTITION, Worker
from tests.support.fakes import c2s_webhook
from tests.support.gated_rig import Rig

SPAN, EARLY = 10, 8
LIMIT = 60.0  # seconds
(SOMEONE,) = population(1, seed=41)
MISS = c2s_webhook("slow", name=SOMEONE.name, phone=SOMEONE.phone)


def hits(count: int) -> list[bytes]:
    """Webhooks that are answered at once, because they name no contact."""
    return [c2s_webhook(f"hit-{number}") for number in range(count)]


@pytest.fixture
def rig() -> Rig:
    """A world whose database can be blocked."""
    rig = Rig()
    rig.gate.open.clear()
    return rig


async def test_the_oldest_look_up_is_parked_before_the_span_is_full(rig: Rig) -> None:
    """At four fifths of the span it goes to the retry topic. Hits do not wait."""
    worker = Worker(rig, span=SPAN)
    async with asyncio.timeout(LIMIT):
        await worker.read(MISS)
        for number, hit in enumerate(hits(5 * SPAN)):
            await worker.read(hit)
            worker.producer.acknowledge()
            assert len(worker.producer.of(topics.RETRIES[0].name)) == (number >= EARLY - 2)
    (parked,) = worker.producer.of(topics.RETRIES[0].name)
    assert (parked.value, dict(parked.headers)["reason"]) == (MISS, b"span")
    assert parked.key == contact_of(decode_webhook(MISS).lead, frozenset()).key.encode()
    assert [event.outcome for event in worker.events()].count(Outcome.PENDING) == 1
    tracker = worker.trackers.active()[PARTITION]
    assert (tracker.span, tracker.watermark) == (0, 5 * SPAN + 1)


async def test_a_full_span_stops_reading_until_its_oldest_webhook_is_completed(rig: Rig) -> None:
    """While the broker acknowledges nothing, no more than the span is read."""
    worker = Worker(rig, span=SPAN)
    reading = asyncio.create_task(worker.read(*hits(3 * SPAN)))
    most = 0
    async with asyncio.timeout(LIMIT):
        while not reading.done():
            before = -1
            while len(worker.producer.records) != before:
                before = len(worker.producer.records)
                await asyncio.sleep(0)
            most = max(most, worker.trackers.unfinished)
            worker.producer.acknowledge()
            await asyncio.sleep(0)
    await reading
    assert most == SPAN
    assert len(worker.events()) == 3 * SPAN


def test_buffered_records_never_fill_the_span() -> None:
    """They count in the span: if they filled it, the agent would wait for records behind itself."""
    smallest = load({"MAX_UNFINISHED_SPAN": "1000"})
    with pytest.raises(ValidationError, match="MAX_UNFINISHED_SPAN"):
        load({"MAX_UNFINISHED_SPAN": "999"})
    for settings, span in ((smallest, 1_000), (load({}), 20_000)):
        conf = make_app(settings).conf
        assert conf.stream_buffer_maxsize + conf.broker_max_poll_records < span * 0.8
