"""What the producers publish and answer for webhooks that they can read; the broker is in memory."""

from __future__ import annotations

import zlib
from typing import Any

import orjson
import pytest

from stream.domain.leads import RULES_VERSION, decode_webhook
from tests.support.producers_client import GOOGLE, NOW, Client, event, headers_of


async def test_one_event_is_answered_as_the_contract_says_and_published(client: Client) -> None:
    """A C2S event gets the answer of the contract and becomes one record with its contact's key."""
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


async def test_an_array_is_published_as_single_events(client: Client) -> None:
    """Each item of an array becomes a record, with or without blanks around it."""
    body = b" [" + orjson.dumps(event("L1")) + b" ,\n " + orjson.dumps(event("L2")) + b"]\n"
    status, answer = await client.c2s(body)
    event_ids = [record.identity for record in client.broker.webhooks]
    counts = {"status": "received", "received": 2, "processed": 2, "duplicates": 0}
    assert (status, answer) == (200, {**counts, "event_ids": event_ids})
    assert [decode_webhook(record.value).lead.id for record in client.broker.webhooks] == ["L1", "L2"]
    nothing = {"status": "received", "received": 0, "processed": 0, "duplicates": 0, "event_ids": []}
    assert await client.c2s([]) == (200, nothing)


@pytest.mark.parametrize("form", ["{}", "[{}]"], ids=["one", "array"])
async def test_unknown_fields_are_published_byte_by_byte(client: Client, form: str) -> None:
    """Unknown fields reach the topic in their original bytes, even numbers that no double can hold."""
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
    """Webhooks with the same phone have the same key, however the phone is typed."""
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
async def test_a_value_that_is_no_contact_is_not_the_key_and_is_published(
    client: Client, customer: dict[str, Any], key: bytes
) -> None:
    """A placeholder or an unreadable value is not the key, and the payload is published unchanged."""
    sent = event(**customer)
    assert (await client.c2s(sent))[0] == 200
    assert client.broker.webhooks[0].key == key
    assert orjson.loads(client.broker.webhooks[0].value)["payload"] == sent


async def test_the_normalised_lead_is_published_beside_the_payload(client: Client) -> None:
    """The record holds the normalised lead for every consumer of the topic."""
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


async def test_a_google_lead_is_answered_with_an_empty_object(client: Client) -> None:
    """A lead form is published under its CPF and answered with an empty object and the event's id in a header."""
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


async def test_a_test_lead_is_published_with_its_mark(client: Client) -> None:
    """A test lead gets the usual answer, and its record says that it is a test."""
    assert await client.google(lead_id="g1", is_test=True) == (200, {})
    (record,) = client.broker.webhooks
    assert orjson.loads(record.value)["normalised"]["is_test"] is True
    assert decode_webhook(record.value).lead.is_test
