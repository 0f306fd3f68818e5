"""The two webhooks over real HTTP; the broker is the memory publisher."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
import pytest

from producers.app import App
from producers.memory import MemoryPublisher
from producers.server import listen
from producers.sources.endpoint import PREFIX
from stream.domain.leads import RULES_VERSION, decode_webhook
from stream.settings import load

C2S = "/api/v1/webhooks/c2s"
GOOGLE = "/api/v1/webhooks/google-ads"
NOW = datetime(2026, 1, 31, 15, 0, tzinfo=UTC)
SECRETS = {
    "C2S_WEBHOOK_TOKEN": "c2s-secret,c2s-next",
    "GOOGLE_ADS_KEY": "google-secret,google-next",
    "GRUPO_OLX_CREDENTIALS": "olx:olx-secret",
}


@dataclass
class Client:
    """An HTTP client of one server, and the broker behind it."""

    session: aiohttp.ClientSession
    inside: aiohttp.ClientSession
    broker: MemoryPublisher

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Status and JSON of a POST; bytes are sent as they are."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.session.post(path, data=data, headers=headers) as response:
            return response.status, await response.json()

    async def c2s(self, body: Any) -> tuple[int, Any]:
        """POST as C2S, with its token."""
        return await self.post(C2S, body, **{"X-Webhook-Token": "c2s-secret"})

    async def google(self, **fields: Any) -> tuple[int, Any]:
        """POST as Google, with its key."""
        return await self.post(GOOGLE, {"google_key": "google-secret", **fields})

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of a GET in public."""
        async with self.session.get(path) as response:
            return response.status, await response.text()

    async def look(self, path: str) -> tuple[int, str]:
        """Status and text of a page of the operator's."""
        async with self.inside.get(path) as response:
            return response.status, await response.text()


@pytest.fixture
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    broker = MemoryPublisher()
    settings = load({**SECRETS, **getattr(request, "param", {})})
    app = App(settings, broker, lambda: NOW)
    async with (
        listen(app.handle, "127.0.0.1", 0, 100, 2.0) as port,
        listen(app.handle_internal, "127.0.0.1", 0, 100, 2.0) as internal_port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        aiohttp.ClientSession(f"http://127.0.0.1:{internal_port}") as inside,
    ):
        yield Client(session, inside, broker)


def event(lead: str = "L1", **customer: Any) -> dict[str, Any]:
    return {
        "id": lead,
        "hook_action": "on_create_lead",
        "attributes": {"updated_at": "2026-01-31T12:00:00Z", "customer": customer or {"phone": "(11) 98765-4321"}},
    }


def headers_of(record: Any) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


async def until(holds: Any) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


async def test_one_event_is_answered_as_the_contract_says_and_published(client: Client) -> None:
    """One C2S event gives the contract's answer and one record, keyed by the contact, as the stream reads it."""
    status, answer = await client.c2s(event())
    (record,) = client.broker.webhooks
    assert (status, answer) == (
        200,
        {"status": "received", "received": 1, "processed": 1, "duplicates": 0, "event_ids": [record.identity]},
    )
    webhook = decode_webhook(record.value)
    assert record.key == b"+5511987654321"
    assert (webhook.source, webhook.lead.id, webhook.received_at) == ("c2s", "L1", NOW)
    headers = headers_of(record)
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_type"] == "webhook.received"
    assert headers["ce_source"] == "/lead-stream/producers/c2s"
    assert headers["ce_time"] == NOW.isoformat()
    assert headers["ce_id"] == record.identity


async def test_an_array_is_many_events(client: Client) -> None:
    """An array is taken item by item, blanks around them or not."""
    body = b" [" + orjson.dumps(event("L1")) + b" ,\n " + orjson.dumps(event("L2")) + b"]\n"
    status, answer = await client.c2s(body)
    event_ids = [record.identity for record in client.broker.webhooks]
    counts = {"status": "received", "received": 2, "processed": 2, "duplicates": 0}
    assert (status, answer) == (200, {**counts, "event_ids": event_ids})
    assert [decode_webhook(record.value).lead.id for record in client.broker.webhooks] == ["L1", "L2"]
    nothing = {"status": "received", "received": 0, "processed": 0, "duplicates": 0, "event_ids": []}
    assert await client.c2s([]) == (200, nothing)


