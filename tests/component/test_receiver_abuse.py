"""Attacks on the receiver: real sockets, and the loop of production (uvloop)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import psutil
import pytest

from producers.app import App
from producers.limits import MIB, Limits
from producers.memory import MemoryPublisher
from producers.server import listen
from stream.settings import load

C2S, GOOGLE = "/api/v1/webhooks/c2s", "/api/v1/webhooks/google-ads"
TOKEN, KEY = "a-token-of-the-tests", "a-google-key-of-the-tests"
SECRETS = {"C2S_WEBHOOK_TOKEN": TOKEN, "GOOGLE_ADS_KEY": KEY}
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
EVENT = b'{"id":"L1","attributes":{"updated_at":"2026-01-31T12:00:00Z"}}'
PATIENCE = 15.0  # seconds; a busy machine is no fault of what is tested
HUGE = 10_000


@dataclass
class Front:
    """A server's port, and the broker behind it."""

    port: int
    broker: MemoryPublisher

    async def connect(self, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A plain connection from one of this machine's addresses."""
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))

    async def ask(self, data: bytes, source: str = "127.0.0.1") -> Answer:
        """Send a request and read its answer."""
        reader, writer = await self.connect(source)
        try:
            writer.write(data)
            return await read_answer(reader)
        finally:
            writer.close()

    async def all_of(self, data: bytes, *, half_close: bool = False) -> list[Answer]:
        """Send bytes, end our side if wanted, and read answers until the server closes."""
        reader, writer = await self.connect()
        answers = []
        try:
            writer.write(data)
            if half_close:
                writer.write_eof()
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        answers.append(await read_answer(reader))
                    except asyncio.IncompleteReadError as error:
                        rest = error.partial
                        break
            assert rest == b""
            return answers
        finally:
            writer.close()


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    async with asyncio.timeout(PATIENCE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(status.split()[1]), headers, body)


@asynccontextmanager
async def serving(most: int = HUGE, settings: dict[str, str] | None = None, **limits: Any) -> AsyncIterator[Front]:
    """A server with shrunk limits in this process."""
    broker, shrunk = MemoryPublisher(), Limits(**{"per_address": HUGE, **limits})
    configuration = load({**SECRETS, **(settings or {})})
    app, trusted = App(configuration, broker, lambda: datetime.now(UTC), shrunk), configuration.trusted_proxies
    async with listen(app.handle, "127.0.0.1", 0, most, 1.0, limits=shrunk, trusted=trusted) as port:
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        yield Front(port, broker)


@contextmanager
def process(**limits: Any) -> Iterator[tuple[Front, psutil.Process]]:
    """A server in a process of its own, so that its memory and its time are not ours."""
    arguments = [orjson.dumps({"per_address": HUGE, **limits}).decode(), orjson.dumps(SECRETS).decode()]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.receiver_front", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert child.stdout is not None
        yield Front(int(child.stdout.readline()), MemoryPublisher()), psutil.Process(child.pid)
    finally:
        child.kill()
        child.communicate()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 - the server's side sets no event here
            await asyncio.sleep(0.02)


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def event(token: str = TOKEN, *headers: str) -> bytes:
    return post(C2S, EVENT, f"X-Webhook-Token: {token}", *headers)


def form(key: str = KEY, *headers: str) -> bytes:
    return post(GOOGLE, orjson.dumps({"google_key": key, "lead_id": "g1"}), *headers)


# One client that sends ahead.

CHEAP = {
    "health": HEALTH,
    "no such path": b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
    "method": b"PUT /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "no secret": post(C2S, b""),
    "no key": post(GOOGLE, b"{}"),
}


@pytest.mark.parametrize("request_bytes", CHEAP.values(), ids=CHEAP)
async def test_who_sends_a_thousand_requests_ahead_does_not_hold_up_others(request_bytes: bytes) -> None:
    """While 1,000 pipelined requests are answered, another client's requests are each answered within few of them."""
    count, most_between = 1_000, 60
    async with serving(wrong_secrets=5) as front:
        reader, writer = await front.connect()
        other_reader, other_writer = await front.connect()
        answered = 0

        async def read_all() -> None:
            nonlocal answered
            for _ in range(count):
                await read_answer(reader)
                answered += 1

        writer.write(request_bytes * count)
        reading = asyncio.create_task(read_all())
        served = 0
        while not reading.done():
            before = answered
            other_writer.write(HEALTH)
            assert (await read_answer(other_reader)).status == 200
            served += 1
            assert answered - before <= most_between
        await reading
        assert served >= count // most_between
        writer.close()
        other_writer.close()


