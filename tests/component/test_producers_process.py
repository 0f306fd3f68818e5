"""``python -m producers`` as an operator starts and stops it; no broker is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from producers.__main__ import main

SECRETS = {"C2S_WEBHOOK_TOKEN": "c2s-secret-value", "GOOGLE_ADS_KEY": "google-secret-value"}
NOWHERE = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "PRODUCER_PORT": "0", "LOG_JSON": "true"}
GOOD = b'{"id":"L1","attributes":{"updated_at":"2026-01-31T12:00:00Z","customer":{"phone":"11987654321"}}}'


def environment(**variables: str) -> dict[str, str]:
    ours = {*SECRETS, *NOWHERE, "ALLOW_UNAUTHENTICATED", "ALLOW_DEMO_SECRETS", "PRODUCER_INTERNAL_PORT", "LOG_LEVEL"}
    return {**{name: value for name, value in os.environ.items() if name not in ours}, **NOWHERE, **variables}


@contextmanager
def running(variables: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int, list[dict[str, Any]]]]:
    """The process, its port, and the lines of its log up to the one that names the port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "producers"],
        env=environment(**variables),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(orjson.loads(line))
            if "port" in lines[-1]:
                break
        assert lines, "it said nothing"
        yield process, lines[-1]["port"], lines
    finally:
        process.kill()
        process.communicate()


