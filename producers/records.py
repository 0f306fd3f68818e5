"""Makes the record of one webhook: for the topic, or a dead letter with its reason. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec
import orjson

from stream import topics
from stream.domain.dead_letters import Stage, dead_letter_headers
from stream.domain.errors import PoisonError
from stream.domain.events import event_headers, event_id
from stream.domain.identity import identifiers_of
from stream.domain.leads import encode_webhook, normalised_of
from stream.domain.sources import ID_FIELDS, SOURCES
from stream.domain.sources.lead import Source

EVENT_TYPE = "webhook.received"
EVENT_SOURCES = {source: f"/lead-stream/producers/{source}" for source in Source}
# A payload with fewer brackets can't be nested too deeply for a reader. Real payloads have some dozens.
MAX_UNCHECKED_BRACKETS = 200
MAX_LEAD_ID_CHARACTERS = 256  # in a log line


class RawWebhook(msgspec.Struct, frozen=True):  # made for every webhook: a named tuple costs three times as much
    """One webhook of a body, before it is read as a lead.

    ``raw``: its bytes as they came in. ``payload``: the parsed JSON. ``fault``: why it is rejected without being read,
    "" if it is not. ``path``: the field at fault.
    """

    raw: bytes
    payload: Any = None
    fault: str = ""
    path: str = ""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record for the broker.

    ``identity``: that of the delivery; a second delivery has the same. ``lead``: the lead's id, "" if unreadable.
    """

    topic: str
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes | None]]
    identity: str
    lead: str = ""


def webhook_record(
    source: Source, raw_webhook: RawWebhook, received_at: datetime, denied_aliases: frozenset[str], area_code: str = ""
) -> Record:
    """The record of a webhook. Raises PoisonError when it can't be read.

    ``area_code``: completes phones that have none.
    """
    payload = _payload_of(raw_webhook)
    lead = SOURCES[source].read(payload)
    contact = identifiers_of(lead, denied_aliases, area_code)
    identity = event_id(lead)
    # The payload's original bytes: unknown fields must survive to the last digit.
    value = encode_webhook(source, received_at, raw_webhook.raw, normalised_of(lead, contact))
    headers = event_headers(identity, received_at, EVENT_TYPE, EVENT_SOURCES[source])
    return Record(topics.WEBHOOKS.name, contact.key.encode(), value, headers, identity, lead.id)


def dead_letter_record(source: Source, raw_webhook: RawWebhook, received_at: datetime, error: PoisonError) -> Record:
    """The dead letter of a webhook that can't be read. Its partition and offset are -1: it never was in a topic."""
    identity = blake2b(raw_webhook.raw, digest_size=16).hexdigest()
    headers = dead_letter_headers(
        headers=event_headers(identity, received_at, EVENT_TYPE, EVENT_SOURCES[source]),
        topic=topics.WEBHOOKS.name,
        partition=-1,
        offset=-1,
        timestamp=received_at.timestamp(),
        stage=Stage.RECEIVE,
        error=type(error).__name__,
        reason=str(error),
        attempts=1,
        failed_at=received_at,
    )
    return Record(topics.DEAD.name, None, raw_webhook.raw, headers, identity, _lead_of(source, raw_webhook.payload))


def _lead_of(source: Source, payload: object) -> str:
    """The id of a lead that can't be read, for the log, which masks it."""
    if not isinstance(payload, dict):
        return ""
    # The id fields of the other sources too: a payload may have been posted to the wrong path.
    names = (SOURCES[source].id_field, *ID_FIELDS)
    lead = next((found for name in names if (found := payload.get(name))), "")
    return lead[:MAX_LEAD_ID_CHARACTERS] if isinstance(lead, str) else ""


def _payload_of(raw_webhook: RawWebhook) -> dict[str, Any]:
    if raw_webhook.fault:
        raise PoisonError(raw_webhook.fault, path=raw_webhook.path)
    if not isinstance(raw_webhook.payload, dict):
        raise PoisonError("an object is required")
    if raw_webhook.raw.count(b"{") + raw_webhook.raw.count(b"[") > MAX_UNCHECKED_BRACKETS:
        _require_encodable(raw_webhook.payload)
    return raw_webhook.payload


def _require_encodable(payload: dict[str, Any]) -> None:
    """Refuse a payload that can't be encoded again: a consumer of the topic could not do so either."""
    try:
        orjson.dumps(payload)
    except TypeError:
        raise PoisonError("nested too deeply") from None