async def test_floods_without_a_secret_do_not_fail_real_webhooks() -> None:
    """Twenty connections that pipeline without end, with and without pauses: every real webhook is taken in time."""
    async with serving() as front:

        async def flood(request_bytes: bytes) -> None:
            reader, writer = await front.connect()
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(request_bytes * 500)
                    for _ in range(500):
                        await read_answer(reader)

        floods = [asyncio.create_task(flood(one)) for one in list(CHEAP.values()) * 4]
        for _ in range(25):
            async with asyncio.timeout(5):
                assert (await front.ask(event())).status == 200
        for one in floods:
            one.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
        assert len(front.broker.webhooks) == 25


async def test_pipelined_requests_are_answered_in_order() -> None:
    """A thousand webhooks sent ahead on one connection are all taken, in their order."""
    bodies = [EVENT.replace(b"L1", b"L%d" % number) for number in range(1_000)]
    async with serving() as front:
        reader, writer = await front.connect()
        writer.write(b"".join(post(C2S, body, f"X-Webhook-Token: {TOKEN}") for body in bodies))
        for _ in bodies:
            assert (await read_answer(reader)).status == 200
        writer.close()
        leads = [orjson.loads(record.value)["payload"]["id"] for record in front.broker.webhooks]
        assert leads == [f"L{number}" for number in range(1_000)]


async def test_bodies_that_are_expensive_to_read_wait_for_their_turn() -> None:
    """Large forms that nobody vouches for, in the smallest of chunks or hard to parse, hold up nobody."""
    head = f"POST {GOOGLE} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    tiny = head + b"1\r\n \r\n" * 30_000 + b"0\r\n\r\n"
    odd = post(GOOGLE, b'{"google_key":"x","a":"\xff","b":[' + b'{"a":1},' * 7_000 + b"1]}")
    async with serving() as front:
        attacks = [asyncio.create_task(front.ask(one)) for one in (tiny, odd) * 5]
        reader, writer = await front.connect()
        before_the_last = 0
        while not all(one.done() for one in attacks):
            writer.write(HEALTH)
            assert (await read_answer(reader)).status == 200
            before_the_last += 1
        assert {(await one).status for one in attacks} <= {400, 401, 429}
        assert before_the_last > 5
        writer.close()


async def test_a_large_body_of_an_authenticated_sender_is_read_without_waiting_for_strangers() -> None:
    """While strangers send as much as they can, 1 MiB with the right token is taken."""
    large = EVENT[:-1] + b',"pad":"' + b"x" * (MIB - len(EVENT) - 9) + b'"}'
    async with serving() as front:
        strangers = [await front.connect() for _ in range(20)]
        for _, writer in strangers:
            writer.write(post(GOOGLE, b" " * 60_000) * 20)
        assert (await front.ask(post(C2S, large, f"X-Webhook-Token: {TOKEN}"))).status == 200
        for _, writer in strangers:
            writer.transport.abort()


# Clients that wait for their answers, and are many.


@pytest.mark.parametrize("request_bytes", CHEAP.values(), ids=CHEAP)
@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "new connection each"])
async def test_many_busy_connections_do_not_keep_new_ones_out(request_bytes: bytes, *, is_kept: bool) -> None:
    """While 300 connections of three addresses ask without a pause, a newcomer is served before each has one more."""
    busy, answered, is_over = 300, 0, False

    async def ask_on(source: str) -> None:
        nonlocal answered
        while not is_over:
            reader, writer = await front.connect(source)
            while not is_over:
                writer.write(request_bytes)
                await read_answer(reader)
                answered += 1
                if not is_kept:
                    break
            writer.transport.abort()

    async with serving() as front:
        asking = [asyncio.create_task(ask_on(f"127.0.0.{2 + number % 3}")) for number in range(busy)]

        async def are_busy() -> bool:
            return answered > 0

        await until(are_busy)
        for _ in range(5):
            before = answered
            assert (await front.ask(event())).status == 200
            assert answered - before <= busy
        is_over = True
        await asyncio.gather(*asking)