@pytest.mark.parametrize("form", ["{}", "[{}]"], ids=["one", "array"])
async def test_what_is_not_known_to_us_survives_to_the_last_digit(client: Client, form: str) -> None:
    """Unknown fields reach the topic in the bytes that they came in, even numbers that no double holds."""
    raw = (
        '{"id":"L1","future":{"n":123456789012345678901234567890,"f":0.10000000000000000001,"s":"\\u0000 \\u00e7"},'
        '"attributes":{"updated_at":"2026-01-31 12:00:00","log":[{"sender":null}]}}'
    )
    assert (await client.c2s(form.replace("{}", raw).encode()))[0] == 200
    assert raw.encode() in client.broker.webhooks[0].value


@pytest.mark.parametrize(
    "phone", ["+5511987654321", "11987654321", "(11) 98765-4321", "5511987654321", "011 98765-4321", "1187654321"]
)
async def test_every_spelling_of_a_phone_has_one_key(client: Client, phone: str) -> None:
    """However a phone is typed, its webhooks go to one partition."""
    await client.c2s(event(phone=phone))
    assert client.broker.webhooks[0].key == b"+5511987654321"


@pytest.mark.parametrize(
    ("customer", "key"),
    [
        ({"phone": "11999999999", "email": "Ana@Example.com"}, b"ana@example.com"),
        ({"phone": "nao tem", "email": "teste@teste.com"}, b"L1"),
        ({"phone": None, "email": None}, b"L1"),
        ({"phone": 11987654321}, b"+5511987654321"),
    ],
)
async def test_what_can_not_be_a_contact_is_no_key_and_not_thrown_away(
    client: Client, customer: dict[str, Any], key: bytes
) -> None:
    """A placeholder or an unreadable value is not the key; the webhook goes on as it is."""
    sent = event(**customer)
    assert (await client.c2s(sent))[0] == 200
    assert client.broker.webhooks[0].key == key
    assert orjson.loads(client.broker.webhooks[0].value)["payload"] == sent


async def test_what_was_read_is_beside_what_was_received(client: Client) -> None:
    """The record carries the canonical contact for whoever reads the topic."""
    await client.c2s(event(phone="(11) 98765-4321", email="Ana@Example.com", name="Ana"))
    message = orjson.loads(client.broker.webhooks[0].value)
    assert message["normalised"] == {
        "rules": RULES_VERSION,
        "key": "+5511987654321",
        "lead": "L1",
        "updated_at": "2026-01-31T12:00:00+00:00",
        "hook_action": "on_create_lead",
        "name": "Ana",
        "product": None,
        "phone": "+5511987654321",
        "email": "ana@example.com",
        "cpf": None,
        "is_test": False,
        "payload_crc": zlib.crc32(orjson.dumps(message["payload"])),
    }


@pytest.mark.parametrize("token", ["c2s-secret", "c2s-next"])
async def test_a_token_is_accepted_in_the_header_and_in_the_url(client: Client, token: str) -> None:
    """Both secrets of a rotation are valid, in either place."""
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
    """Where a secret is configured nobody gets in without it, and nothing is published."""
    status, body = await client.post(path, event(), **headers)
    assert status == 401
    assert set(body) == {"message"}
    assert client.broker.records == []


@pytest.mark.parametrize("key", [None, "", "wrong", "google-secre", 1, True, ["google-secret"], {"a": 1}, "ç"])
async def test_a_wrong_or_missing_google_key_is_refused(client: Client, key: Any) -> None:
    """The key of a form is required and compared, whatever its type."""
    status, body = await client.post(GOOGLE, {"lead_id": "g1", "google_key": key})
    assert status == 401
    assert set(body) == {"message"}
    assert (await client.post(GOOGLE, {"lead_id": "g1"}))[0] == 401
    assert client.broker.records == []


@pytest.mark.parametrize(
    "client", [{"ALLOW_UNAUTHENTICATED": "true", "GOOGLE_ADS_KEY": ""}], indirect=True, ids=["google is open"]
)
async def test_only_a_route_without_a_secret_can_be_open(client: Client) -> None:
    """ALLOW_UNAUTHENTICATED opens what has no secret; a secret that is configured stays required."""
    assert (await client.post(GOOGLE, {"lead_id": "g1"}))[0] == 200
    assert (await client.post(C2S, event()))[0] == 401


