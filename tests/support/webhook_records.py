"""Records of the topic ``webhooks`` for tests: golden payloads, records with and without ``normalised``, any JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from hypothesis import strategies as st

from stream.domain.identity import contact_of
from stream.domain.leads import Webhook, decode_webhook, encode_webhook, normalised_of
from stream.domain.sources import SOURCES
from stream.domain.typed_contact import typed_contact

GOLDEN = Path(__file__).parent.parent / "golden"
NOW = datetime(2026, 1, 31, 15, 0, tzinfo=UTC)
C2S: dict[str, Any] = {"id": "L1", "attributes": {"updated_at": "2026-01-31T12:00:00Z"}}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def golden(name: str) -> Any:
    """The golden payload ``name``."""
    return orjson.loads((GOLDEN / f"{name}.json").read_bytes())


def producer_record(webhook: Webhook, payload: Any, **changes: Any) -> bytes:
    """The record that the producers publish. ``changes``: to its ``normalised``."""
    read = normalised_of(webhook.lead, contact_of(webhook.lead, frozenset()))
    return encode_webhook(webhook.source, webhook.received_at, payload, {**read, **changes})


def event_facts(value: bytes, denied_aliases: frozenset[str] = frozenset()) -> tuple[object, ...]:
    """Everything that an event says about the webhook of a record."""
    webhook = decode_webhook(value)
    lead = webhook.lead
    contact = contact_of(lead, denied_aliases)
    created = (typed_contact(lead, contact), lead.message, lead.answers) if SOURCES[lead.source].is_created else ()
    facts = (lead.source, lead.id, lead.updated_at, lead.hook_action, lead.name, lead.product, lead.is_test)
    return (*facts, *created, webhook.received_at, contact)


def plain_record(payload: Any, source: str = "c2s", **changes: Any) -> bytes:
    """A record without ``normalised``. ``changes``: to its fields."""
    return orjson.dumps({"source": source, "received_at": NOW, "payload": payload, **changes})