async def test_expensive_bodies_of_many_addresses_do_not_keep_a_sender_out() -> None:
    """While 200 addresses send bodies in chunks of one byte, webhooks are taken before 20 of those are answered."""
    head = f"POST {GOOGLE} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    expensive = head + b"1\r\n \r\n" * 8_000 + b"0\r\n\r\n"
    async with serving(wrong_secrets=10_000) as front:
        answered = 0

        async def attack(source: str) -> None:
            nonlocal answered
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await front.ask(expensive, source)
                answered += 1

        attacks = [asyncio.create_task(attack(f"127.0.1.{1 + number}")) for number in range(200)]
        for _ in range(10):
            assert (await front.ask(event())).status == 200
        assert answered < 20
        for one in attacks:
            one.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)


async def test_a_full_house_makes_room_for_a_newcomer() -> None:
    """When strangers that ask without a pause have all places, a newcomer gets one and a known sender keeps its own."""
    async with serving(20) as front:
        known_reader, known_writer = await front.connect()
        known_writer.write(event())
        assert (await read_answer(known_reader)).status == 200
        held = [await front.connect(f"127.0.0.{2 + number}") for number in range(19)]
        for reader, writer in held:
            for _ in range(5):
                writer.write(HEALTH)
                assert (await read_answer(reader)).status == 200
        for number in range(5):
            assert (await front.ask(HEALTH, f"127.0.1.{1 + number}")).status == 200
        known_writer.write(event())
        assert (await read_answer(known_reader)).status == 200
        for _, writer in [*held, (known_reader, known_writer)]:
            writer.transport.abort()


# Clients that do not read.


@pytest.mark.parametrize("request_bytes", [HEALTH, event("wrong"), event()], ids=["health", "wrong", "right"])
async def test_an_unread_answer_ends_its_connection(request_bytes: bytes) -> None:
    """Clients that never read their answers lose their places, and the others are served again."""
    most = 5
    async with serving(most, unread=0.3) as front:
        hoarders = []
        for _ in range(most):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            one.setblocking(False)  # noqa: FBT003 - socket's own  # noqa: FBT003 - socket's own
            await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", front.port))
            hoarders.append(one)
        sending = [
            asyncio.create_task(asyncio.get_running_loop().sock_sendall(one, request_bytes * 20_000))
            for one in hoarders
        ]

        async def is_served() -> bool:
            return (await front.ask(HEALTH)).status == 200

        await until(is_served)
        for one in sending:
            one.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        for one in hoarders:
            one.close()


async def test_who_hoards_answers_makes_room_for_others() -> None:
    """When all places are taken, a newcomer gets the place of a client that does not read, before any limit is over."""
    most = 5
    async with serving(most, unread=HUGE) as front:
        hoarders = [await front.connect() for _ in range(most)]
        for _, writer in hoarders:
            writer.transport.pause_reading()
            writer.write(HEALTH * 20_000)

        async def is_served() -> bool:
            return (await front.ask(HEALTH)).status == 200

        await until(is_served)
        for _, writer in hoarders:
            writer.transport.abort()


async def test_who_reads_late_but_in_time_gets_everything() -> None:
    """A client that pauses for less than the limit loses nothing."""
    async with serving(unread=5) as front:
        reader, writer = await front.connect()
        writer.transport.pause_reading()
        writer.write(HEALTH * 3_000)
        await asyncio.sleep(0.3)
        writer.transport.resume_reading()
        for _ in range(3_000):
            assert (await read_answer(reader)).status == 200
        writer.close()


# Clients that say nothing, or little.


async def test_silent_connections_lose_their_places() -> None:
    """A new connection has a short time for its first byte; after an answer it may stay."""
    most = 5
    async with serving(most, first_byte=0.3) as front:
        regular_reader, regular = await front.connect()
        regular.write(HEALTH)
        await read_answer(regular_reader)
        silent = [await front.connect() for _ in range(most - 1)]
        assert (await front.ask(HEALTH)).status == 503
        for reader, writer in silent:
            async with asyncio.timeout(PATIENCE):
                assert await reader.read() == b""
            writer.close()
        assert (await front.ask(HEALTH)).status == 200
        regular.write(HEALTH)
        assert (await read_answer(regular_reader)).status == 200
        regular.close()


