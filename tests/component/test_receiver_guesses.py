"""Wrong secrets are limited for each client; the right one is always served.

Real sockets on uvloop, the loop of production.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tests.support.receiver import (
    TOKEN,
    event,
    form,
    serving,
)


@pytest.mark.parametrize("request_of", [event, form], ids=["c2s", "google"])
async def test_wrong_secrets_are_limited_and_the_right_one_is_served(
    request_of: Callable[..., bytes], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """After ten wrong secrets a client gets 429 and few log lines; the right secret is still served."""
    caplog.set_level(logging.DEBUG)
    async with serving() as receiver:
        statuses = [(await receiver.ask(request_of(f"guess-{number}"))).status for number in range(50)]
        assert statuses == [401] * 10 + [429] * 40
        limited = await receiver.ask(request_of("guess"))
        assert int(limited.headers["retry-after"]) > 0
        assert (await receiver.ask(request_of())).status == 200
        assert (await receiver.ask(request_of("guess"), source="127.0.0.2")).status == 401
    written = "".join(capfd.readouterr())
    assert written.count("request refused") <= 12
    assert "guess-" not in written


async def test_behind_a_proxy_clients_are_told_apart() -> None:
    """The client is the rightmost address in X-Forwarded-For that is not a trusted proxy."""
    async with serving(settings={"TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"}, wrong_secrets=2) as receiver:

        async def guess(*forwarded: str) -> int:
            headers = [f"X-Forwarded-For: {one}" for one in forwarded]
            return (await receiver.ask(event("wrong", *headers))).status

        assert [await guess(f"192.0.2.{number}, 198.51.100.1, 10.1.2.3") for number in range(4)] == [401, 401, 429, 429]
        assert await guess("192.0.2.9", "198.51.100.1") == 429
        assert await guess("198.51.100.2") == 401
        assert [await guess(f"2001:db8::{number}") for number in range(1, 4)] == [401, 401, 429]
        assert await guess("2001:db8:0:1::1") == 401
        assert (await receiver.ask(event(TOKEN, "X-Forwarded-For: 198.51.100.1"))).status == 200


async def test_without_trusted_proxies_x_forwarded_for_is_ignored() -> None:
    """A client can't change its name with X-Forwarded-For."""
    async with serving(wrong_secrets=2) as receiver:
        statuses = [
            (await receiver.ask(event("wrong", f"X-Forwarded-For: 192.0.2.{number}"))).status for number in range(4)
        ]
        assert statuses == [401, 401, 429, 429]
