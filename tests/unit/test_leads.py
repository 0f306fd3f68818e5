"""Webhooks in: what arrives in production is read, and what can't be is poison and nothing else."""

from __future__ import annotations

import hashlib
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from bench.leads import as_typed
from stream.domain.errors import PoisonError
from stream.domain.events import schema
from stream.domain.forms import FormAnswer
from stream.domain.identity import contact_of, identifiers_of
from stream.domain.leads import (
    RULES_VERSION,
    Lead,
    Source,
    Webhook,
    decode_webhook,
    encode_webhook,
    normalised_of,
    parse_instant,
    written,
)
from stream.domain.sources import SOURCES
from stream.domain.sources.c2s import read_lead as lead_from_c2s
from stream.domain.sources.google_ads import read_lead as lead_from_google
from stream.domain.typed_contact import typed_contact
from stream.local.people import population, typed

GOLDEN = Path(__file__).parent.parent / "golden"
NOW = datetime(2026, 1, 31, 15, 0, tzinfo=UTC)
NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SCHEMA = Draft202012Validator(schema("webhooks"))
C2S: dict[str, Any] = {"id": "L1", "attributes": {"updated_at": "2026-01-31T12:00:00Z"}}

OLX_FIELDS = [name for name in SOURCES[Source.GRUPO_OLX].payload_schema["properties"] if name != "originLeadId"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def golden(name: str) -> Any:
    return orjson.loads((GOLDEN / f"{name}.json").read_bytes())


def published(webhook: Webhook, payload: Any, **changes: Any) -> bytes:
    """The message that the producers publish; ``changes`` to what they have normalised."""
    read = normalised_of(webhook.lead, contact_of(webhook.lead, frozenset()))
    return encode_webhook(webhook.source, webhook.received_at, payload, {**read, **changes})


def said(value: bytes, denied_aliases: frozenset[str] = frozenset()) -> tuple[object, ...]:
    """All that an event says of a webhook."""
    webhook = decode_webhook(value)
    lead = webhook.lead
    contact = contact_of(lead, denied_aliases)
    created = (typed_contact(lead, contact), lead.message, lead.answers) if SOURCES[lead.source].is_created else ()
    facts = (lead.source, lead.id, lead.updated_at, lead.hook_action, lead.name, lead.product, lead.is_test)
    return (*facts, *created, webhook.received_at, contact)


def sent(payload: Any, source: str = "c2s", **changes: Any) -> bytes:
    return orjson.dumps({"source": source, "received_at": NOW, "payload": payload, **changes})


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
def test_what_production_sends_is_read(name: str, expected: Lead, key: str) -> None:
    """Each golden webhook goes through the topic and gives its lead and key."""
    payload = golden(name)
    value = encode_webhook(expected.source, NOW, payload, {"key": key})
    webhook = decode_webhook(value)
    assert webhook.lead == expected
    assert (webhook.source, webhook.received_at) == (expected.source, NOW)
    assert contact_of(webhook.lead, frozenset()).key == key
    SCHEMA.validate(orjson.loads(value))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31T12:00:00Z", NOON),
        ("2026-01-31t12:00:00z", NOON),
        ("2026-01-31T09:00:00-03:00", NOON),
        ("2026-01-31T12:00:00.123456789Z", NOON.replace(microsecond=123456)),
        ("2026-01-31 12:00:00 +0000", NOON),
        ("2026-01-31 09:00:00 -0300", NOON),
        ("2026-01-31 09:00:00.5 -03:00", NOON.replace(microsecond=500_000)),
        ("2026-01-31 12:00:00", NOON),
        (" 2026-01-31 12:00:00.000001 ", NOON.replace(microsecond=1)),
    ],
)
def test_an_instant_is_read_in_each_spelling(text: str, instant: datetime) -> None:
    """RFC 3339, C2S's offset and a naive time are one instant, in UTC."""
    read = parse_instant(text, "x")
    assert read == instant
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "value", [None, "", 1, "yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00", ["x"]]
)
def test_what_is_no_instant_is_poison_with_its_path(value: object) -> None:
    """A time that can't be read names its field."""
    with pytest.raises(PoisonError) as caught:
        parse_instant(value, "attributes.updated_at")
    assert caught.value.path == "attributes.updated_at"


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
    """What is required and missing, or of another shape, is poison with its path."""
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
    """The same for a form."""
    with pytest.raises(PoisonError) as caught:
        lead_from_google(payload)
    assert caught.value.path == path


