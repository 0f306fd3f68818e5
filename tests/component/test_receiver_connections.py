"""The limits of connections, in total and for each client.

Real sockets on uvloop, the loop of production.
"""

from __future__ import annotations

from functools import partial

import pytest

from tests.support.receiver import (
    HEALTH,
    KEY,
    form,
    is_served,
    serving,
    until,
)


async def test_connections_above_the_limit_get_503_and_few_log_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """A hundred connections above the limit get 503 with Retry-After, and cause few log lines without a traceback."""
    async with serving(3) as receiver:
        held = [await receiver.connect() for _ in range(3)]
        for _, writer in held:
            writer.write(b"GET ")
        answers = [await receiver.ask(HEALTH) for _ in range(100)]
        assert {answer.status for answer in answers} == {503}
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
        for _, writer in held:
            writer.close()

        await until(partial(is_served, receiver))
    out, err = capfd.readouterr()
    assert 1 <= (out + err).count("connection refused") <= 10
    assert "Traceback" not in out + err


async def test_the_connections_of_one_address_are_limited() -> None:
    """An address at its limit gets 503, and another address is served."""
    async with serving(50, connections_per_address=5) as receiver:
        held = [await receiver.connect() for _ in range(5)]
        assert (await receiver.ask(HEALTH)).status == 503
        assert (await receiver.ask(HEALTH, source="127.0.0.2")).status == 200
        for _, writer in held:
            writer.close()

        await until(partial(is_served, receiver))


@pytest.mark.parametrize("proxies", ["127.0.0.1", "10.0.0.0/8, 127.0.0.0/8"])
async def test_a_trusted_proxy_is_exempt_from_the_limit_of_an_address(proxies: str) -> None:
    """A trusted proxy may have more connections than other addresses: all clients behind it share its address."""
    async with serving(50, {"TRUSTED_PROXIES": proxies}, connections_per_address=5) as receiver:
        held = [await receiver.connect() for _ in range(20)]
        assert (await receiver.ask(HEALTH)).status == 200
        for _, writer in held:
            writer.close()


async def test_behind_a_proxy_the_requests_of_one_client_are_limited() -> None:
    """A client with too many slow bodies gets 429, and other clients behind the same proxy are served."""
    async with serving(50, {"TRUSTED_PROXIES": "127.0.0.1"}, connections_per_address=3) as receiver:
        slow = [await receiver.connect() for _ in range(3)]
        for _, writer in slow:
            writer.write(form(KEY, "X-Forwarded-For: 192.0.2.1")[:-5])

        async def is_limited() -> bool:
            return (await receiver.ask(form(KEY, "X-Forwarded-For: 192.0.2.1"))).status == 429

        await until(is_limited)
        assert (await receiver.ask(form(KEY, "X-Forwarded-For: 192.0.2.2"))).status == 200
        for _, writer in slow:
            writer.close()