async def test_an_idle_connection_is_closed_in_the_end() -> None:
    """The time after an answer is limited too."""
    async with serving(idle=0.3) as front:
        assert len(await front.all_of(HEALTH)) == 1


@pytest.mark.parametrize("start", [b"GET / HT", b"\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\x16"])
@pytest.mark.parametrize("before", [b"", HEALTH], ids=["new", "after an answer"])
async def test_a_head_that_drips_is_cut_off(before: bytes, start: bytes) -> None:
    """A head has its time from its first byte on, however its bytes are spread."""
    async with serving(head=0.4) as front:
        reader, writer = await front.connect()
        if before:
            writer.write(before)
            await read_answer(reader)
        started = time.monotonic()
        ended = asyncio.create_task(reader.read())
        writer.write(start)
        while not ended.done() and time.monotonic() - started < PATIENCE:
            await asyncio.wait([ended], timeout=0.05)
            if not writer.is_closing():
                writer.write(b"\r\n" if start == b"\r\n" else b"x")
        assert ended.done()
        await asyncio.gather(ended, return_exceptions=True)  # a reset is an end too
        writer.close()


async def test_a_body_that_drips_is_cut_off_and_does_not_hold_its_place() -> None:
    """A slow body is answered 408 and closed, on both routes."""
    async with serving(body=0.3, linger=0.1) as front:
        for head in (post(GOOGLE, b"x" * 50), post(C2S, b"x" * 50, f"X-Webhook-Token: {TOKEN}")):
            (answer,) = await front.all_of(head[:-40])
            assert answer.status == 408


# Too many connections.


async def test_the_connection_limit_is_told_with_503_and_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    """Who comes too late is told so, with Retry-After; a hundred of them are one line of the log, without traceback."""
    async with serving(3) as front:
        held = [await front.connect() for _ in range(3)]
        for _, writer in held:
            writer.write(b"GET ")
        answers = [await front.ask(HEALTH) for _ in range(100)]
        assert {answer.status for answer in answers} == {503}
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
        for _, writer in held:
            writer.close()

        async def is_served() -> bool:
            return (await front.ask(HEALTH)).status == 200

        await until(is_served)
    out, err = capfd.readouterr()
    assert 1 <= (out + err).count("connection refused") <= 10
    assert "Traceback" not in out + err


async def test_one_address_has_a_share_of_the_connections() -> None:
    """The connections of one address are limited; another address is served meanwhile."""
    async with serving(50, connections_per_address=5) as front:
        held = [await front.connect() for _ in range(5)]
        assert (await front.ask(HEALTH)).status == 503
        assert (await front.ask(HEALTH, source="127.0.0.2")).status == 200
        for _, writer in held:
            writer.close()

        async def is_served() -> bool:
            return (await front.ask(HEALTH)).status == 200

        await until(is_served)


@pytest.mark.parametrize("proxies", ["127.0.0.1", "10.0.0.0/8, 127.0.0.0/8"])
async def test_a_trusted_proxy_has_no_share(proxies: str) -> None:
    """All clients behind a proxy come from its address: only the total limits it."""
    async with serving(50, {"TRUSTED_PROXIES": proxies}, connections_per_address=5) as front:
        held = [await front.connect() for _ in range(20)]
        assert (await front.ask(HEALTH)).status == 200
        for _, writer in held:
            writer.close()


async def test_behind_a_proxy_one_client_has_a_share_of_the_requests() -> None:
    """Slow bodies of one client behind a proxy leave room for the others behind it."""
    async with serving(50, {"TRUSTED_PROXIES": "127.0.0.1"}, connections_per_address=3) as front:
        slow = [await front.connect() for _ in range(3)]
        for _, writer in slow:
            writer.write(form(KEY, "X-Forwarded-For: 192.0.2.1")[:-5])

        async def is_limited() -> bool:
            return (await front.ask(form(KEY, "X-Forwarded-For: 192.0.2.1"))).status == 429

        await until(is_limited)
        assert (await front.ask(form(KEY, "X-Forwarded-For: 192.0.2.2"))).status == 200
        for _, writer in slow:
            writer.close()


# Bodies.