def test_an_optional_part_of_another_shape_loses_no_lead() -> None:
    """Odd products, names, phones and times count as not given."""
    customer = {"name": ["Ana"], "phone": 11987654321, "email": {"a": 1}}
    lead = lead_from_c2s({"id": 7, "attributes": {**C2S["attributes"], "customer": customer, "product": "Casa"}})
    assert (lead.id, lead.name, lead.phone, lead.email, lead.product) == ("7", "", "11987654321", "", None)
    form = lead_from_google({"lead_id": "g", "lead_submit_time": "soon", "is_test": "true", "user_column_data": None})
    assert (form.updated_at, form.is_test, form.name) == (None, False, "")


def test_the_first_of_a_column_that_occurs_twice_counts() -> None:
    """A form's columns are read in their order; the person's own come before those of work."""
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
    """A text is cut to what an event carries, and PostgreSQL can hold it."""
    customer = {"name": "A\x00na" + "x" * 1_000}
    lead = lead_from_c2s({"id": "L", "attributes": {**C2S["attributes"], "customer": customer}})
    assert lead.name.startswith("Anax")
    assert len(lead.name) == 500


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "tombstone"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": 1e400}', "unknown source"),
        (b'{"a": "\\ud800"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "an object is required"),
        (b"null", "an object is required"),
        (sent(C2S, source="crm"), "unknown source"),
        (orjson.dumps({"source": ["c2s"], "received_at": NOW, "payload": C2S}), "unknown source"),
        (sent([]), "an object is required"),
        (sent(C2S, received_at="?"), "not an instant"),
    ],
)
def test_what_can_never_be_read_is_poison(value: bytes | None, reason: str) -> None:
    """No JSON, or another shape: poison that says so."""
    with pytest.raises(PoisonError, match=reason):
        decode_webhook(value)


@pytest.mark.parametrize(
    "odd", ['"a\\u0000b"', "18446744073709551616", "1" * 300, "[" * 300 + "]" * 300, '{"na\\u0000me": 1}', "1e300"]
)
def test_an_odd_value_in_a_field_that_nobody_reads_costs_no_lead(odd: str) -> None:
    """A NUL, a large number or deep nesting beside the lead was answered 200, and is no reason to lose it."""
    value = sent({**C2S, "odd": orjson.Fragment(odd.encode())})
    assert decode_webhook(value).lead == decode_webhook(sent(C2S)).lead


@given(st.binary())
@example(b'{"source":"c2s","received_at":"2026-01-31T12:00:00Z","payload":{"id":"\\u0000"}}')
def test_any_bytes_are_a_webhook_or_poison(value: bytes) -> None:
    """No bytes raise anything but PoisonError."""
    try:
        webhook = decode_webhook(value)
    except PoisonError:
        return
    assert webhook.lead.id


@given(
    st.sampled_from(list(Source)),
    json_values,
    st.dictionaries(
        st.sampled_from([*["id", "lead_id", "hook_action", "user_column_data", "is_test"], *OLX_FIELDS]),
        json_values,
    ),
    st.dictionaries(st.sampled_from(["updated_at", "customer", "product"]), json_values),
    st.sampled_from(["all of it", "parts"]),
)
def test_any_json_is_a_webhook_or_poison(
    source: str, payload: Any, fields: dict[str, Any], attributes: dict[str, Any], odd: str
) -> None:
    """No JSON raises anything but PoisonError; what is read is accepted by the schema, written again and equal.

    And what the producers make of it says the same to the worker, payload or not.
    """
    if odd == "parts":
        at = "2026-01-31T12:00:00Z"
        payload = {
            "id": "L1",
            "lead_id": "g1",
            "originLeadId": "o1",
            **fields,
            "attributes": {"updated_at": at, **attributes},
        }
    try:
        value = orjson.dumps({"source": source, "received_at": NOW, "payload": payload})
    except TypeError:  # a lone surrogate, an integer beyond 64 bit: nobody can write it
        return
    try:
        webhook = decode_webhook(value)
    except PoisonError:
        return
    assert decode_webhook(encode_webhook(webhook.source, webhook.received_at, payload, None)) == webhook
    assert said(published(webhook, payload)) == said(value)
    SCHEMA.validate(orjson.loads(value))


ANA = {"name": "Ana Souza", "phone": "(11) 98765-4321", "email": "Ana@Example.com"}
LEAD = {"id": "L1", "attributes": {"updated_at": "2026-01-31T12:00:00Z", "customer": ANA}}
OTHER = {"name": "Bia", "phone": "21912345678", "email": None}


def test_what_the_producers_read_is_not_read_again() -> None:
    """A payload beside a ``normalised`` of today's rules and of this very payload is passed over, whatever it says."""
    webhook = decode_webhook(sent(LEAD))
    assert said(published(webhook, {"anything": 1})) == said(sent(LEAD))


