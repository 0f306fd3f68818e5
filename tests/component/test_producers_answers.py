"""Answers about the broker, health, paths and errors."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from producers.sources.endpoint import PREFIX
from tests.support.producers_client import C2S, GOOGLE, Client, event, until


async def test_there_is_no_200_before_the_acknowledgement(client: Client) -> None:
    """The answer waits for the acknowledgement of the broker."""
    client.broker.gate.clear()
    answer = asyncio.create_task(client.c2s(event()))
    await until(lambda: client.broker.waiting == 1)
    await asyncio.sleep(0.05)
    assert not answer.done()
    client.broker.gate.set()
    assert (await answer)[0] == 200


@pytest.mark.parametrize("path", [f"{C2S}?token=c2s-secret", GOOGLE])
async def test_without_the_broker_a_webhook_is_answered_503(client: Client, path: str) -> None:
    """While the broker is away, readable and unreadable webhooks get 503 with Retry-After."""
    for body in (event(), {"id": None}):
        client.broker.failures = 1
        data = orjson.dumps({**body, "google_key": "google-secret"})
        async with client.session.post(path, data=data) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            assert set(await response.json()) == {"message"}
    assert client.broker.records == []


async def test_health_readiness_and_metrics(client: Client) -> None:
    """/healthz answers while the loop runs, /readyz asks the broker, /metrics counts the webhooks."""
    await client.c2s([event("M1"), event("M1"), {}])
    assert await client.get("/healthz") == (200, '{"status":"ok"}')
    assert await client.get_internal("/readyz") == (200, '{"status":"ok","checks":{"broker":"ok"}}')
    client.broker.failures = 1
    assert await client.get_internal("/readyz") == (503, '{"status":"unavailable","checks":{"broker":"no answer"}}')
    status, metrics = await client.get_internal("/metrics")
    assert status == 200
    for result in ("processed", "duplicate", "rejected"):
        assert f'leads_webhooks_received_total{{result="{result}",source="c2s"}}' in metrics


async def test_unknown_paths_and_methods_are_refused(client: Client) -> None:
    """404 and 405 are JSON, 405 names the allowed methods, and HEAD is GET without the body."""
    assert (await client.get("/"))[0] == 404
    assert (await client.post("/api/v1/webhooks/c2s/", {}))[0] == 404
    async with client.session.get(C2S) as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
        assert set(await response.json()) == {"message"}
    async with client.session.head("/healthz") as response:
        assert response.status == 200


async def test_the_openapi_document_names_every_route_and_answer(client: Client) -> None:
    """Every route of /openapi.json exists and gives one of its documented answers."""
    document = orjson.loads((await client.get_internal("/openapi.json"))[1])
    assert document["openapi"].startswith("3.")
    for path, methods in document["paths"].items():
        for method in methods:
            session = client.session if path == "/healthz" or path.startswith(PREFIX) else client.internal_session
            async with session.request(method, path, data=b"{}") as response:
                assert str(response.status) in methods[method]["responses"]
    receipt = document["components"]["schemas"]["Receipt"]
    _, answer = await client.c2s([event(), {}])
    assert set(receipt["required"]) <= set(answer) <= set(receipt["properties"])


async def test_an_unexpected_error_reveals_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect is answered 500 without a traceback, and the server goes on."""

    async def broken(records: object) -> None:
        raise RuntimeError(f"inside {type(records)}")

    monkeypatch.setattr(client.broker, "publish", broken)
    assert await client.c2s(event()) == (500, {"message": "internal server error"})
    assert await client.get("/healthz") == (200, '{"status":"ok"}')
    caplog.clear()
