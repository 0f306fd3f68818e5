"""What a client can do to the producers' server: too much, too slow, too odd. Raw sockets where HTTP clients behave."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from producers.app import App
from producers.limits import MIB as LARGEST_BODY
from producers.limits import Limits
from producers.memory import MemoryPublisher
from producers.server import listen
from stream.domain.errors import StopError
from stream.settings import load

GOOD = b'{"id":"L1","attributes":{"updated_at":"2026-01-31T12:00:00Z"}}'
HEAD = b"POST /api/v1/webhooks/c2s HTTP/1.1\r\nHost: x\r\nX-Webhook-Token: secret\r\n"
SECRETS = {"C2S_WEBHOOK_TOKEN": "secret", "GOOGLE_ADS_KEY": "key"}
MOST_CONNECTIONS = 20


@dataclass
class Front:
    """A server's port, and the broker behind it."""

    port: int
    broker: MemoryPublisher

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A plain connection."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def say(self, *pieces: bytes, pause: float = 0.0) -> bytes:
        """Send bytes, and give what comes back until the server closes or 3 seconds are over."""
        reader, writer = await self.connect()
        answer = bytearray()

        async def listen_to() -> None:
            with contextlib.suppress(ConnectionError):
                while chunk := await reader.read(65_536):
                    answer.extend(chunk)

        listening = asyncio.create_task(listen_to())
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                if writer.is_closing():
                    break
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
        await asyncio.wait([listening], timeout=3)
        listening.cancel()
        writer.close()
        return bytes(answer)

    async def post(self, body: bytes, path: str = "/api/v1/webhooks/c2s", **headers: str) -> tuple[int, bytes]:
        """Status and body of a POST with the token."""
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.post(
                f"http://127.0.0.1:{self.port}{path}",
                data=io.BytesIO(body),
                headers={"X-Webhook-Token": "secret", **headers},
                skip_auto_headers=["Content-Type"],
            ) as response,
        ):
            return response.status, await response.read()


@asynccontextmanager
async def opened(grace: float = 1.0, **limits: Any) -> AsyncIterator[Front]:
    broker, shrunk = MemoryPublisher(), Limits(**limits)
    app = App(load(SECRETS), broker, lambda: datetime.now(UTC), shrunk)
    async with listen(app.handle, "127.0.0.1", 0, MOST_CONNECTIONS, grace, limits=shrunk) as port:
        yield Front(port, broker)


@pytest.fixture
async def front(request: pytest.FixtureRequest) -> AsyncIterator[Front]:
    async with opened(**getattr(request, "param", {})) as one:
        yield one


def limited(**limits: float) -> pytest.MarkDecorator:
    """The server of a test has these limits."""
    return pytest.mark.parametrize("front", [limits], indirect=True, ids=["shrunk"])


def padded(size: int) -> bytes:
    """A good event of ``size`` bytes."""
    start, end = GOOD[:-1] + b',"pad":"', b'"}'
    return start + b"x" * (size - len(start) - len(end)) + end