async def test_a_google_lead_is_answered_with_an_empty_object(client: Client) -> None:
    """A lead form is published by its contact's key and answered as Google wants it; its CPF is read."""
    columns = [
        {"column_id": "FULL_NAME", "string_value": "Ana Souza"},
        {"column_id": "CPF", "string_value": "529.982.247-25"},
    ]
    form = {"lead_id": "g1", "campaign_id": 12345678901234567, "user_column_data": columns, "api_version": "1.0"}
    async with client.session.post(GOOGLE, json={**form, "google_key": "google-secret"}) as response:
        assert (response.status, await response.json()) == (200, {})
    assert await client.post(GOOGLE, {**form, "google_key": "google-next"}) == (200, {})
    first, second = client.broker.webhooks
    assert response.headers["X-Event-Id"] == first.identity
    assert first.key == b"52998224725"
    assert first.identity == second.identity
    assert orjson.loads(first.value)["payload"] == form


@pytest.mark.parametrize("spelling", ["google_key", "google\\u005fkey"])
async def test_the_google_key_goes_no_further(client: Client, spelling: str) -> None:
    """A secret never reaches a topic, however the field was spelled, not even in a dead letter."""
    await client.post(GOOGLE, f'{{"{spelling}": "google-secret", "lead_id": "g1"}}'.encode())
    await client.post(GOOGLE, f'{{"{spelling}": "google-secret", "no_id": "g1"}}'.encode())
    assert len(client.broker.webhooks) == len(client.broker.dead) == 1
    assert not any(b"google" in record.value.replace(b"google_ads", b"") for record in client.broker.records)


async def test_a_test_lead_is_published_with_its_mark(client: Client) -> None:
    """``is_test`` is answered like any lead, and says so in the topic."""
    assert await client.google(lead_id="g1", is_test=True) == (200, {})
    (record,) = client.broker.webhooks
    assert orjson.loads(record.value)["normalised"]["is_test"] is True
    assert decode_webhook(record.value).lead.is_test


async def test_a_bad_event_does_not_refuse_the_good_ones(client: Client) -> None:
    """The good ones of a batch are published, the bad ones are named and kept byte by byte."""
    bad = b'{"id": "L2",  "attributes": {"updated_at": "yesterday"}}'
    body = (
        b"[" + b",".join([orjson.dumps(event("L1")), bad, b"42", b'{"id":"\\ud800"}', orjson.dumps(event("L3"))]) + b"]"
    )
    status, answer = await client.c2s(body)
    assert status == 200
    rejected = answer.pop("rejected")
    assert answer == {
        "status": "received",
        "received": 5,
        "processed": 2,
        "duplicates": 0,
        "event_ids": [record.identity for record in client.broker.webhooks],
    }
    assert [(one["index"], one["path"]) for one in rejected] == [(1, "attributes.updated_at"), (2, ""), (3, "")]
    assert "surrogate" in rejected[2]["reason"]
    assert [decode_webhook(record.value).lead.id for record in client.broker.webhooks] == ["L1", "L3"]
    assert [record.value for record in client.broker.dead] == [bad, b"42", b'{"id":"\\ud800"}']
    headers = headers_of(client.broker.dead[0])
    assert headers["dl-stage"] == "receive"
    assert headers["dl-error"] == "PoisonError"
    assert headers["dl-reason"].startswith("attributes.updated_at: not an instant")
    assert headers["dl-failed-at"] == NOW.isoformat()
    assert headers["ce_source"] == "/lead-stream/producers/c2s"


@pytest.mark.parametrize("body", [{}, [{}, 1], None, "text", 42, {"id": "L1"}, {"id": True, "attributes": {}}])
async def test_a_body_with_nothing_good_is_refused_and_kept_once(client: Client, body: Any) -> None:
    """422 only when all is bad; a sender that tries again does not fill the dead letters."""
    parts = len(body) if isinstance(body, list) else 1
    for _ in range(3):
        status, answer = await client.c2s(body)
        assert status == 422
        assert (answer["status"], answer["received"], answer["processed"]) == ("rejected", parts, 0)
        assert len(answer["rejected"]) == parts
    assert client.broker.webhooks == []
    assert len(client.broker.dead) == parts


async def test_a_bad_google_lead_gets_a_message(client: Client) -> None:
    """Google is told the field at fault, and the form is kept."""
    status, body = await client.google(lead_id="", form_id=1)
    assert status == 422
    assert body["message"].startswith("lead_id: ")
    assert orjson.loads(client.broker.dead[0].value) == {"lead_id": "", "form_id": 1}


