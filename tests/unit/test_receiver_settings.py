"""Settings of the receiver that depend on each other."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from producers.auth import MIN_SECRET_CHARACTERS
from stream.local.stack import C2S_TOKEN, GOOGLE_KEY, Stack
from stream.settings import DEMO_SECRETS, load


@pytest.mark.parametrize(
    ("variables", "port"),
    [
        ({}, 8081),
        ({"PRODUCER_PORT": "9000"}, 9001),
        ({"PRODUCER_PORT": "0"}, 0),
        ({"PRODUCER_PORT": "65535"}, 1),
        ({"PRODUCER_PORT": "9000", "PRODUCER_INTERNAL_PORT": "7000"}, 7000),
        ({"PRODUCER_INTERNAL_PORT": "0"}, 0),
    ],
)
def test_the_internal_port_is_the_next_one_unless_it_is_given(variables: dict[str, str], port: int) -> None:
    """The internal port is PRODUCER_PORT + 1 unless it is set, so that two receivers on a machine do not collide."""
    assert load(variables).internal_port == port


def test_trusted_proxies_are_addresses_and_networks() -> None:
    """A host name or an invalid address is refused."""
    assert load({"TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.7,2001:db8::/32"}).trusted_proxies == (
        "10.0.0.0/8",
        "192.0.2.7",
        "2001:db8::/32",
    )
    with pytest.raises(ValidationError):
        load({"TRUSTED_PROXIES": "10.0.0.0/8,proxy.example.com"})


def test_the_local_stack_may_use_the_secrets_of_the_demo() -> None:
    """The demo's secrets are long enough, are recognised as the demo's, and are permitted in the local stack."""
    assert {C2S_TOKEN, GOOGLE_KEY} <= DEMO_SECRETS
    assert min(map(len, (C2S_TOKEN, GOOGLE_KEY))) >= MIN_SECRET_CHARACTERS
    stack = Stack(lambda _: None)
    try:
        assert stack.settings().allow_demo_secrets
        assert stack.producers_internal_url == stack.page("producers") != stack.producers_url
    finally:
        stack.stop()
