"""How clients are named, and how their wrong secrets are counted."""

from __future__ import annotations

import pytest

from producers.clients import UNKNOWN, Clients
from producers.wrong_secrets import MAX_CLIENTS, WINDOW_SECONDS, WrongSecrets

PROXIES = ("127.0.0.1", "10.0.0.0/8", "2001:db8:ffff::/48")


@pytest.mark.parametrize(
    ("address", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["192.0.2.9, 198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["192.0.2.9,198.51.100.1 , 10.0.0.7"], "198.51.100.1"),
        ("127.0.0.1", ["192.0.2.9", "198.51.100.1", "10.0.0.7"], "198.51.100.1"),
        ("::ffff:127.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("2001:db8:ffff::1", ["[2001:db8:1:2:3::4]:443"], "2001:db8:1:2::/64"),
        ("127.0.0.1", ["2001:db8:1:2::9"], "2001:db8:1:2::/64"),
        ("127.0.0.1", ["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
        ("127.0.0.1", ["192.0.2.9, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.9, <script>, 10.0.0.7"], "10.0.0.7"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", [","], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.1," + "10.0.0.7," * 10_000 + "10.0.0.7"], "10.0.0.7"),
        ("2001:db8:5:6:7:8:9:a", [], "2001:db8:5:6::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("", [], UNKNOWN),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy(address: str, forwarded: list[str], client: str) -> None:
    """What a client writes into X-Forwarded-For does not name it."""
    assert Clients(PROXIES).name(address, forwarded) == client


def test_wrong_secrets_are_counted_by_client_and_window() -> None:
    """A client above the limit waits for the rest of its window; another client and the next window do not."""
    now = 100.0
    wrong = WrongSecrets(3, lambda: now)
    assert [wrong.count("a") for _ in range(5)] == [0, 0, 0, 60, 60]
    assert wrong.count("b") == 0
    now += WINDOW_SECONDS - 10
    assert wrong.count("a") == 10
    now += 10
    assert wrong.count("a") == 0


def test_the_remembered_clients_are_limited() -> None:
    """The client that was seen least recently is forgotten first."""
    wrong = WrongSecrets(1, lambda: 0.0)
    for number in range(MAX_CLIENTS + 1):
        wrong.count(str(number))
    assert wrong.count(str(MAX_CLIENTS)) > 0
    assert wrong.count("0") == 0