@pytest.mark.parametrize("body", [b"", b"{", b"[{}", b"[1 2]", b"nul", b"\xff", b'{"a": NaN}', b"a=1", b"[" * 60_000])
async def test_what_is_not_json_is_refused(client: Client, body: bytes) -> None:
    """A body that is no JSON gets 400, on both routes, and is nobody's dead letter."""
    assert (await client.c2s(body))[0] == 400
    status, answer = await client.post(GOOGLE, body)
    assert status == 400
    assert set(answer) == {"message"}
    assert client.broker.records == []


@pytest.mark.parametrize(
    "name", [b'"\\ud83d"', b'"Jo\xe3o"', b"1e999", b"[" * 400 + b"]" * 400], ids=["emoji", "latin", "number", "deep"]
)
async def test_what_json_can_say_and_nobody_can_hold_is_kept(client: Client, name: bytes) -> None:
    """A name cut in the middle of an emoji, say: refused with 422 and kept, alone; beside good ones they go on."""
    odd = b'{"id":"L1","attributes":{"updated_at":"2026-01-31T12:00:00Z","customer":{"name":' + name + b"}}}"
    assert (await client.c2s(odd))[0] == 422
    status, answer = await client.c2s(b"[" + odd + b" , " + orjson.dumps(event("L2")) + b"]")
    assert (status, answer["processed"], [one["index"] for one in answer["rejected"]]) == (200, 1, [0])
    assert [record.value for record in client.broker.dead] == [odd]
    form = b'{"google_key":"google-secret","lead_id":"g1","a":' + name + b"}"
    assert (await client.post(GOOGLE, form))[0] == 422
    assert len(client.broker.dead) == 2
    assert (await client.post(GOOGLE, form.replace(b"google-secret", b"wrong")))[0] == 401


async def test_a_second_delivery_is_told_so_and_published(client: Client) -> None:
    """A repeat counts as a duplicate, whatever the spelling of its instant; it is published all the same."""
    await client.c2s(event())
    again = event()
    again["attributes"]["updated_at"] = "2026-01-31 09:00:00 -0300"
    status, answer = await client.c2s(again)
    assert (status, answer["received"], answer["processed"], answer["duplicates"]) == (200, 1, 0, 1)
    assert answer["event_ids"] == [client.broker.webhooks[0].identity]
    later = event()
    later["attributes"]["updated_at"] = "2026-01-31T12:00:01Z"
    assert (await client.c2s(later))[1]["processed"] == 1
    first, second, third = client.broker.webhooks
    assert first.identity == second.identity != third.identity


async def test_a_repeat_within_a_body_is_counted(client: Client) -> None:
    """The same delivery twice in one array is one processed and one duplicate."""
    status, answer = await client.c2s([event(), event()])
    assert (status, answer["received"], answer["processed"], answer["duplicates"]) == (200, 2, 1, 1)


async def test_of_two_deliveries_at_once_each_is_counted_once(client: Client) -> None:
    """Two at once: received 2, processed 1, duplicates 1 between them."""
    client.broker.gate.clear()
    both = [asyncio.create_task(client.c2s(event())) for _ in range(2)]
    await until(lambda: client.broker.waiting == 2)
    client.broker.gate.set()
    answers = [(await one)[1] for one in both]
    sums = {name: sum(answer[name] for answer in answers) for name in ("received", "processed", "duplicates")}
    assert sums == {"received": 2, "processed": 1, "duplicates": 1}


async def test_nobody_is_a_duplicate_of_what_the_broker_does_not_have(client: Client) -> None:
    """When the first of two at once fails to be published, the second is processed; so is the next try."""
    client.broker.gate.clear()
    client.broker.failures = 1
    first = asyncio.create_task(client.c2s(event()))
    await until(lambda: client.broker.waiting == 1)
    second = asyncio.create_task(client.c2s(event()))
    await until(lambda: client.broker.waiting == 2)
    client.broker.gate.set()
    assert (await first)[0] == 503
    answer = (await second)[1]
    assert (answer["received"], answer["processed"], answer["duplicates"]) == (1, 1, 0)
    assert (await client.c2s(event()))[1]["duplicates"] == 1


@pytest.mark.parametrize("client", [{"PRODUCER_DUPLICATE_WINDOW": "2"}], indirect=True, ids=["window of 2"])
async def test_the_memory_of_deliveries_is_bounded(client: Client) -> None:
    """The least recently seen delivery is forgotten first."""
    for lead in ("L1", "L2", "L1", "L3"):
        await client.c2s(event(lead))
    answers = [(await client.c2s(event(lead)))[1]["duplicates"] for lead in ("L1", "L3", "L2")]
    assert answers == [1, 1, 0]