async def test_large_bodies_without_a_secret_cost_no_memory() -> None:
    """Hundreds of bodies of 1 MiB to the Google route, announced or chunked, are refused unread; memory stays level."""
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    announced = post(GOOGLE, b"x" * MIB)
    chunked = f"POST {GOOGLE} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunk * 16
    with process(linger=0.2) as (front, child):

        async def send(data: bytes) -> int:
            with contextlib.suppress(ConnectionError):
                return (await front.ask(data)).status
            return 0

        for _ in range(20):
            await send(announced)
        before = child.memory_info().rss
        for _ in range(4):
            statuses = await asyncio.gather(*[send(data) for data in (announced, chunked) * 60])
            assert set(statuses) <= {413, 0}
            assert 413 in statuses
        assert child.memory_info().rss - before < 40 * MIB
        assert (await front.ask(event())).status == 200


async def test_unfinished_bodies_are_bounded_together() -> None:
    """When too many bytes are being received a newcomer is told to come back; what was begun goes on."""
    async with serving(forms=100_000) as front:
        slow = [await front.connect() for _ in range(2)]
        for _, writer in slow:
            writer.write(post(GOOGLE, b" " * 60_000)[:-1])

        async def is_full() -> bool:
            answer = await front.ask(post(GOOGLE, b" " * 60_000))
            return answer.status == 503 and int(answer.headers["retry-after"]) > 0

        await until(is_full)
        assert (await front.ask(event())).status == 200
        for _, writer in slow:
            writer.close()

        async def is_free() -> bool:
            return (await front.ask(post(GOOGLE, b" " * 60_000))).status == 400

        await until(is_free)


async def test_a_large_event_is_read_from_an_authenticated_sender_only() -> None:
    """C2S may send 1 MiB; without the token it is refused before the body."""
    large = EVENT[:-1] + b',"pad":"' + b"x" * (MIB - len(EVENT) - 9) + b'"}'
    async with serving(linger=0.1) as front:
        assert (await front.ask(post(C2S, large, f"X-Webhook-Token: {TOKEN}"))).status == 200
        head = post(C2S, large, "X-Webhook-Token: wrong")[: -len(large)]
        assert (await front.ask(head)).status == 401
        head = post(GOOGLE, b"x" * 65_537)[:-65_537]
        assert (await front.ask(head)).status == 413


