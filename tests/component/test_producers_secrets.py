"""The secrets of the webhooks: who may post, and where secrets must never appear."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.support.producers_client import C2S, GOOGLE, Client, event


@pytest.mark.parametrize("token", ["c2s-secret", "c2s-next"])
async def test_a_token_is_accepted_in_the_header_and_in_the_url(client: Client, token: str) -> None:
    """Both secrets of a rotation are accepted, in the header and in the URL."""
    assert (await client.post(C2S, event(), **{"X-Webhook-Token": token}))[0] == 200
    assert (await client.post(f"{C2S}?token={token}&x=1", event()))[0] == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (C2S, {}),
        (f"{C2S}?token=", {}),
        (f"{C2S}?token=wrong", {}),
        (f"{C2S}?token=c2s-secret%20", {}),
        (C2S, {"X-Webhook-Token": ""}),
        (C2S, {"X-Webhook-Token": "c2s-secre"}),
        (C2S, {"X-Webhook-Token": "c2s-secret,c2s-next"}),
        (C2S, {"X-Webhook-Token": "çé"}),
        (f"{C2S}?token=c2s-secret", {"X-Webhook-Token": "wrong"}),
    ],
)
async def test_a_wrong_or_missing_token_is_refused(client: Client, path: str, headers: dict[str, str]) -> None:
    """A wrong or missing token is answered 401, and nothing is published."""
    status, body = await client.post(path, event(), **headers)
    assert status == 401
    assert set(body) == {"message"}
    assert client.broker.records == []


@pytest.mark.parametrize("key", [None, "", "wrong", "google-secre", 1, True, ["google-secret"], {"a": 1}, "ç"])
async def test_a_wrong_or_missing_google_key_is_refused(client: Client, key: Any) -> None:
    """A wrong or missing key of a form is answered 401 whatever its type, and nothing is published."""
    status, body = await client.post(GOOGLE, {"lead_id": "g1", "google_key": key})
    assert status == 401
    assert set(body) == {"message"}
    assert (await client.post(GOOGLE, {"lead_id": "g1"}))[0] == 401
    assert client.broker.records == []


@pytest.mark.parametrize(
    "client", [{"ALLOW_UNAUTHENTICATED": "true", "GOOGLE_ADS_KEY": ""}], indirect=True, ids=["google is open"]
)
async def test_allow_unauthenticated_opens_only_routes_without_a_secret(client: Client) -> None:
    """ALLOW_UNAUTHENTICATED serves a route that has no secret; a configured secret stays required."""
    assert (await client.post(GOOGLE, {"lead_id": "g1"}))[0] == 200
    assert (await client.post(C2S, event()))[0] == 401


@pytest.mark.parametrize("spelling", ["google_key", "google\\u005fkey"])
async def test_the_google_key_reaches_no_topic(client: Client, spelling: str) -> None:
    """The key is in no record and in no dead letter, however its field name is escaped."""
    await client.post(GOOGLE, f'{{"{spelling}": "google-secret", "lead_id": "g1"}}'.encode())
    await client.post(GOOGLE, f'{{"{spelling}": "google-secret", "no_id": "g1"}}'.encode())
    assert len(client.broker.webhooks) == len(client.broker.dead) == 1
    assert not any(b"google" in record.value.replace(b"google_ads", b"") for record in client.broker.records)


async def test_no_secret_and_no_identifier_is_in_logs_or_metrics(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Tokens, keys and contacts stay out of logs and metrics, whatever happens to a request."""
    caplog.set_level(logging.DEBUG)
    customer = {"phone": "(11) 98765-4321", "email": "ana.souza@example.com"}
    await client.c2s([event(**customer), {"id": "529.982.247-25", "attributes": customer}])
    await client.post(f"{C2S}?token=c2s-secret", b"{11987654321")
    await client.post(f"{C2S}?token=almost-c2s-secret", event(**customer))
    await client.post(GOOGLE, {"google_key": "almost-google-secret", **customer})
    client.broker.failures = 1
    await client.post(f"{C2S}?token=c2s-secret", event(**customer))
    _, metrics = await client.get_internal("/metrics")
    written = caplog.text + metrics
    for secret in ("secret", "98765", "ana.souza", "529.982"):
        assert secret not in written.replace("wrong or missing secret", "")
