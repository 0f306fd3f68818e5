"""Records of ``webhooks``: each is decoded to a webhook, or raises PoisonError and nothing else."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stream.domain.errors import PoisonError
from stream.domain.events import schema
from stream.domain.leads import Source, decode_webhook, encode_webhook
from stream.domain.sources import SOURCES
from tests.support.webhook_records import C2S, NOW, event_facts, json_values, plain_record, producer_record

SCHEMA = Draft202012Validator(schema("webhooks"))
OLX_FIELDS = [name for name in SOURCES[Source.GRUPO_OLX].payload_schema["properties"] if name != "originLeadId"]


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
        (plain_record(C2S, source="crm"), "unknown source"),
        (orjson.dumps({"source": ["c2s"], "received_at": NOW, "payload": C2S}), "unknown source"),
        (plain_record([]), "an object is required"),
        (plain_record(C2S, received_at="?"), "not an instant"),
    ],
)
def test_a_value_that_can_never_be_read_raises_poison(value: bytes | None, reason: str) -> None:
    """A value that is no JSON, or no webhook, raises PoisonError with the reason."""
    with pytest.raises(PoisonError, match=reason):
        decode_webhook(value)


@pytest.mark.parametrize(
    "odd", ['"a\\u0000b"', "18446744073709551616", "1" * 300, "[" * 300 + "]" * 300, '{"na\\u0000me": 1}', "1e300"]
)
def test_an_odd_value_in_an_unread_field_loses_no_lead(odd: str) -> None:
    """A NUL, a large number or deep nesting in a field that is not read does not lose the lead."""
    value = plain_record({**C2S, "odd": orjson.Fragment(odd.encode())})
    assert decode_webhook(value).lead == decode_webhook(plain_record(C2S)).lead


@given(st.binary())
@example(b'{"source":"c2s","received_at":"2026-01-31T12:00:00Z","payload":{"id":"\\u0000"}}')
def test_any_bytes_are_a_webhook_or_poison(value: bytes) -> None:
    """Any bytes are decoded or raise PoisonError."""
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
    """Any JSON is decoded or raises PoisonError. A decoded one fits the schema and is the same after encoding.

    The worker reads the same facts from the record that the producers publish for it.
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
    assert event_facts(producer_record(webhook, payload)) == event_facts(value)
    SCHEMA.validate(orjson.loads(value))