async def test_a_body_of_one_mebibyte_is_taken_and_a_larger_one_is_not(front: Front) -> None:
    """The limit holds whether the length is announced or not."""
    assert (await front.post(padded(LARGEST_BODY)))[0] == 200
    assert (await front.post(padded(LARGEST_BODY + 1)))[0] == 413
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer = await front.say(
        HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n", *[chunk] * 17, b"0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert len(front.broker.records) == 1


async def test_a_body_of_too_many_events_is_refused(front: Front) -> None:
    """The work that one body can make is bounded."""
    status, _ = await front.post(b"[" + b",".join([b"0"] * 10_001) + b"]")
    assert status == 413
    assert front.broker.records == []


async def test_a_large_batch_lets_others_have_their_turn(front: Front) -> None:
    """While a body of 10,000 events is read, the health page answers."""
    large = asyncio.create_task(front.post(b"[" + b",".join([GOOD] * 10_000) + b"]"))
    async with aiohttp.ClientSession() as session:
        answered = 0
        while not large.done():
            async with session.get(f"http://127.0.0.1:{front.port}/healthz") as response:
                answered += response.status == 200
    assert (await large)[0] == 200
    assert answered > 3


@limited(linger=0.1)
async def test_a_wrong_token_is_refused_before_the_body_is_read(front: Front) -> None:
    """Who has no token can't make us hold a body."""
    answer = await front.say(HEAD.replace(b"secret", b"wrong") + b"Content-Length: 1000000\r\n\r\n", b"x")
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_requests_sent_ahead_are_answered_in_order(front: Front) -> None:
    """Far more than a connection keeps waiting at once: reading stops and goes on, and none is lost or left lying."""
    count, large = 200, b" " * 100_000
    requests = b"".join(
        HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        for number in range(count)
        for body in [GOOD.replace(b"L1", b"L%d" % number) + (large if number % 20 == 0 else b"")]
    )
    reader, writer = await front.connect()
    writer.write(requests)
    async with asyncio.timeout(20):
        for _ in range(count):
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(b"}")
    writer.close()
    assert [b'"L%d"' % number in record.value for number, record in enumerate(front.broker.webhooks)] == [True] * count


async def test_who_does_not_read_its_answers_is_not_served_on(front: Front) -> None:
    """No more than the buffers hold is written for a client that does not read; once it reads it is served on."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)  # noqa: FBT003 - socket's own
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", front.port))
    reader, writer = await asyncio.open_connection(sock=plain)
    small = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(small * 4_000 + HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(GOOD), GOOD))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            while not front.broker.webhooks:  # noqa: ASYNC110 - no event tells of what does not happen
                await asyncio.sleep(0.01)
    assert not front.broker.webhooks
    async with asyncio.timeout(20):
        while not front.broker.webhooks:
            assert await reader.read(1_000_000)
    writer.close()


async def test_compressed_bodies_are_refused(front: Front) -> None:
    """No bomb is unpacked."""
    assert (await front.post(GOOD, **{"Content-Encoding": "gzip"}))[0] == 415
    assert (await front.post(GOOD, **{"Content-Encoding": "identity"}))[0] == 200


async def test_a_client_that_asks_first_is_told_to_go_on(front: Front) -> None:
    """``Expect: 100-continue`` is answered, after the token was looked at."""
    length = b"Connection: close\r\nContent-Length: %d\r\n" % len(GOOD)
    answer = await front.say(HEAD + length + b"Expect: 100-continue\r\n\r\n", GOOD, pause=0.05)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    wrong = HEAD.replace(b"secret", b"wrong")
    assert (await front.say(wrong + length + b"Expect: 100-continue\r\n\r\n", GOOD)).startswith(b"HTTP/1.1 401 ")
    assert (await front.say(HEAD + length + b"Expect: money\r\n\r\n", GOOD)).startswith(b"HTTP/1.1 417 ")


@limited(head=0.2)
async def test_a_slow_head_is_cut_off(front: Front) -> None:
    """A connection that drips its head is closed, the first time and after an answer."""
    started = asyncio.get_running_loop().time()
    assert await front.say(b"POST ", *[b"x"] * 20, pause=0.1) == b""
    answer = await front.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET ", *[b"x"] * 20, pause=0.1)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert asyncio.get_running_loop().time() - started < 3


@limited(head=0.1)
async def test_a_slow_answer_is_not_a_slow_head(front: Front) -> None:
    """While the broker is waited for, the head's time does not run."""
    front.broker.gate.clear()
    posted = asyncio.create_task(front.post(GOOD))
    await asyncio.sleep(0.4)
    front.broker.gate.set()
    assert (await posted)[0] == 200


@limited(first_byte=0.2)
async def test_a_silent_connection_is_closed(front: Front) -> None:
    """Who says nothing at all does not stay for ever."""
    reader, writer = await front.connect()
    async with asyncio.timeout(3):
        assert await reader.read() == b""
    writer.close()


@limited(body=0.2, linger=0.1)
async def test_a_slow_body_is_cut_off(front: Front) -> None:
    """A body that drips gets 408."""
    answer = await front.say(HEAD + b"Content-Length: 100\r\n\r\n", *[b"x"] * 5, pause=0.1)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert front.broker.records == []


async def test_a_client_that_leaves_in_its_body_harms_nobody(front: Front) -> None:
    """Half a body is not published."""
    _, writer = await front.connect()
    writer.write(HEAD + b"Content-Length: 1000\r\n\r\n" + GOOD)
    await writer.drain()
    writer.transport.abort()
    assert (await front.post(GOOD))[0] == 200
    assert len(front.broker.records) == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc secret\r\n\r\n",
        b"POST /?token=secret HTTP/9.9\r\n\r\n",
        HEAD + b"X: " + b"a" * 10_000 + b"\r\n\r\n",
        HEAD + b"".join(b"X-%d: secret\r\n" % number for number in range(200)) + b"\r\n",
        b"GET /" + b"secret" * 2_000 + b" HTTP/1.1\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nsecret\r\n",
    ],
    ids=["tls", "version", "long header", "many headers", "long line", "length", "smuggling", "chunks"],
)
async def test_what_is_not_http_is_refused_without_an_echo(
    front: Front, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken request gets 400; neither the answer nor the log repeats what was sent, nor shows our insides."""
    answer = await front.say(request_bytes)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    for word in (b"secret", b"Traceback", b"aiohttp.", b"http_exceptions"):
        assert word not in answer
        assert word.decode() not in caplog.text


async def test_connections_are_bounded(front: Front) -> None:
    """One connection too many is turned away with 503; when one goes, there is room again."""
    held = [await front.connect() for _ in range(MOST_CONNECTIONS)]
    for _, writer in held:
        writer.write(b"GET ")
    assert (await front.say()).startswith(b"HTTP/1.1 503 ")
    for _, writer in held:
        writer.close()
    async with asyncio.timeout(3):
        while b" 200 OK" not in await front.say(b"GET /healthz HTTP/1.0\r\n\r\n"):
            pass


async def test_a_stop_lets_requests_under_way_end() -> None:
    """At the end nothing new is accepted, and what waits for the broker is answered first."""
    async with opened(grace=4.0) as front:
        front.broker.gate.clear()
        posted = asyncio.create_task(front.post(GOOD))
        idle = await front.connect()
        async with asyncio.timeout(3):
            while not front.broker.waiting:  # noqa: ASYNC110 - what is waited for sets no event
                await asyncio.sleep(0.005)
        asyncio.get_running_loop().call_later(0.2, front.broker.gate.set)
        started = asyncio.get_running_loop().time()
    assert (await posted)[0] == 200
    assert asyncio.get_running_loop().time() - started < 3
    idle[1].close()
    with pytest.raises(ConnectionRefusedError):
        await front.connect()


async def test_a_port_that_is_taken_is_said_clearly(front: Front) -> None:
    """The reason for not starting names the address."""
    with pytest.raises(StopError, match=f"127.0.0.1 port {front.port}"):
        async with listen(
            App(load(SECRETS), front.broker, lambda: datetime.now(UTC)).handle, "127.0.0.1", front.port, 1, 1
        ):
            pass