@pytest.mark.parametrize("forgotten", ["payload_crc", "rules"])
def test_a_payload_that_was_edited_is_read(forgotten: str) -> None:
    """An upstream that copies a message and edits it gets the person of its own payload, never the copied one."""
    value = published(decode_webhook(sent(LEAD)), LEAD)
    edited = value.replace(b"98765-4321", b"91234-4321")
    assert said(edited) == said(sent(LEAD).replace(b"98765-4321", b"91234-4321")) != said(value)
    message = orjson.loads(value)
    message["payload"]["attributes"]["customer"] = OTHER
    other = {**LEAD, "attributes": {**LEAD["attributes"], "customer": OTHER}}
    assert said(orjson.dumps(message)) == said(sent(other))
    del message["normalised"][forgotten]
    assert said(orjson.dumps(message)) == said(sent(other))


@pytest.mark.parametrize("changed", [None, "1", 1.5, -1, 2**70])
def test_a_checksum_that_is_none_is_no_proof(changed: object) -> None:
    """Where the checksum has another type or value, the payload is read."""
    message = orjson.loads(published(decode_webhook(sent(LEAD)), LEAD))
    message["normalised"] = {**message["normalised"], "name": "Bia", "payload_crc": changed}
    value = json.dumps(message).encode()
    assert decode_webhook(value).lead.name == "Ana Souza"


@pytest.mark.parametrize("blanks", [b"", b" ", b"\n\t "])
def test_the_checksum_is_of_the_payloads_bytes_alone(blanks: bytes) -> None:
    """Blanks around the payload are no part of it: whoever formats the message anew need not read it again."""
    value = published(decode_webhook(sent(LEAD)), {"anything": 1})
    spaced = value.replace(b'"payload":', b'"payload":' + blanks).replace(b',"normalised"', blanks + b',"normalised"')
    assert said(spaced) == said(sent(LEAD))


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": RULES_VERSION + 1},
        {"rules": None},
        {"name": "a\x00b"},
        {"lead": ""},
        {"lead": "x" * 257},
        {"product": "x" * 501},
        {"updated_at": None},
        {"updated_at": "2026-01-31 12:00"},
        {"updated_at": "0001-01-01T00:00:00+14:00"},
        {"phone": 5},
        {"is_test": None},
    ],
)
def test_what_they_would_not_have_written_is_read_from_the_payload(changes: dict[str, Any]) -> None:
    """Other rules, another type, a NUL, no instant: the payload counts, and nothing is lost."""
    other = {"id": "L2", "attributes": {"updated_at": "2026-01-31T13:00:00Z", "customer": OTHER}}
    assert said(published(decode_webhook(sent(LEAD)), other, **changes)) == said(sent(other))


@pytest.mark.parametrize(
    "changes",
    [
        {"typed": 5},
        {"typed": {"phone": "a\x00"}},
        {"typed": {"email": "a" * 301}},
        {"answers": [{"question": "a", "answer": "b" * 301}]},
        {"answers": [{"question": "a\x00", "answer": "b"}]},
        {"answers": [{"question": "a"}]},
        {"answers": [{"question": "a", "answer": "b"}] * 21},
        {"message": "a\x00"},
        {"message": 5},
    ],
)
def test_typed_text_that_they_would_not_have_written_is_read_from_the_payload(changes: dict[str, Any]) -> None:
    """Too many answers, too long ones, a NUL, another type: what the form says counts."""
    form = golden("google_form")
    assert said(published(decode_webhook(sent(form, "google_ads")), form, **changes)) == said(sent(form, "google_ads"))


typed_values = json_values | st.sampled_from(
    ["(11) 98765-4321", "98765-0001", "+51 987 654 022", "Ana@X.com", "ana@x.com 11 98765-0123", 11987650123, 1.5]
)


@given(st.dictionaries(st.sampled_from(["name", "phone", "email"]), typed_values), st.sampled_from(["", "11"]))
def test_producers_and_worker_read_the_same_contact(customer: dict[str, Any], area_code: str) -> None:
    """Whatever JSON a source puts into name, phone and e-mail, the key of the message is the worker's key."""
    payload = {"id": "L1", "attributes": {"updated_at": "2026-01-31T12:00:00Z", "customer": customer}}
    try:
        raw = orjson.dumps(payload)
    except TypeError:  # a lone surrogate, an integer beyond 64 bit
        return
    lead = lead_from_c2s(orjson.loads(raw))
    read = identifiers_of(lead, frozenset(), area_code)
    webhook = decode_webhook(encode_webhook(Source.C2S, NOW, raw, normalised_of(lead, read)))
    contact = contact_of(webhook.lead, frozenset(), area_code)
    assert (contact.key, contact.phone, contact.email) == (read.key, read.phone, read.email)
    assert contact.area_code_assumed == read.area_code_assumed
    assert webhook.lead.name == lead.name


