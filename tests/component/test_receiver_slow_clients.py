"""Clients that read or send slowly, or not at all, lose their connections.

Real sockets on uvloop, the loop of production.
"""

from __future__ import annotations

import asyncio
import socket
import time
from functools import partial

import pytest

from tests.support.receiver import (
    C2S,
    GOOGLE,
    HEALTH,
    HUGE,
    TIMEOUT_SECONDS,
    TOKEN,
    event,
    is_served,
    post,
    read_answer,
    serving,
    until,
)


@pytest.mark.parametrize("request_bytes", [HEALTH, event("wrong"), event()], ids=["health", "wrong", "right"])
async def test_an_unread_answer_ends_its_connection(request_bytes: bytes) -> None:
    """Clients that never read their answers lose their connections, and others are served again."""
    max_connections = 5
    async with serving(max_connections, unread=0.3) as receiver:
        clients = []
        for _ in range(max_connections):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            one.setblocking(False)  # noqa: FBT003 - the interface of socket
            await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", receiver.port))
            clients.append(one)
        sending = [
            asyncio.create_task(asyncio.get_running_loop().sock_sendall(one, request_bytes * 20_000)) for one in clients
        ]

        await until(partial(is_served, receiver))
        for one in sending:
            one.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        for one in clients:
            one.close()


async def test_a_new_client_gets_the_place_of_a_client_that_does_not_read() -> None:
    """When all places are taken, a new client gets the place of a client that does not read, before its deadline."""
    max_connections = 5
    async with serving(max_connections, unread=HUGE) as receiver:
        clients = [await receiver.connect() for _ in range(max_connections)]
        for _, writer in clients:
            writer.transport.pause_reading()
            writer.write(HEALTH * 20_000)

        await until(partial(is_served, receiver))
        for _, writer in clients:
            writer.transport.abort()


async def test_a_client_that_reads_late_but_in_time_gets_every_answer() -> None:
    """A client that stops reading for less than the limit loses no answer."""
    async with serving(unread=5) as receiver:
        reader, writer = await receiver.connect()
        writer.transport.pause_reading()
        writer.write(HEALTH * 3_000)
        await asyncio.sleep(0.3)
        writer.transport.resume_reading()
        for _ in range(3_000):
            assert (await read_answer(reader)).status == 200
        writer.close()


async def test_silent_connections_lose_their_places() -> None:
    """A connection that sends nothing is closed soon; one that has had an answer may stay."""
    max_connections = 5
    async with serving(max_connections, first_byte=0.3) as receiver:
        regular_reader, regular = await receiver.connect()
        regular.write(HEALTH)
        await read_answer(regular_reader)
        silent = [await receiver.connect() for _ in range(max_connections - 1)]
        assert (await receiver.ask(HEALTH)).status == 503
        for reader, writer in silent:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                assert await reader.read() == b""
            writer.close()
        assert (await receiver.ask(HEALTH)).status == 200
        regular.write(HEALTH)
        assert (await read_answer(regular_reader)).status == 200
        regular.close()


async def test_an_idle_connection_is_closed_in_the_end() -> None:
    """A connection without a request after its answer is closed at the limit."""
    async with serving(idle=0.3) as receiver:
        assert len(await receiver.read_until_closed(HEALTH)) == 1


@pytest.mark.parametrize("start", [b"GET / HT", b"\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\x16"])
@pytest.mark.parametrize("before", [b"", HEALTH], ids=["new", "after an answer"])
async def test_a_slow_head_ends_its_connection(before: bytes, start: bytes) -> None:
    """A head must be complete within the limit from its first byte on, however its bytes are spread."""
    async with serving(head=0.4) as receiver:
        reader, writer = await receiver.connect()
        if before:
            writer.write(before)
            await read_answer(reader)
        started = time.monotonic()
        ended = asyncio.create_task(reader.read())
        writer.write(start)
        while not ended.done() and time.monotonic() - started < TIMEOUT_SECONDS:
            await asyncio.wait([ended], timeout=0.05)
            if not writer.is_closing():
                writer.write(b"\r\n" if start == b"\r\n" else b"x")
        assert ended.done()
        await asyncio.gather(ended, return_exceptions=True)  # a reset is an end too
        writer.close()


async def test_a_slow_body_is_answered_408_and_ends_its_connection() -> None:
    """A slow body is answered 408 on both routes, and its connection is closed."""
    async with serving(body=0.3, linger=0.1) as receiver:
        for head in (post(GOOGLE, b"x" * 50), post(C2S, b"x" * 50, f"X-Webhook-Token: {TOKEN}")):
            (answer,) = await receiver.read_until_closed(head[:-40])
            assert answer.status == 408
