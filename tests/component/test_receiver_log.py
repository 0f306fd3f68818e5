"""The log of the receiver: its lines about webhooks, and how many of them a stranger can cause."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
import pytest
from structlog.testing import capture_logs

from producers.app import App
from producers.memory import MemoryPublisher
from producers.sampled import SampledLog
from producers.server import listen
from stream.settings import load

C2S, GOOGLE = "/api/v1/webhooks/c2s", "/api/v1/webhooks/google-ads"
TOKEN, KEY = "a-token-of-the-tests", "a-google-key-of-the-tests"
GOOD = {"id": "L1", "attributes": {"updated_at": "2026-01-31T12:00:00Z"}}


@pytest.fixture
async def broker() -> MemoryPublisher:
    """What the server publishes to."""
    return MemoryPublisher()


@pytest.fixture
async def session(broker: MemoryPublisher) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server."""
    app = App(load({"C2S_WEBHOOK_TOKEN": TOKEN, "GOOGLE_ADS_KEY": KEY}), broker, lambda: datetime.now(UTC))
    async with (
        listen(app.handle, "127.0.0.1", 0, 100, 1.0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"X-Webhook-Token": TOKEN}) as client,
    ):
        yield client


async def post(session: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, Any]:
    async with session.post(path, data=orjson.dumps(body)) as response:
        return response.status, await response.json()


@pytest.mark.parametrize(
    ("path", "body", "lead"),
    [
        (C2S, {"id": "L7", "attributes": {"updated_at": "yesterday"}}, "L7"),
        (C2S, [GOOD, {"id": "L7", "attributes": 1}], "L7"),
        (C2S, {"attributes": {}}, ""),
        (C2S, 42, ""),
        (C2S, {"id": ["L7"]}, ""),
        (GOOGLE, {"google_key": KEY, "lead_id": "", "id": "G7"}, "G7"),
    ],
)
async def test_a_rejected_webhook_has_a_line_with_its_lead_and_event_id(
    session: aiohttp.ClientSession, broker: MemoryPublisher, path: str, body: Any, lead: str
) -> None:
    """The line names the lead, the id of the dead letter and the field at fault."""
    with capture_logs() as lines:
        await post(session, path, body)
    (line,) = [line for line in lines if line["event"] == "webhook rejected"]
    (letter,) = broker.dead
    assert (line["lead"], line["event_id"]) == (lead, letter.identity)
    assert {"field", "reason"} <= set(line)


async def test_a_webhook_that_was_not_acknowledged_has_a_line(
    session: aiohttp.ClientSession, broker: MemoryPublisher
) -> None:
    """The line names lead and event id, and many webhooks of an outage have few lines."""
    with capture_logs() as lines:
        for _ in range(50):
            broker.failures = 1
            assert (await post(session, C2S, GOOD))[0] == 503
        assert (await post(session, C2S, GOOD))[0] == 200
    of_webhooks = [line for line in lines if line["event"] == "webhook not accepted"]
    assert [(line["lead"], line["event_id"]) for line in of_webhooks] == [("L1", broker.webhooks[0].identity)]
    assert len(lines) < 10


async def test_a_large_body_of_rejected_webhooks_has_few_lines(session: aiohttp.ClientSession) -> None:
    """The number of lines for one body is limited."""
    with capture_logs() as lines:
        status, answer = await post(session, C2S, [{"id": f"L{number}"} for number in range(1_000)])
    assert (status, len(answer["rejected"])) == (422, 1_000)
    assert len(lines) <= 20


def test_a_sampled_line_has_the_number_of_suppressed_lines() -> None:
    """One line of a kind is written in an interval, and the next one has the number of those in between."""
    now = 0.0
    sampled = SampledLog(1.0, lambda: now)
    with capture_logs() as lines:
        for _ in range(5):
            sampled.warning("refused", kind=401)
        sampled.warning("refused", kind=429)
        now = 1.0
        sampled.warning("refused", kind=401)
    assert [line.get("suppressed", 0) for line in lines] == [0, 0, 4]