@pytest.mark.parametrize(
    "body",
    [
        b'{"\xff":1,"google_key":"%s","lead_id":"g1"}',
        b'{"google_key":"%s","lead_id":"g1","user_column_data":[{"\xe3\x28":"x"}]}',
        b'{"google_key":"%s","google_\xfakey":"x","lead_id":"g1"}',
        b'{"google_key":"%s","lead_id":"g1","\xed\xa0\x80":{"a":[]}}',
        b"\xff\xfe\x00",
        b'{"google_key":"%s","lead_id":"g1"',
    ],
)
async def test_a_google_body_that_is_no_text_is_400(body: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """Bytes that are not UTF-8 in a field name, wherever it stands: 400, and no traceback."""
    async with serving() as front:
        answer = await front.ask(post(GOOGLE, body.replace(b"%s", KEY.encode())))
        assert answer.status == 400
        assert set(orjson.loads(answer.body)) == {"message"}
    assert "Traceback" not in "".join(capfd.readouterr())


# Guesses.


@pytest.mark.parametrize("request_of", [event, form], ids=["c2s", "google"])
async def test_wrong_secrets_are_limited_and_the_right_one_is_served(
    request_of: Callable[..., bytes], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """After ten wrong secrets a client is told to wait, in few log lines; the right secret is served all the same."""
    caplog.set_level(logging.DEBUG)
    async with serving() as front:
        statuses = [(await front.ask(request_of(f"guess-{number}"))).status for number in range(50)]
        assert statuses == [401] * 10 + [429] * 40
        limited = await front.ask(request_of("guess"))
        assert int(limited.headers["retry-after"]) > 0
        assert (await front.ask(request_of())).status == 200
        assert (await front.ask(request_of("guess"), source="127.0.0.2")).status == 401
    written = "".join(capfd.readouterr())
    assert written.count("request refused") <= 12
    assert "guess-" not in written


async def test_behind_a_proxy_clients_are_told_apart() -> None:
    """The rightmost address that no proxy of ours has is the client; what stands left of it is not believed."""
    async with serving(settings={"TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"}, wrong_secrets=2) as front:

        async def guess(*forwarded: str) -> int:
            headers = [f"X-Forwarded-For: {one}" for one in forwarded]
            return (await front.ask(event("wrong", *headers))).status

        assert [await guess(f"192.0.2.{number}, 198.51.100.1, 10.1.2.3") for number in range(4)] == [401, 401, 429, 429]
        assert await guess("192.0.2.9", "198.51.100.1") == 429
        assert await guess("198.51.100.2") == 401
        assert [await guess(f"2001:db8::{number}") for number in range(1, 4)] == [401, 401, 429]
        assert await guess("2001:db8:0:1::1") == 401
        assert (await front.ask(event(TOKEN, "X-Forwarded-For: 198.51.100.1"))).status == 200


async def test_without_trusted_proxies_nobody_names_itself() -> None:
    """X-Forwarded-For of a stranger changes nothing."""
    async with serving(wrong_secrets=2) as front:
        statuses = [
            (await front.ask(event("wrong", f"X-Forwarded-For: 192.0.2.{number}"))).status for number in range(4)
        ]
        assert statuses == [401, 401, 429, 429]


# Odd but legal HTTP.

UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")


@pytest.mark.parametrize(
    "first", [HEALTH[:-2] + "\r\n".join((*UPGRADE, "", "")).encode(), event(TOKEN, *UPGRADE)], ids=["get", "post"]
)
@pytest.mark.parametrize("version", ["h2c", "websocket"])
async def test_nothing_is_lost_behind_an_upgrade(first: bytes, version: str) -> None:
    """We upgrade to nothing: the request is answered, and what is pipelined behind it is answered or never taken."""
    async with serving() as front:
        answers = await front.all_of(first.replace(b"Upgrade: h2c", f"Upgrade: {version}".encode()) + event())
        assert [answer.status for answer in answers] == [200] * len(answers)
        assert answers[-1].headers["connection"] == "close"
        assert len(front.broker.webhooks) == len(answers) - (b"GET" in first)


@pytest.mark.parametrize("count", [1, 5, 60, 500])
@pytest.mark.parametrize("request_bytes", [event(), form()], ids=["c2s", "google"])
async def test_a_half_closed_client_is_answered(request_bytes: bytes, count: int) -> None:
    """Who ends its side after its requests gets every answer, then the end."""
    async with serving() as front:
        answers = await front.all_of(request_bytes * count, half_close=True)
        assert [answer.status for answer in answers] == [200] * count
        assert len(front.broker.webhooks) == count


async def test_a_half_closed_client_is_answered_after_a_slow_acknowledgement() -> None:
    """The answer comes however long the broker takes."""
    async with serving() as front:
        front.broker.gate.clear()
        asked = asyncio.create_task(front.all_of(event(), half_close=True))
        await asyncio.sleep(0.3)
        assert not asked.done()
        front.broker.gate.set()
        assert [answer.status for answer in await asked] == [200]


async def test_half_a_request_is_refused_when_its_client_ends_its_side() -> None:
    """Half a body is 400 and half a head is nothing; neither is published nor waited for."""
    async with serving(linger=0.1) as front:
        assert [one.status for one in await front.all_of(event()[:-5], half_close=True)] == [400]
        assert await front.all_of(event()[:40], half_close=True) == []
        assert await front.all_of(b"", half_close=True) == []
        assert front.broker.records == []


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
async def test_odd_requests_are_answered(request_bytes: bytes, status: int) -> None:
    """Absolute targets, trailers and rare methods are answered, and only webhooks and health are in public."""
    async with serving() as front:
        reader, writer = await front.connect()
        writer.write(request_bytes)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert int(head.split()[1]) == status
        writer.close()


async def test_a_head_without_an_end_is_not_collected() -> None:
    """However many headers a stranger sends, a connection keeps no more than a head's limit of them."""
    async with serving() as front:
        reader, writer = await front.connect()
        writer.write(b"POST /api/v1/webhooks/google-ads HTTP/1.1\r\nHost: x\r\n")
        line = b"X-%d: " + b"a" * 4_000 + b"\r\n"
        with contextlib.suppress(ConnectionError):
            for number in range(60):
                writer.write(line.replace(b"%d", str(number).encode()))
                await writer.drain()
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert (await front.ask(HEALTH)).status == 200
        writer.close()