async def test_there_is_no_200_before_the_acknowledgement(client: Client) -> None:
    """The answer waits for the broker."""
    client.broker.gate.clear()
    answer = asyncio.create_task(client.c2s(event()))
    await until(lambda: client.broker.waiting == 1)
    await asyncio.sleep(0.05)
    assert not answer.done()
    client.broker.gate.set()
    assert (await answer)[0] == 200


@pytest.mark.parametrize("path", [f"{C2S}?token=c2s-secret", GOOGLE])
async def test_without_the_broker_the_sender_is_told_when_to_come_back(client: Client, path: str) -> None:
    """A broker that is away means 503 with Retry-After, for good events and bad ones alike."""
    for body in (event(), {"id": None}):
        client.broker.failures = 1
        data = orjson.dumps({**body, "google_key": "google-secret"})
        async with client.session.post(path, data=data) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            assert set(await response.json()) == {"message"}
    assert client.broker.records == []


async def test_the_pages_say_how_it_is(client: Client) -> None:
    """/healthz answers as long as the loop turns, /readyz asks the broker, /metrics counts."""
    await client.c2s([event("M1"), event("M1"), {}])
    assert await client.get("/healthz") == (200, '{"status":"ok"}')
    assert await client.look("/readyz") == (200, '{"status":"ok","checks":{"broker":"ok"}}')
    client.broker.failures = 1
    assert await client.look("/readyz") == (503, '{"status":"unavailable","checks":{"broker":"no answer"}}')
    status, metrics = await client.look("/metrics")
    assert status == 200
    for result in ("processed", "duplicate", "rejected"):
        assert f'leads_webhooks_received_total{{result="{result}",source="c2s"}}' in metrics


async def test_unknown_paths_and_methods_are_refused(client: Client) -> None:
    """404 and 405 are JSON, 405 names the methods, HEAD is GET without its body."""
    assert (await client.get("/"))[0] == 404
    assert (await client.post("/api/v1/webhooks/c2s/", {}))[0] == 404
    async with client.session.get(C2S) as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
        assert set(await response.json()) == {"message"}
    async with client.session.head("/healthz") as response:
        assert response.status == 200


async def test_the_openapi_document_names_every_route_and_answer(client: Client) -> None:
    """What /openapi.json promises is what the routes do."""
    document = orjson.loads((await client.look("/openapi.json"))[1])
    assert document["openapi"].startswith("3.")
    for path, methods in document["paths"].items():
        for method in methods:
            session = client.session if path == "/healthz" or path.startswith(PREFIX) else client.inside
            async with session.request(method, path, data=b"{}") as response:
                assert str(response.status) in methods[method]["responses"]
    receipt = document["components"]["schemas"]["Receipt"]
    _, answer = await client.c2s([event(), {}])
    assert set(receipt["required"]) <= set(answer) <= set(receipt["properties"])


async def test_no_secret_and_no_identifier_is_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever happens to a request, its token, its key and its contact stay out of the log."""
    caplog.set_level(logging.DEBUG)
    customer = {"phone": "(11) 98765-4321", "email": "ana.souza@example.com"}
    await client.c2s([event(**customer), {"id": "529.982.247-25", "attributes": customer}])
    await client.post(f"{C2S}?token=c2s-secret", b"{11987654321")
    await client.post(f"{C2S}?token=almost-c2s-secret", event(**customer))
    await client.post(GOOGLE, {"google_key": "almost-google-secret", **customer})
    client.broker.failures = 1
    await client.post(f"{C2S}?token=c2s-secret", event(**customer))
    _, metrics = await client.look("/metrics")
    written = caplog.text + metrics
    for secret in ("secret", "98765", "ana.souza", "529.982"):
        assert secret not in written.replace("wrong or missing secret", "")


async def test_an_error_nobody_foresaw_says_nothing_of_us(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug of ours is a 500 without a stack trace; the server goes on."""

    async def broken(records: object) -> None:
        raise RuntimeError(f"inside {type(records)}")

    monkeypatch.setattr(client.broker, "publish", broken)
    assert await client.c2s(event()) == (500, {"message": "internal server error"})
    assert await client.get("/healthz") == (200, '{"status":"ok"}')
    caplog.clear()
