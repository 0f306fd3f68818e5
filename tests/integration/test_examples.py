"""The examples work on a real broker as they say."""

from __future__ import annotations

import asyncio
import sys

import orjson

from stream.settings import Settings
from stream.topics import WEBHOOKS
from tests.support.enriched import ROOT, committed, environment, event, everything, publish, start, until
from tests.support.waiting import LIMIT

GROUP = "a-downstream-team"


async def test_a_downstream_consumer_sees_each_event_once(broker: Settings) -> None:
    """Repeats are dropped by (event_id, revision), contacts are masked, and everything is committed."""
    pending, known = event("A", None, outcome="pending"), event("A")
    await publish(broker, [pending, known, pending, known, event("B", None), event("B", None)])
    process = await start(broker, "examples/consumer.py", GROUP)
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT):
        lines = [(await process.stdout.readline()).decode().strip() for _ in range(3)]
    assert lines == ["A pending ***4321", "A enriched ***4321", "B not_found ***4321"]
    await until(lambda: _all_committed(broker, 6))
    process.terminate()
    rest, said = await process.communicate()
    assert rest == b""
    assert b"Traceback" not in said  # a broker that has just started is asked for its coordinator more than once


async def _all_committed(settings: Settings, count: int) -> bool:
    return sum((await committed(settings, GROUP)).values()) == count


async def test_an_upstream_producer_writes_webhooks_that_the_worker_reads(broker: Settings) -> None:
    """Each line of its input becomes one webhook in the topic, as its source would have posted it."""
    lead = {"id": "L1", "attributes": {"updated_at": "2026-01-31T12:00:00Z", "customer": {"phone": "11987654321"}}}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "examples/publish.py", "c2s"),
        cwd=ROOT,
        env=environment(broker),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(LIMIT):
        out, _ = await process.communicate(orjson.dumps(lead))
    assert out == b"1 published\n"
    (record,) = await everything(broker, WEBHOOKS.name)
    assert orjson.loads(record.value)["payload"] == lead
