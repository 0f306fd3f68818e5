"""Many busy clients leave room for others.

Real sockets on uvloop, the loop of production.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.support.receiver import (
    CHEAP,
    GOOGLE,
    HEALTH,
    event,
    read_answer,
    serving,
    until,
)


@pytest.mark.parametrize("request_bytes", CHEAP.values(), ids=CHEAP)
@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "new connection each"])
async def test_many_busy_connections_do_not_keep_new_ones_out(request_bytes: bytes, *, is_kept: bool) -> None:
    """While 300 connections send requests without a pause, a new client waits for at most 300 answers."""
    busy, answered, is_over = 300, 0, False

    async def ask_on(source: str) -> None:
        nonlocal answered
        while not is_over:
            reader, writer = await receiver.connect(source)
            while not is_over:
                writer.write(request_bytes)
                await read_answer(reader)
                answered += 1
                if not is_kept:
                    break
            writer.transport.abort()

    async with serving() as receiver:
        asking = [asyncio.create_task(ask_on(f"127.0.0.{2 + number % 3}")) for number in range(busy)]

        async def are_busy() -> bool:
            return answered > 0

        await until(are_busy)
        for _ in range(5):
            before = answered
            assert (await receiver.ask(event())).status == 200
            assert answered - before <= busy
        is_over = True
        await asyncio.gather(*asking)


async def test_expensive_bodies_of_many_addresses_do_not_keep_a_sender_out() -> None:
    """While 200 addresses send expensive bodies, ten webhooks are accepted before 20 bodies are answered."""
    head = f"POST {GOOGLE} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    expensive = head + b"1\r\n \r\n" * 8_000 + b"0\r\n\r\n"
    async with serving(wrong_secrets=10_000) as receiver:
        answered = 0

        async def attack(source: str) -> None:
            nonlocal answered
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await receiver.ask(expensive, source)
                answered += 1

        attacks = [asyncio.create_task(attack(f"127.0.1.{1 + number}")) for number in range(200)]
        for _ in range(10):
            assert (await receiver.ask(event())).status == 200
        assert answered < 20
        for one in attacks:
            one.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)


async def test_a_new_client_gets_the_place_of_a_busy_stranger() -> None:
    """When busy strangers have all places, a new client gets one of them, and a known sender keeps its own."""
    async with serving(20) as receiver:
        known_reader, known_writer = await receiver.connect()
        known_writer.write(event())
        assert (await read_answer(known_reader)).status == 200
        held = [await receiver.connect(f"127.0.0.{2 + number}") for number in range(19)]
        for reader, writer in held:
            for _ in range(5):
                writer.write(HEALTH)
                assert (await read_answer(reader)).status == 200
        for number in range(5):
            assert (await receiver.ask(HEALTH, f"127.0.1.{1 + number}")).status == 200
        known_writer.write(event())
        assert (await read_answer(known_reader)).status == 200
        for _, writer in [*held, (known_reader, known_writer)]:
            writer.transport.abort()
