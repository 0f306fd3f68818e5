"""The readers of C2S and Google Ads: production payloads are read; a payload that can't be read names the field."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from stream.domain.errors import PoisonError
from stream.domain.events import schema
from stream.domain.forms import FormAnswer
from stream.domain.identity import contact_of
from stream.domain.leads import Lead, Source, decode_webhook, encode_webhook
from stream.domain.sources.c2s import read_lead as lead_from_c2s
from stream.domain.sources.google_ads import read_lead as lead_from_google
from tests.support.webhook_records import C2S, NOW, golden

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SCHEMA = Draft202012Validator(schema("webhooks"))


@pytest.mark.parametrize(
    ("name", "expected", "key"),
    [
        (
            "c2s_create",
            Lead(
                source=Source.C2S,
                id="b3f1c7a8d2e94c55",
                updated_at=NOON.isoformat(),
                hook_action="on_create_lead",
                name="João da Silva",
                phone="(11) 98765-4321",
                email="Joao.Silva@Example.com",
                cpf="",
                product="Apartamento 2 quartos, Moema",
            ),
            "+5511987654321",
        ),
        (
            "c2s_update_offset",
            Lead(
                source=Source.C2S,
                id="b3f1c7a8d2e94c55",
                updated_at=NOON.replace(microsecond=250_000).isoformat(),
                hook_action="on_update_lead",
                name="JOAO SILVA",
                phone="5511987654321",
                email="",
                cpf="",
                product=None,
            ),
            "+5511987654321",
        ),
        (
            "c2s_close_naive",
            Lead(
                source=Source.C2S,
                id="90817263",
                updated_at=NOON.replace(microsecond=500_000).isoformat(),
                hook_action="on_close_lead",
                name="",
                phone="",
                email="",
                cpf="",
                product=None,
            ),
            "90817263",
        ),
        (
            "google_form",
            Lead(
                source=Source.GOOGLE_ADS,
                id="TeSter-123-ABCDEFGHIJKLMNOPQRSTUVWXYZ-abcdefghijklmnopqrstuvwxyz-0123456789-AaBbCcDdEeFf",
                updated_at=None,
                hook_action=None,
                name="Ana Paula Souza",
                phone="+55 21 99876-5432",
                email="ana.souza@example.com",
                cpf="529.982.247-25",
                product=None,
                answers=(FormAnswer("City", "Rio de Janeiro"),),
            ),
            "+5521998765432",
        ),
        (
            "google_form_newer",
            Lead(
                source=Source.GOOGLE_ADS,
                id="Cj0KCQ-newer",
                updated_at="2026-02-01T15:04:05+00:00",
                hook_action=None,
                name="Ana Souza",
                phone="21 3333-4444",
                email="ana@empresa.com.br",
                cpf="52998224725",
                product=None,
            ),
            "+552133334444",
        ),
        (
            "google_test",
            Lead(
                source=Source.GOOGLE_ADS,
                id="test-lead",
                updated_at=None,
                hook_action=None,
                name="FirstName LastName",
                phone="+16505550123",
                email="",
                cpf="",
                product=None,
                is_test=True,
            ),
            "+16505550123",
        ),
    ],
)
def test_production_payloads_are_read(name: str, expected: Lead, key: str) -> None:
    """Each golden payload, encoded and decoded, gives its lead and key."""
    payload = golden(name)
    value = encode_webhook(expected.source, NOW, payload, {"key": key})
    webhook = decode_webhook(value)
    assert webhook.lead == expected
    assert (webhook.source, webhook.received_at) == (expected.source, NOW)
    assert contact_of(webhook.lead, frozenset()).key == key
    SCHEMA.validate(orjson.loads(value))


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({}, "attributes"),
        ({"attributes": []}, "attributes"),
        ({"id": "L1", "attributes": {}}, "attributes.updated_at"),
        ({**C2S, "id": None}, "id"),
        ({**C2S, "id": ""}, "id"),
        ({**C2S, "id": " "}, "id"),
        ({**C2S, "id": True}, "id"),
        ({**C2S, "id": "x" * 257}, "id"),
        ({**C2S, "id": {"a": 1}}, "id"),
        ({"id": "L1", "attributes": {**C2S["attributes"], "customer": "Ana"}}, "attributes.customer"),
    ],
)
def test_a_c2s_event_that_can_not_be_read_names_the_field(payload: dict[str, Any], path: str) -> None:
    """A required field that is missing or has the wrong type raises PoisonError with its path."""
    with pytest.raises(PoisonError) as caught:
        lead_from_c2s(payload)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({}, "lead_id"),
        ({"lead_id": 1.5}, "lead_id"),
        ({"lead_id": "g", "user_column_data": {}}, "user_column_data"),
        ({"lead_id": "g", "user_column_data": [{}, 1]}, "user_column_data[1]"),
    ],
)
def test_a_google_form_that_can_not_be_read_names_the_field(payload: dict[str, Any], path: str) -> None:
    """A required field of a form that is missing or has the wrong type raises PoisonError with its path."""
    with pytest.raises(PoisonError) as caught:
        lead_from_google(payload)
    assert caught.value.path == path


def test_an_optional_field_of_the_wrong_type_loses_no_lead() -> None:
    """Products, names, phones and times of the wrong type count as not given."""
    customer = {"name": ["Ana"], "phone": 11987654321, "email": {"a": 1}}
    lead = lead_from_c2s({"id": 7, "attributes": {**C2S["attributes"], "customer": customer, "product": "Casa"}})
    assert (lead.id, lead.name, lead.phone, lead.email, lead.product) == ("7", "", "11987654321", "", None)
    form = lead_from_google({"lead_id": "g", "lead_submit_time": "soon", "is_test": "true", "user_column_data": None})
    assert (form.updated_at, form.is_test, form.name) == (None, False, "")


def test_of_a_column_that_occurs_twice_the_first_counts() -> None:
    """Columns are read in order; private phone and e-mail come before those of work."""
    columns = [
        {"column_id": "work_phone", "string_value": "1133334444"},
        {"column_id": "PHONE_NUMBER", "string_value": "11987654321"},
        {"column_id": "PHONE_NUMBER", "string_value": "21987654321"},
        {"column_name": "CPF", "string_value": 52998224725},
        {"string_value": "?"},
    ]
    lead = lead_from_google({"lead_id": "g", "user_column_data": columns})
    assert (lead.phone, lead.cpf) == ("11987654321", "52998224725")


def test_long_texts_and_nul_do_not_reach_an_event() -> None:
    """A text is cut to 500 characters and has no NUL."""
    customer = {"name": "A\x00na" + "x" * 1_000}
    lead = lead_from_c2s({"id": "L", "attributes": {**C2S["attributes"], "customer": customer}})
    assert lead.name.startswith("Anax")
    assert len(lead.name) == 500
