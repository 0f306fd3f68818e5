"""KAFKA_BOOTSTRAP_SERVERS."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stream.settings import load


@pytest.mark.parametrize(
    "servers", ["localhost", "localhost:9092", "a:1, b-2.example:65535", "10.0.0.1:9092,[::1]:9092", "kafka_1:9092"]
)
def test_addresses_are_accepted(servers: str) -> None:
    """Names and addresses, each with a port or without one."""
    assert load({"KAFKA_BOOTSTRAP_SERVERS": servers}).kafka_bootstrap_servers == servers


@pytest.mark.parametrize("servers", ["a:b", "http://x/y", "a:1,,b:2", "a b:1", "a:1;b:2", "a:", "user@a:1"])
def test_others_are_a_fault_of_the_configuration(servers: str) -> None:
    """They can never connect, so no process starts with them."""
    with pytest.raises(ValidationError, match="comma-separated"):
        load({"KAFKA_BOOTSTRAP_SERVERS": servers})
