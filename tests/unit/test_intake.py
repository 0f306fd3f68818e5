"""The intake, with a publisher in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import orjson

from producers.intake import Intake
from producers.memory import MemoryPublisher
from producers.records import RawWebhook
from producers.sources import c2s
from stream.domain.leads import Source

EVENT = b'{"id":"L%d","attributes":{"updated_at":"2026-01-31T12:00:00Z"}}'
BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)


def clock() -> Iterator[datetime]:
    """A clock that advances by a second at each reading."""
    return (BEGIN + timedelta(seconds=number) for number in count())


async def test_webhooks_of_one_tick_share_their_time() -> None:
    """Webhooks of one tick have the same time, and those of a later tick have a later one."""
    publisher, times = MemoryPublisher(), clock()
    intake = Intake(publisher, 100, frozenset(), lambda: next(times))
    await asyncio.gather(*(intake.take(Source.C2S, c2s.raw_webhooks(EVENT % number)) for number in range(3)))
    await intake.take(Source.C2S, c2s.raw_webhooks(EVENT % 3))
    first, second, third, later = (orjson.loads(record.value)["received_at"] for record in publisher.webhooks)
    assert first == second == third
    assert later > first


async def test_the_webhooks_of_a_body_are_parsed_one_after_the_other() -> None:
    """At most two parsed webhooks of a body are in memory."""
    publisher, alive, most = MemoryPublisher(), 0, 0

    class Watched(dict[str, object]):
        def __init__(self, *args: object) -> None:
            nonlocal alive, most
            super().__init__(*args)
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    body = b"[" + b",".join(EVENT % number for number in range(10)) + b"]"
    raw_webhooks = (RawWebhook(raw_webhook.raw, Watched(raw_webhook.payload)) for raw_webhook in c2s.raw_webhooks(body))
    receipt = await Intake(publisher, 100, frozenset(), lambda: BEGIN).take(Source.C2S, raw_webhooks)
    assert (receipt.processed, len(publisher.webhooks)) == (10, 10)
    assert (alive, most <= 2) == (0, True)
