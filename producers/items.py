"""What one webhook becomes: a record for the topic, or a dead letter with its reason. Pure."""

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
# Brackets of a payload that can't be nested too deeply for any reader; real ones have some dozens.
HARMLESS = 200
LONGEST_LEAD = 256  # characters of an id that is shown


class Part(msgspec.Struct, frozen=True):  # made for every webhook: a named tuple costs three times as much
    """One webhook of a body. ``raw``: its bytes as they came in; ``fault``: why it is refused before it is read.

    ``path``: the field at fault.
    """

    raw: bytes
    payload: Any = None
    fault: str = ""
    path: str = ""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record for the broker. ``identity``: the delivery's, equal for a second delivery of the same.

    ``lead``: the lead's id, where it could be read.
    """

    topic: str
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes | None]]
    identity: str
    lead: str = ""


def webhook(
    source: Source, part: Part, received_at: datetime, denied_aliases: frozenset[str], area_code: str = ""
) -> Record:
    """The record of a webhook that can be read; raises PoisonError.

    ``denied_aliases``: aliases of denied contacts; ``area_code``: completes phones that were typed without one.
    """
    payload = _object(part)
    lead = SOURCES[source].read(payload)
    contact = identifiers_of(lead, denied_aliases, area_code)
    identity = event_id(lead)
    # The payload's own bytes: what is not known to us survives to the last digit.
    value = encode_webhook(source, received_at, part.raw, normalised_of(lead, contact))
    headers = event_headers(identity, received_at, EVENT_TYPE, EVENT_SOURCES[source])
    return Record(topics.WEBHOOKS.name, contact.key.encode(), value, headers, identity, lead.id)


def dead_letter(source: Source, part: Part, received_at: datetime, error: PoisonError) -> Record:
    """The record of a webhook that can't be read: its bytes, and why. It never was in a topic: offset -1."""
    identity = blake2b(part.raw, digest_size=16).hexdigest()
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
    return Record(topics.DEAD.name, None, part.raw, headers, identity, _lead_of(source, part.payload))


def _lead_of(source: Source, payload: object) -> str:
    """The id of a lead that can't be read as a whole: for the log, masked there."""
    if not isinstance(payload, dict):
        return ""
    # The other sources' names too: a payload may have been posted to the wrong path.
    names = (SOURCES[source].id_field, *ID_FIELDS)
    lead = next((found for name in names if (found := payload.get(name))), "")
    return lead[:LONGEST_LEAD] if isinstance(lead, str) else ""


def _object(part: Part) -> dict[str, Any]:
    if part.fault:
        raise PoisonError(part.fault, path=part.path)
    if not isinstance(part.payload, dict):
        raise PoisonError("an object is required")
    if part.raw.count(b"{") + part.raw.count(b"[") > HARMLESS:
        _must_not_be_deep(part.payload)
    return part.payload


def _must_not_be_deep(payload: dict[str, Any]) -> None:
    """What we could not write back, a consumer of the topic could not either."""
    try:
        orjson.dumps(payload)
    except TypeError:
        raise PoisonError("nested too deeply") from None