def curl(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Status and body; a client of the standard library, so that this file needs no loop."""
    import http.client  # noqa: PLC0415 - used here only

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("given", [{}, {"C2S_WEBHOOK_TOKEN": "x"}, {"GOOGLE_ADS_KEY": "x"}, {"GOOGLE_ADS_KEY": " , "}])
def test_it_does_not_start_without_its_secrets(given: dict[str, str]) -> None:
    """A missing secret ends the process with exit code 2 and names the variable."""
    result = CliRunner().invoke(main, [], env={**dict.fromkeys(SECRETS, ""), "ALLOW_UNAUTHENTICATED": "", **given})
    assert result.exit_code == 2
    for name in SECRETS:
        assert (f" {name}" in result.stderr) == (given.get(name, "").strip(" ,") == "")
    assert "ALLOW_UNAUTHENTICATED=true" in result.stderr


def test_every_fault_of_the_configuration_is_reported() -> None:
    """All faults are reported at once, with exit code 2."""
    result = CliRunner().invoke(main, [], env={"PRODUCER_PORT": "many", "SHUTDOWN_GRACE": "soon"})
    assert result.exit_code == 2
    assert "PRODUCER_PORT" in result.stderr
    assert "SHUTDOWN_GRACE" in result.stderr


def test_help_has_an_example() -> None:
    """--help shows how to start the producers."""
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "python -m producers" in result.output


def test_it_serves_while_the_broker_is_away_and_says_so() -> None:
    """Without a broker the process is healthy and not ready, answers 503 in time, and stops with exit code 0."""
    with running({**SECRETS, "LOG_LEVEL": "DEBUG"}) as (process, port, lines):
        assert curl(port, "/healthz") == (200, b'{"status":"ok"}')
        status, body = curl(lines[-1]["internal_port"], "/readyz")
        assert (status, orjson.loads(body)["status"]) == (503, "unavailable")
        started = time.monotonic()
        assert curl(port, "/api/v1/webhooks/c2s?token=c2s-secret-value", GOOD)[0] == 503
        assert curl(port, "/api/v1/webhooks/c2s?token=almost-secret-value", GOOD)[0] == 401
        assert time.monotonic() - started < 30
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert out == b""
    assert b"secret-value" not in err
    assert b"98765" not in err
    assert orjson.loads(err.splitlines()[-1])["event"] == "stopped"


def test_the_operators_pages_are_on_the_internal_port_only() -> None:
    """The public port serves webhooks and health only; the internal port serves no webhooks."""
    with running(SECRETS) as (_, port, lines):
        internal = lines[-1]["internal_port"]
        for page in ("/readyz", "/metrics", "/openapi.json"):
            assert curl(port, page)[0] == 404
            assert curl(internal, page)[0] in {200, 503}
        assert curl(internal, "/healthz")[0] == 200
        assert curl(internal, "/api/v1/webhooks/c2s?token=c2s-secret-value", GOOD)[0] == 404


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ("a-password-without-user", "user:password"),
        ("olx:a-good-password-of-ours,:x", "user:password"),
        ("grupo-olx:demo-grupo-olx-password", "ALLOW_DEMO_SECRETS=true"),
        ("another-user:demo-grupo-olx-password", "ALLOW_DEMO_SECRETS=true"),
    ],
)
def test_malformed_and_public_credentials_stop_the_start(credentials: str, said: str) -> None:
    """HTTP Basic needs user and password, and the demo's password is refused with any user."""
    variables = {**SECRETS, "GRUPO_OLX_CREDENTIALS": credentials, "ALLOW_DEMO_SECRETS": ""}
    result = CliRunner().invoke(main, [], env=variables)
    assert result.exit_code == 2
    assert "GRUPO_OLX_CREDENTIALS" in result.stderr
    assert said in result.stderr
    assert "password-of-ours" not in result.stderr + result.stdout
    assert "demo-grupo-olx-password" not in result.stderr + result.stdout


def test_an_optional_source_without_credentials_is_not_served() -> None:
    """The process starts, and the log names the missing variable."""
    with running(SECRETS) as (_, port, lines):
        assert any(line.get("missing") == "GRUPO_OLX_CREDENTIALS" and line["level"] == "info" for line in lines)
        assert curl(port, "/api/v1/webhooks/grupo-olx", b"{}")[0] == 404


@pytest.mark.parametrize(
    "secret", ["demo-webhook-token", "demo-google-key", "a-good-secret-of-ours,demo-google-ads-key"]
)
def test_the_secrets_of_the_demo_need_permission(secret: str) -> None:
    """The demo's secrets, which are public, stop the start unless ALLOW_DEMO_SECRETS is set."""
    variables = {**SECRETS, "C2S_WEBHOOK_TOKEN": secret, "ALLOW_DEMO_SECRETS": ""}
    result = CliRunner().invoke(main, [], env=variables)
    assert result.exit_code == 2
    assert "C2S_WEBHOOK_TOKEN" in result.stderr
    assert "ALLOW_DEMO_SECRETS=true" in result.stderr
    assert secret not in result.stderr
    with running({**variables, "ALLOW_DEMO_SECRETS": "true"}) as (_, port, _lines):
        assert curl(port, "/healthz")[0] == 200


def test_a_short_secret_causes_a_warning() -> None:
    """A secret with less than 16 characters causes a warning about the next release."""
    with running({"C2S_WEBHOOK_TOKEN": "a-good-secret-of-ours,short", "GOOGLE_ADS_KEY": "x" * 16}) as (_, _port, lines):
        (warning,) = [line for line in lines if "next release" in line["event"]]
        assert (warning["level"], warning["variables"]) == ("warning", "C2S_WEBHOOK_TOKEN")


def test_unauthenticated_routes_cause_a_warning() -> None:
    """With ALLOW_UNAUTHENTICATED the process starts without secrets, and the log names what is open."""
    with running({"ALLOW_UNAUTHENTICATED": "true"}) as (_, port, lines):
        assert any(line["level"] == "warning" and "GOOGLE_ADS_KEY" in line.get("missing", "") for line in lines)
        assert curl(port, "/api/v1/webhooks/google-ads", b"{}")[0] == 503  # its dead letter needs the broker


def test_a_port_in_use_ends_the_process_with_a_reason() -> None:
    """The second process on a port ends with exit code 1 and one line."""
    with running(SECRETS) as (_, port, _):
        second = subprocess.run(
            [sys.executable, "-m", "producers"],
            env=environment(**SECRETS, PRODUCER_PORT=str(port)),
            capture_output=True,
            timeout=120,
            check=False,
        )
    assert second.returncode == 1
    assert f"port {port}".encode() in second.stderr
    assert b"PRODUCER_PORT" in second.stderr
    assert b"Traceback" not in second.stderr