@pytest.mark.parametrize(
    "columns",
    [
        {"PHONE_NUMBER": "98765-0001", "EMAIL": "não tenho", "Mensagem": "ligar\nà tarde"},
        {"PHONE_NUMBER": "11 98765-0123 ramal 3", "EMAIL": "Ana <ana@x.com>"},
        {"PHONE_NUMBER": "ana@x.com", "EMAIL": "(11) 98765-0123"},
        {"PHONE_NUMBER": "11 99999-9999", "CPF": "111.111.111-11"},
        {"PHONE_NUMBER": ["98765-0001", "11 98765-0123"]},
        {"PHONE_NUMBER": 11987650123.0, "CPF": 52998224725},
        {"PHONE_NUMBER": "+51 987 654 022"},
    ],
)
def test_what_was_typed_is_the_same_to_the_worker_whoever_reads_it(columns: dict[str, Any]) -> None:
    """The event says of a form the same whether the producers read it or the worker does."""
    payload = {
        "lead_id": "g",
        "user_column_data": [{"column_id": name, "string_value": text} for name, text in columns.items()],
    }
    value = sent(payload, "google_ads")
    assert said(published(decode_webhook(value), payload)) == said(value)


def test_producers_and_workers_may_complete_phones_by_other_area_codes() -> None:
    """A completed phone is read again by the worker: its own DEFAULT_AREA_CODE, or none, decides."""
    payload = {"id": "L1", "attributes": {"updated_at": "2026-01-31T12:00:00Z", "customer": {"phone": "98765-0001"}}}
    lead = lead_from_c2s(payload)
    read = normalised_of(lead, contact_of(lead, frozenset(), "11"))
    assert (read["rules"], read["phone"], read["key"]) == (None, "+5511987650001", "+5511987650001")
    assert read["area_code_assumed"] is True
    again = decode_webhook(encode_webhook(Source.C2S, NOW, payload, read)).lead
    assert contact_of(again, frozenset(), "21").key == "+5521987650001"
    assert contact_of(again, frozenset()).key == "L1"


@pytest.mark.parametrize("phone", ["+5511999990000", "11 1111-1111", "call me"])
def test_what_the_producers_left_out_is_read_by_whoever_knows_more(phone: str) -> None:
    """A denied, placeholder or unreadable phone leaves no number of rules: a worker that denies nobody reads it."""
    payload = {"id": "L1", "attributes": {"updated_at": "2026-01-31T12:00:00Z", "customer": {"phone": phone}}}
    lead = lead_from_c2s(payload)
    read = normalised_of(lead, contact_of(lead, frozenset({"p:+5511999990000"})))
    assert (read["rules"], read["phone"]) == (None, None)
    assert said(encode_webhook(Source.C2S, NOW, payload, read)) == said(sent(payload))


def test_the_workers_denylist_holds_for_what_the_producers_read() -> None:
    """A number that only the worker denies is nobody's there."""
    denied = frozenset({"p:+5511987654321", "e:ana@example.com"})
    assert said(published(decode_webhook(sent(LEAD)), LEAD), denied)[-1].key == "L1"  # type: ignore[attr-defined]


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_is_written_as_python_writes_it(instant: datetime) -> None:
    """The ids of deliveries are made of it: the quick way writes every instant as ``isoformat`` does."""
    assert written(instant) == instant.isoformat()


def test_other_rules_have_another_number() -> None:
    """Whoever changes how a payload is read gives RULES_VERSION its next number, and this digest its next value."""
    chance = random.Random(7)
    read = [lead_from_c2s(golden(name)) for name in ("c2s_close_naive", "c2s_create", "c2s_update_offset")]
    read += [lead_from_google(golden(name)) for name in ("google_form", "google_form_newer", "google_test")]
    for someone in population(150, seed=7):
        sentence = f"ligar depois das 18h {typed(someone.phone, chance)} ou 3222-1234"
        local = f"+55 {someone.phone[2:]}"
        for phone in (typed(someone.phone, chance), someone.phone[2:], "+351 912 345 678", sentence, local):
            customer = {"name": f" {as_typed(someone.name, chance)} ", "phone": phone, "email": someone.email.upper()}
            attributes = {"updated_at": "2026-01-31 09:00:00 -0300", "customer": customer}
            read.append(lead_from_c2s({"id": someone.cpf, "hook_action": " x ", "attributes": attributes}))
    said = repr([normalised_of(lead, contact_of(lead, frozenset())) for lead in read])
    assert (RULES_VERSION, hashlib.sha256(said.encode()).hexdigest()[:16]) == (2, "3c9200b6a1a06249")
