"""The limits of the producers' server for one client. Raw sockets where an HTTP client would be too correct."""

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
from producers.limits import MIB as MAX_BODY_BYTES
from producers.limits import Limits
from producers.memory import MemoryPublisher
from producers.server import listen
from stream.domain.errors import StopError
from stream.settings import load

GOOD = b'{"id":"L1","attributes":{"updated_at":"2026-01-31T12:00:00Z"}}'
HEAD = b"POST /api/v1/webhooks/c2s HTTP/1.1\r\nHost: x\r\nX-Webhook-Token: secret\r\n"
SECRETS = {"C2S_WEBHOOK_TOKEN": "secret", "GOOGLE_ADS_KEY": "key"}
MAX_CONNECTIONS = 20


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
async def serving(grace: float = 1.0, **limits: Any) -> AsyncIterator[Front]:
    broker, shrunk = MemoryPublisher(), Limits(**limits)
    app = App(load(SECRETS), broker, lambda: datetime.now(UTC), shrunk)
    async with listen(app.handle, "127.0.0.1", 0, MAX_CONNECTIONS, grace, limits=shrunk) as port:
        yield Front(port, broker)


@pytest.fixture
async def front(request: pytest.FixtureRequest) -> AsyncIterator[Front]:
    async with serving(**getattr(request, "param", {})) as one:
        yield one


def limited(**limits: float) -> pytest.MarkDecorator:
    """Serve a test with these limits."""
    return pytest.mark.parametrize("front", [limits], indirect=True, ids=["shrunk"])


def padded(size: int) -> bytes:
    """A readable event of ``size`` bytes."""
    start, end = GOOD[:-1] + b',"pad":"', b'"}'
    return start + b"x" * (size - len(start) - len(end)) + end


async def test_a_body_of_one_mebibyte_is_accepted_and_a_larger_one_is_refused(front: Front) -> None:
    """The limit holds whether the length is announced or not."""
    assert (await front.post(padded(MAX_BODY_BYTES)))[0] == 200
    assert (await front.post(padded(MAX_BODY_BYTES + 1)))[0] == 413
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer = await front.say(
        HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n", *[chunk] * 17, b"0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert len(front.broker.records) == 1


async def test_a_body_of_too_many_events_is_refused(front: Front) -> None:
    """A body with more than 10,000 events is answered 413."""
    status, _ = await front.post(b"[" + b",".join([b"0"] * 10_001) + b"]")
    assert status == 413
    assert front.broker.records == []


async def test_a_large_body_does_not_hold_up_other_requests(front: Front) -> None:
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
    """A sender without the token can't make the server hold a body."""
    answer = await front.say(HEAD.replace(b"secret", b"wrong") + b"Content-Length: 1000000\r\n\r\n", b"x")
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_many_pipelined_requests_are_answered_in_order(front: Front) -> None:
    """Far more requests than a connection buffers are all answered, because reading pauses and goes on."""
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


async def test_a_client_that_does_not_read_is_not_served_further(front: Front) -> None:
    """No more than the buffers hold is written until the client reads again."""
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
    """A compressed body is answered 415 and never decompressed."""
    assert (await front.post(GOOD, **{"Content-Encoding": "gzip"}))[0] == 415
    assert (await front.post(GOOD, **{"Content-Encoding": "identity"}))[0] == 200


async def test_expect_100_continue_is_answered_after_the_token_is_verified(front: Front) -> None:
    """A client with the right token is told to send its body; another one is refused."""
    length = b"Connection: close\r\nContent-Length: %d\r\n" % len(GOOD)
    answer = await front.say(HEAD + length + b"Expect: 100-continue\r\n\r\n", GOOD, pause=0.05)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    wrong = HEAD.replace(b"secret", b"wrong")
    assert (await front.say(wrong + length + b"Expect: 100-continue\r\n\r\n", GOOD)).startswith(b"HTTP/1.1 401 ")
    assert (await front.say(HEAD + length + b"Expect: money\r\n\r\n", GOOD)).startswith(b"HTTP/1.1 417 ")


@limited(head=0.2)
async def test_a_slow_head_ends_its_connection(front: Front) -> None:
    """A connection with a slow head is closed, for the first request and for a later one."""
    started = asyncio.get_running_loop().time()
    assert await front.say(b"POST ", *[b"x"] * 20, pause=0.1) == b""
    answer = await front.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET ", *[b"x"] * 20, pause=0.1)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert asyncio.get_running_loop().time() - started < 3


@limited(head=0.1)
async def test_a_slow_answer_is_not_a_slow_head(front: Front) -> None:
    """The deadline of the head does not run while the server waits for the broker."""
    front.broker.gate.clear()
    posted = asyncio.create_task(front.post(GOOD))
    await asyncio.sleep(0.4)
    front.broker.gate.set()
    assert (await posted)[0] == 200


@limited(first_byte=0.2)
async def test_a_silent_connection_is_closed(front: Front) -> None:
    """A connection that sends nothing is closed at the limit."""
    reader, writer = await front.connect()
    async with asyncio.timeout(3):
        assert await reader.read() == b""
    writer.close()


@limited(body=0.2, linger=0.1)
async def test_a_slow_body_is_answered_408(front: Front) -> None:
    """A body that does not arrive in time is answered 408."""
    answer = await front.say(HEAD + b"Content-Length: 100\r\n\r\n", *[b"x"] * 5, pause=0.1)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert front.broker.records == []


async def test_an_incomplete_body_is_not_published(front: Front) -> None:
    """A client that leaves during its body causes no record."""
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
async def test_invalid_http_is_refused_without_an_echo(
    front: Front, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is answered 400, and neither answer nor log repeats the request or names internals."""
    answer = await front.say(request_bytes)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    for word in (b"secret", b"Traceback", b"aiohttp.", b"http_exceptions"):
        assert word not in answer
        assert word.decode() not in caplog.text


async def test_connections_are_limited(front: Front) -> None:
    """A connection above the limit gets 503; when one ends, a new one is served."""
    held = [await front.connect() for _ in range(MAX_CONNECTIONS)]
    for _, writer in held:
        writer.write(b"GET ")
    assert (await front.say()).startswith(b"HTTP/1.1 503 ")
    for _, writer in held:
        writer.close()
    async with asyncio.timeout(3):
        while b" 200 OK" not in await front.say(b"GET /healthz HTTP/1.0\r\n\r\n"):
            pass


async def test_a_stop_lets_requests_in_flight_end() -> None:
    """At a stop no connection is accepted, and requests that wait for the broker are answered."""
    async with serving(grace=4.0) as front:
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


async def test_a_port_in_use_is_reported(front: Front) -> None:
    """The error names the address."""
    with pytest.raises(StopError, match=f"127.0.0.1 port {front.port}"):
        async with listen(
            App(load(SECRETS), front.broker, lambda: datetime.now(UTC)).handle, "127.0.0.1", front.port, 1, 1
        ):
            pass
