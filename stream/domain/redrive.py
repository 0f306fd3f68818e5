"""The record that is published when a dead letter is redriven.

It goes to its original topic with its key, bytes and headers. Its identity does not change, so consumers that have its
event drop the new one. Only the retry headers are removed, and a header says that the record was redriven.

A body that the producers could not read was never in a topic. It is read again as the producers would read it, and
published where they would have published it. A dead letter that this version can't read either is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from stream.domain.dead_letters import TOO_LARGE, DeadLetter, Stage
from stream.domain.errors import PoisonError
from stream.domain.events import decode_event, event_headers, event_id
from stream.domain.headers import CE_SOURCE, CE_TIME, CE_TYPE, REDRIVEN, REROUTE, RETRY_HEADERS
from stream.domain.identity import identifiers_of
from stream.domain.leads import decode_webhook, encode_webhook, lead_from, normalised_of
from stream.domain.parking import instant_of
from stream.domain.sources.lead import Source

_REMOVED_HEADERS = RETRY_HEADERS | {REROUTE, REDRIVEN}


@dataclass(frozen=True, slots=True)
class RedrivenRecord:
    """A record to publish. ``partition`` is None if the key selects it."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def redriven_record(
    letter: DeadLetter, value: bytes | None, denied_aliases: frozenset[str], area_code: str = ""
) -> RedrivenRecord:
    """The record to publish for a dead letter. ``denied_aliases`` and ``area_code``: as for ``identifiers_of``.

    Raises PoisonError if the record would become a dead letter again, or if its stage or sender is not known.
    """
    match letter.stage:
        case Stage.RECEIVE:
            return _as_producers_publish(letter, value or b"", denied_aliases, area_code)
        case Stage.ENRICH if letter.reason == TOO_LARGE:
            raise PoisonError(TOO_LARGE)  # it would be rerouted, and refused, again
        case Stage.ENRICH:
            decode_webhook(value)
        case Stage.CRM:
            _must_be_event(value)
        case _:
            raise PoisonError(f"unknown stage {letter.stage!r}")
    kept = [(name, said) for name, said in letter.original if name not in _REMOVED_HEADERS]
    return RedrivenRecord(letter.topic, letter.partition, letter.key, value, [*kept, _redriven_header(letter)])


def _as_producers_publish(
    letter: DeadLetter, value: bytes, denied_aliases: frozenset[str], area_code: str
) -> RedrivenRecord:
    """The record as the producers would have published it."""
    payload = _payload(value)
    source = _source(letter)
    received_at = instant_of(letter.header(CE_TIME)) or letter.failed_at
    lead = lead_from(source, payload)
    contact = identifiers_of(lead, denied_aliases, area_code)
    message = encode_webhook(source, received_at, value, normalised_of(lead, contact))
    headers = _received_headers(letter, event_id(lead), received_at)
    return RedrivenRecord(letter.topic, None, contact.key.encode(), message, [*headers, _redriven_header(letter)])


def _payload(value: bytes) -> dict[str, Any]:
    try:
        payload = orjson.loads(value)
    except ValueError:
        raise PoisonError("not JSON") from None
    if not isinstance(payload, dict):
        raise PoisonError("an object is required")
    return payload


def _source(letter: DeadLetter) -> Source:
    """The source that sent it: the last part of its ``ce_source``."""
    try:
        return Source(letter.header(CE_SOURCE).rsplit("/", 1)[-1])
    except ValueError:
        raise PoisonError("its header ce_source names no known source") from None


def _received_headers(letter: DeadLetter, identity: str, at: datetime) -> list[tuple[str, bytes]]:
    return event_headers(identity, at, letter.header(CE_TYPE), letter.header(CE_SOURCE))


def _must_be_event(value: bytes | None) -> None:
    try:
        decode_event(value or b"")
    except ValueError:
        raise PoisonError("not an event of contacts.enriched") from None


def _redriven_header(letter: DeadLetter) -> tuple[str, bytes]:
    return REDRIVEN, str(letter.offset).encode()
