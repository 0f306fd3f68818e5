"""Unusual but legal HTTP: upgrades, half-closed connections, rare methods.

Real sockets on uvloop, the loop of production.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.support.receiver import (
    C2S,
    EVENT,
    HEALTH,
    TIMEOUT_SECONDS,
    TOKEN,
    event,
    form,
    post,
    serving,
)

UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")


@pytest.mark.parametrize(
    "first", [HEALTH[:-2] + "\r\n".join((*UPGRADE, "", "")).encode(), event(TOKEN, *UPGRADE)], ids=["get", "post"]
)
@pytest.mark.parametrize("version", ["h2c", "websocket"])
async def test_nothing_is_lost_behind_an_upgrade(first: bytes, version: str) -> None:
    """A request to upgrade is answered; a request pipelined behind it is answered or not accepted."""
    async with serving() as receiver:
        answers = await receiver.read_until_closed(
            first.replace(b"Upgrade: h2c", f"Upgrade: {version}".encode()) + event()
        )
        assert [answer.status for answer in answers] == [200] * len(answers)
        assert answers[-1].headers["connection"] == "close"
        assert len(receiver.broker.webhooks) == len(answers) - (b"GET" in first)


@pytest.mark.parametrize("count", [1, 5, 60, 500])
@pytest.mark.parametrize("request_bytes", [event(), form()], ids=["c2s", "google"])
async def test_a_half_closed_client_is_answered(request_bytes: bytes, count: int) -> None:
    """A client that ends its side after its requests gets every answer, and then the end."""
    async with serving() as receiver:
        answers = await receiver.read_until_closed(request_bytes * count, half_close=True)
        assert [answer.status for answer in answers] == [200] * count
        assert len(receiver.broker.webhooks) == count


async def test_a_half_closed_client_is_answered_after_a_slow_acknowledgement() -> None:
    """A half-closed client gets its answer however long the broker takes."""
    async with serving() as receiver:
        receiver.broker.gate.clear()
        asked = asyncio.create_task(receiver.read_until_closed(event(), half_close=True))
        await asyncio.sleep(0.3)
        assert not asked.done()
        receiver.broker.gate.set()
        assert [answer.status for answer in await asked] == [200]


async def test_an_incomplete_request_of_a_half_closed_client_is_not_published() -> None:
    """An incomplete body is answered 400, an incomplete head gets no answer, and neither is published."""
    async with serving(linger=0.1) as receiver:
        assert [one.status for one in await receiver.read_until_closed(event()[:-5], half_close=True)] == [400]
        assert await receiver.read_until_closed(event()[:40], half_close=True) == []
        assert await receiver.read_until_closed(b"", half_close=True) == []
        assert receiver.broker.records == []


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (event().replace(C2S.encode(), b"http://leads.example.com" + C2S.encode()), 200),
        (event().replace(C2S.encode(), C2S.encode() + b"?x=1"), 200),
        (post(f"{C2S}?token={TOKEN}", EVENT), 200),
        (b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
        (b"OPTIONS /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (
            f"POST {C2S} HTTP/1.1\r\nHost: x\r\nX-Webhook-Token: {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            + b"%x\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(EVENT), EVENT),
            200,
        ),
    ],
)
async def test_unusual_requests_are_answered(request_bytes: bytes, status: int) -> None:
    """Absolute targets, trailers and rare methods are answered, and only webhooks and health are public."""
    async with serving() as receiver:
        reader, writer = await receiver.connect()
        writer.write(request_bytes)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert int(head.split()[1]) == status
        writer.close()


async def test_an_endless_head_ends_its_connection() -> None:
    """A connection whose head exceeds the limit is closed, and others are served."""
    async with serving() as receiver:
        reader, writer = await receiver.connect()
        writer.write(b"POST /api/v1/webhooks/google-ads HTTP/1.1\r\nHost: x\r\n")
        line = b"X-%d: " + b"a" * 4_000 + b"\r\n"
        with contextlib.suppress(ConnectionError):
            for number in range(60):
                writer.write(line.replace(b"%d", str(number).encode()))
                await writer.drain()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert (await receiver.ask(HEALTH)).status == 200
        writer.close()
