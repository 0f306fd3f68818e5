"""The limits of bodies, for each request and in total.

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
    EVENT,
    GOOGLE,
    KEY,
    TOKEN,
    event,
    post,
    process,
    serving,
    until,
)


async def test_large_bodies_without_a_secret_cost_no_memory() -> None:
    """Hundreds of bodies of 1 MiB to the Google route are refused unread, and the memory of the process stays level."""
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    announced = post(GOOGLE, b"x" * MIB)
    chunked = f"POST {GOOGLE} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunk * 16
    with process(linger=0.2) as (receiver, child):

        async def send(data: bytes) -> int:
            with contextlib.suppress(ConnectionError):
                return (await receiver.ask(data)).status
            return 0

        for _ in range(20):
            await send(announced)
        before = child.memory_info().rss
        for _ in range(4):
            statuses = await asyncio.gather(*[send(data) for data in (announced, chunked) * 60])
            assert set(statuses) <= {413, 0}
            assert 413 in statuses
        assert child.memory_info().rss - before < 40 * MIB
        assert (await receiver.ask(event())).status == 200


async def test_the_bytes_of_unfinished_bodies_are_limited_in_total() -> None:
    """When unfinished bodies use up the total, a further one gets 503 with Retry-After until they end."""
    async with serving(form_bytes=100_000) as receiver:
        slow = [await receiver.connect() for _ in range(2)]
        for _, writer in slow:
            writer.write(post(GOOGLE, b" " * 60_000)[:-1])

        async def is_full() -> bool:
            answer = await receiver.ask(post(GOOGLE, b" " * 60_000))
            return answer.status == 503 and int(answer.headers["retry-after"]) > 0

        await until(is_full)
        assert (await receiver.ask(event())).status == 200
        for _, writer in slow:
            writer.close()

        async def is_free() -> bool:
            return (await receiver.ask(post(GOOGLE, b" " * 60_000))).status == 400

        await until(is_free)


async def test_a_large_event_is_read_from_an_authenticated_sender_only() -> None:
    """C2S may send 1 MiB; without the right token such a body is refused before it is read."""
    large = EVENT[:-1] + b',"pad":"' + b"x" * (MIB - len(EVENT) - 9) + b'"}'
    async with serving(linger=0.1) as receiver:
        assert (await receiver.ask(post(C2S, large, f"X-Webhook-Token: {TOKEN}"))).status == 200
        head = post(C2S, large, "X-Webhook-Token: wrong")[: -len(large)]
        assert (await receiver.ask(head)).status == 401
        head = post(GOOGLE, b"x" * 65_537)[:-65_537]
        assert (await receiver.ask(head)).status == 413


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
async def test_a_google_body_that_is_not_utf8_is_answered_400(body: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """A field name that is not UTF-8 is answered 400 with a message, and no traceback is logged."""
    async with serving() as receiver:
        answer = await receiver.ask(post(GOOGLE, body.replace(b"%s", KEY.encode())))
        assert answer.status == 400
        assert set(orjson.loads(answer.body)) == {"message"}
    assert "Traceback" not in "".join(capfd.readouterr())
