"""``normalised``: the worker reads the same lead whether the producers normalised it or not."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.leads import as_typed
from stream.domain.identity import contact_of, identifiers_of
from stream.domain.leads import RULES_VERSION, Source, decode_webhook, encode_webhook, normalised_of
from stream.domain.sources.c2s import read_lead as lead_from_c2s
from stream.domain.sources.google_ads import read_lead as lead_from_google
from stream.local.people import population, typed
from tests.support.webhook_records import NOW, event_facts, golden, json_values, plain_record, producer_record

ANA = {"name": "Ana Souza", "phone": "(11) 98765-4321", "email": "Ana@Example.com"}
LEAD = {"id": "L1", "attributes": {"updated_at": "2026-01-31T12:00:00Z", "customer": ANA}}
OTHER = {"name": "Bia", "phone": "21912345678", "email": None}


def test_a_normalised_payload_is_not_read_again() -> None:
    """With a ``normalised`` of the current rules and the right checksum the payload is not read."""
    webhook = decode_webhook(plain_record(LEAD))
    assert event_facts(producer_record(webhook, {"anything": 1})) == event_facts(plain_record(LEAD))


@pytest.mark.parametrize("forgotten", ["payload_crc", "rules"])
def test_an_edited_payload_is_read(forgotten: str) -> None:
    """A record that was copied and edited gives the lead of its own payload, never the copied one."""
    value = producer_record(decode_webhook(plain_record(LEAD)), LEAD)
    edited = value.replace(b"98765-4321", b"91234-4321")
    assert (
        event_facts(edited)
        == event_facts(plain_record(LEAD).replace(b"98765-4321", b"91234-4321"))
        != event_facts(value)
    )
    message = orjson.loads(value)
    message["payload"]["attributes"]["customer"] = OTHER
    other = {**LEAD, "attributes": {**LEAD["attributes"], "customer": OTHER}}
    assert event_facts(orjson.dumps(message)) == event_facts(plain_record(other))
    del message["normalised"][forgotten]
    assert event_facts(orjson.dumps(message)) == event_facts(plain_record(other))


@pytest.mark.parametrize("changed", [None, "1", 1.5, -1, 2**70])
def test_with_a_wrong_checksum_the_payload_is_read(changed: object) -> None:
    """If the checksum has another type or value, the payload is read."""
    message = orjson.loads(producer_record(decode_webhook(plain_record(LEAD)), LEAD))
    message["normalised"] = {**message["normalised"], "name": "Bia", "payload_crc": changed}
    value = json.dumps(message).encode()
    assert decode_webhook(value).lead.name == "Ana Souza"


@pytest.mark.parametrize("blanks", [b"", b" ", b"\n\t "])
def test_the_checksum_does_not_cover_blanks_around_the_payload(blanks: bytes) -> None:
    """A record with other blanks around the payload keeps its ``normalised``."""
    value = producer_record(decode_webhook(plain_record(LEAD)), {"anything": 1})
    spaced = value.replace(b'"payload":', b'"payload":' + blanks).replace(b',"normalised"', blanks + b',"normalised"')
    assert event_facts(spaced) == event_facts(plain_record(LEAD))


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
def test_an_invalid_normalised_is_ignored(changes: dict[str, Any]) -> None:
    """If ``normalised`` has other rules, a wrong type, a NUL or no instant, the payload is read."""
    other = {"id": "L2", "attributes": {"updated_at": "2026-01-31T13:00:00Z", "customer": OTHER}}
    assert event_facts(producer_record(decode_webhook(plain_record(LEAD)), other, **changes)) == event_facts(
        plain_record(other)
    )


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
def test_a_normalised_with_invalid_typed_text_is_ignored(changes: dict[str, Any]) -> None:
    """If typed text has too many answers, too long ones, a NUL or a wrong type, the payload is read."""
    form = golden("google_form")
    assert event_facts(
        producer_record(decode_webhook(plain_record(form, "google_ads")), form, **changes)
    ) == event_facts(plain_record(form, "google_ads"))


typed_values = json_values | st.sampled_from(
    ["(11) 98765-4321", "98765-0001", "+51 987 654 022", "Ana@X.com", "ana@x.com 11 98765-0123", 11987650123, 1.5]
)


@given(st.dictionaries(st.sampled_from(["name", "phone", "email"]), typed_values), st.sampled_from(["", "11"]))
def test_producers_and_worker_read_the_same_contact(customer: dict[str, Any], area_code: str) -> None:
    """For any JSON in name, phone and e-mail, producers and worker find the same key and contact."""
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
def test_typed_text_is_the_same_whoever_reads_the_form(columns: dict[str, Any]) -> None:
    """An event says the same about a form whether the producers or the worker read it."""
    payload = {
        "lead_id": "g",
        "user_column_data": [{"column_id": name, "string_value": text} for name, text in columns.items()],
    }
    value = plain_record(payload, "google_ads")
    assert event_facts(producer_record(decode_webhook(value), payload)) == event_facts(value)


def test_producers_and_workers_may_complete_phones_by_other_area_codes() -> None:
    """The worker reads a completed phone again, with its own DEFAULT_AREA_CODE or none."""
    payload = {"id": "L1", "attributes": {"updated_at": "2026-01-31T12:00:00Z", "customer": {"phone": "98765-0001"}}}
    lead = lead_from_c2s(payload)
    read = normalised_of(lead, contact_of(lead, frozenset(), "11"))
    assert (read["rules"], read["phone"], read["key"]) == (None, "+5511987650001", "+5511987650001")
    assert read["area_code_assumed"] is True
    again = decode_webhook(encode_webhook(Source.C2S, NOW, payload, read)).lead
    assert contact_of(again, frozenset(), "21").key == "+5521987650001"
    assert contact_of(again, frozenset()).key == "L1"


@pytest.mark.parametrize("phone", ["+5511999990000", "11 1111-1111", "call me"])
def test_a_phone_that_the_producers_left_out_is_read_by_the_worker(phone: str) -> None:
    """A denied, placeholder or unreadable phone sets ``rules`` to None, so a worker with another denylist reads it."""
    payload = {"id": "L1", "attributes": {"updated_at": "2026-01-31T12:00:00Z", "customer": {"phone": phone}}}
    lead = lead_from_c2s(payload)
    read = normalised_of(lead, contact_of(lead, frozenset({"p:+5511999990000"})))
    assert (read["rules"], read["phone"]) == (None, None)
    assert event_facts(encode_webhook(Source.C2S, NOW, payload, read)) == event_facts(plain_record(payload))


def test_the_workers_denylist_applies_to_a_normalised_lead() -> None:
    """An alias that only the worker denies identifies nobody there."""
    denied = frozenset({"p:+5511987654321", "e:ana@example.com"})
    assert event_facts(producer_record(decode_webhook(plain_record(LEAD)), LEAD), denied)[-1].key == "L1"  # type: ignore[attr-defined]


def test_other_rules_have_another_version() -> None:
    """If the reading of a payload changes, increase RULES_VERSION and update this digest."""
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
