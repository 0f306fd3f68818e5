"""What a dead letter becomes when it is sent on its way again.

It goes back to the topic that it lay in, with its key, bytes and headers: its identity is the same, so whoever has
its event already drops the new one. Only what counted tries is left out, and a header says that it was redriven.

What the producers could not read never lay in a topic: it is read again, as they would, and goes where they
would have sent it. What would die again by what this version knows is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from stream.domain.dead_letters import TOO_LARGE, Letter, Stage
from stream.domain.errors import PoisonError
from stream.domain.events import decode_event, event_headers, event_id
from stream.domain.headers import CE_SOURCE, CE_TIME, CE_TYPE, OF_TRIES, REDRIVEN, REROUTE
from stream.domain.identity import identified
from stream.domain.leads import decode_webhook, encode_webhook, lead_from, normalised_of
from stream.domain.parking import instant_of
from stream.domain.sources.lead import Source

LEFT_OUT = OF_TRIES | {REROUTE, REDRIVEN}


@dataclass(frozen=True, slots=True)
class Revived:
    """A record to publish; ``partition`` None: the key decides."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def revive(letter: Letter, value: bytes | None, denied_aliases: frozenset[str], area_code: str = "") -> Revived:
    """The record of a redriven letter. ``denied_aliases``: of denied contacts; ``area_code``: as for ``identified``.

    Raises PoisonError where it would only die again, or nobody knows where it came from.
    """
    match letter.stage:
        case Stage.RECEIVE:
            return _as_received(letter, value or b"", denied_aliases, area_code)
        case Stage.ENRICH if letter.reason == TOO_LARGE:
            raise PoisonError(TOO_LARGE)  # it would lie where it lay
        case Stage.ENRICH:
            decode_webhook(value)
        case Stage.CRM:
            _must_be_event(value)
        case _:
            raise PoisonError(f"nobody knows what to do with the stage {letter.stage!r}")
    kept = [(name, said) for name, said in letter.original if name not in LEFT_OUT]
    return Revived(letter.topic, letter.partition, letter.key, value, [*kept, _says(letter)])


def _as_received(letter: Letter, value: bytes, denied_aliases: frozenset[str], area_code: str) -> Revived:
    """What the producers would have made of it."""
    payload = _payload(value)
    source = _source(letter)
    received_at = instant_of(letter.header(CE_TIME)) or letter.failed_at
    lead = lead_from(source, payload)
    contact = identified(lead, denied_aliases, area_code)
    message = encode_webhook(source, received_at, value, normalised_of(lead, contact))
    headers = _received_headers(letter, event_id(lead), received_at)
    return Revived(letter.topic, None, contact.key.encode(), message, [*headers, _says(letter)])


def _payload(value: bytes) -> dict[str, Any]:
    try:
        payload = orjson.loads(value)
    except ValueError:
        raise PoisonError("not JSON") from None
    if not isinstance(payload, dict):
        raise PoisonError("an object is required")
    return payload


def _source(letter: Letter) -> Source:
    """Which sender it came from: the last part of its ``ce_source``."""
    try:
        return Source(letter.header(CE_SOURCE).rsplit("/", 1)[-1])
    except ValueError:
        raise PoisonError("nobody knows which sender it came from") from None


def _received_headers(letter: Letter, identity: str, at: datetime) -> list[tuple[str, bytes]]:
    return event_headers(identity, at, letter.header(CE_TYPE), letter.header(CE_SOURCE))


def _must_be_event(value: bytes | None) -> None:
    try:
        decode_event(value or b"")
    except ValueError:
        raise PoisonError("not an event of contacts.enriched") from None


def _says(letter: Letter) -> tuple[str, bytes]:
    return REDRIVEN, str(letter.offset).encode()
