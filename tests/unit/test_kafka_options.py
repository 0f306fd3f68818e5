"""How the broker is spoken to: what every client is given for each security protocol."""

from __future__ import annotations

import ssl

import pytest

from stream.kafka.clients import client_options
from stream.settings import load

SASL = {
    "KAFKA_SASL_USERNAME": "leads",
    "KAFKA_SASL_PASSWORD": "not-to-be-seen",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
}


def test_a_plain_broker_needs_no_credentials() -> None:
    """Without security only the address is passed, whatever else is set."""
    options = client_options(load({"KAFKA_BOOTSTRAP_SERVERS": "one:1,two:2", **SASL}))
    assert options == {"bootstrap_servers": "one:1,two:2", "security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_sasl_passes_the_credentials(protocol: str) -> None:
    """Mechanism, user and password reach the client in clear, from a secret that is masked elsewhere."""
    options = client_options(load({"KAFKA_SECURITY_PROTOCOL": protocol, **SASL}))
    assert options["sasl_mechanism"] == "SCRAM-SHA-256"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("leads", "not-to-be-seen")


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_tls_checks_the_brokers_certificate(protocol: str) -> None:
    """A certificate is required and must name the host."""
    context = client_options(load({"KAFKA_SECURITY_PROTOCOL": protocol, **SASL}))["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
