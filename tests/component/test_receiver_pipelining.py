"""Clients that pipeline requests do not hold up others.

Real sockets on uvloop, the loop of production.
"""

from __future__ import annotations

import asyncio
import contextlib

import orjson
import pytest

from producers.limits import MIB
from tests.support.receiver import (
    C2S,
    CHEAP,
    EVENT,
    GOOGLE,
    HEALTH,
    TOKEN,
    event,
    post,
    read_answer,
    serving,
)


@pytest.mark.parametrize("request_bytes", CHEAP.values(), ids=CHEAP)
async def test_a_thousand_pipelined_requests_do_not_hold_up_other_clients(request_bytes: bytes) -> None:
    """While one client's 1,000 pipelined requests are answered, another client gets each answer within few of them."""
    count, most_between = 1_000, 60
    async with serving(wrong_secrets=5) as receiver:
        reader, writer = await receiver.connect()
        other_reader, other_writer = await receiver.connect()
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
    """While 20 connections without a secret pipeline requests without end, every real webhook is accepted in time."""
    async with serving() as receiver:

        async def flood(request_bytes: bytes) -> None:
            reader, writer = await receiver.connect()
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(request_bytes * 500)
                    for _ in range(500):
                        await read_answer(reader)

        floods = [asyncio.create_task(flood(one)) for one in list(CHEAP.values()) * 4]
        for _ in range(25):
            async with asyncio.timeout(5):
                assert (await receiver.ask(event())).status == 200
        for one in floods:
            one.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
        assert len(receiver.broker.webhooks) == 25


async def test_pipelined_requests_are_answered_in_order() -> None:
    """A thousand pipelined webhooks of one connection are all accepted, in their order."""
    bodies = [EVENT.replace(b"L1", b"L%d" % number) for number in range(1_000)]
    async with serving() as receiver:
        reader, writer = await receiver.connect()
        writer.write(b"".join(post(C2S, body, f"X-Webhook-Token: {TOKEN}") for body in bodies))
        for _ in bodies:
            assert (await read_answer(reader)).status == 200
        writer.close()
        leads = [orjson.loads(record.value)["payload"]["id"] for record in receiver.broker.webhooks]
        assert leads == [f"L{number}" for number in range(1_000)]


async def test_expensive_bodies_of_strangers_do_not_hold_up_other_clients() -> None:
    """While strangers send large forms in tiny chunks or hard to parse, another client gets many answers."""
    head = f"POST {GOOGLE} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    tiny = head + b"1\r\n \r\n" * 30_000 + b"0\r\n\r\n"
    odd = post(GOOGLE, b'{"google_key":"x","a":"\xff","b":[' + b'{"a":1},' * 7_000 + b"1]}")
    async with serving() as receiver:
        attacks = [asyncio.create_task(receiver.ask(one)) for one in (tiny, odd) * 5]
        reader, writer = await receiver.connect()
        before_the_last = 0
        while not all(one.done() for one in attacks):
            writer.write(HEALTH)
            assert (await read_answer(reader)).status == 200
            before_the_last += 1
        assert {(await one).status for one in attacks} <= {400, 401, 429}
        assert before_the_last > 5
        writer.close()


async def test_a_large_body_of_an_authenticated_sender_is_read_without_waiting_for_strangers() -> None:
    """While strangers send as much as they can, a body of 1 MiB with the right token is accepted."""
    large = EVENT[:-1] + b',"pad":"' + b"x" * (MIB - len(EVENT) - 9) + b'"}'
    async with serving() as receiver:
        strangers = [await receiver.connect() for _ in range(20)]
        for _, writer in strangers:
            writer.write(post(GOOGLE, b" " * 60_000) * 20)
        assert (await receiver.ask(post(C2S, large, f"X-Webhook-Token: {TOKEN}"))).status == 200
        for _, writer in strangers:
            writer.transport.abort()
