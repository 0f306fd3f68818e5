"""The events of ``contacts.enriched``: their content, ids, revisions and bytes. ``schemas/`` has their JSON Schema.

``event_id`` identifies the delivery: a replay, a retry and a second delivery have the same. ``revision`` identifies
the content: consumers drop an event whose (event_id, revision) they know.

The enumerations are open: a later version may write a source, tier, outcome or match that this version does not know.
So ``EnrichedEvent`` has them as text. Compare them with ``==``, never with ``is``. Each reader decides what an unknown
value means.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from typing import Annotated, Any
from uuid import UUID

import msgspec
import orjson

from stream.domain import headers
from stream.domain.forms import FormAnswer
from stream.domain.identity import Contact
from stream.domain.instants import utc_isoformat
from stream.domain.leads import Webhook
from stream.domain.person import Person
from stream.domain.provider import NO_CALLS, CallCounts
from stream.domain.sources import SOURCES
from stream.domain.sources.lead import Lead
from stream.domain.typed_contact import TypedContact, typed_contact

SCHEMA_VERSION = 1
EVENT_TYPE = "contacts.enriched"
EVENT_SOURCE = "/lead-stream/worker"
NAMESPACE = UUID("6f9c2f1e-53b0-5a6e-9d61-3f5c0b1e7a44")  # never changes: it is part of every event id
_VERSION_HEADER = (headers.CE_VERSION, b"1.0")
# Copied for each id: ``hashlib.sha1`` makes OpenSSL look the algorithm up each time.
_NAMESPACE_HASH = hashlib.sha1(NAMESPACE.bytes, usedforsecurity=False)
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # RFC 9562


class Outcome(StrEnum):
    """How a webhook ended."""

    ENRICHED = "enriched"
    NOT_FOUND = "not_found"
    PENDING = "pending"
    NO_CONTACT = "no_contact"
    TEST = "test"
    AMBIGUOUS = "ambiguous"


class Tier(StrEnum):
    """The look-up tier that answered."""

    CACHE = "cache"
    POSTGRES = "postgres"
    DIRETRIX = "diretrix"
    FORM = "form"


class Match(StrEnum):
    """How the lead's name compares with the person's."""

    NAME = "name"
    NO_NAME = "no_name"
    NAME_DIFFERS = "name_differs"
    CONFLICTING = "conflicting"
    FIRST_NAME = "first_name"


class Answer(msgspec.Struct, frozen=True):
    """The worker's answer to one webhook. ``person``: JSON, copied into the event unchanged."""

    outcome: Outcome
    tier: Tier | None = None
    match: Match | None = None
    person: bytes | None = None
    facts: str = ""
    candidates: tuple[str, ...] = ()  # names, if several people fit equally well
    stale: bool = False
    parked: bool = False
    calls: CallCounts = NO_CALLS
    revision: str = ""  # computed from the other fields
    enum_texts: tuple[str, str | None, str | None] = ("", None, None)  # outcome, tier and match as events have them

    def __post_init__(self) -> None:
        texts = self.outcome.value, self.tier and self.tier.value, self.match and self.match.value
        msgspec.structs.force_setattr(self, "enum_texts", texts)
        msgspec.structs.force_setattr(self, "revision", revision(self.outcome, self._revision_facts()))

    def _revision_facts(self) -> str:
        """The facts that the revision covers.

        They include ``match`` only if the first release did not have its value: otherwise consumers would take each
        event of that release for a new one.
        """
        if self.outcome is Outcome.AMBIGUOUS:
            return "/".join(self.candidates)
        return f"{self.facts}/{self.match}" if self.match is Match.FIRST_NAME else self.facts

    @property
    def event_calls(self) -> Calls:
        """The paid calls, as events have them."""
        return Calls(**{provider.value: count for provider, count in self.calls.items()}) if self.calls else _NO_CALLS


def event_id(lead: Lead) -> str:
    """UUIDv5 of the delivery's identity, as its source defines it. Raises ValueError if no reader makes such a lead."""
    return _uuid5(SOURCES[lead.source].identity(lead))


def _uuid5(name: str) -> str:
    """``str(uuid.uuid5(NAMESPACE, name))`` in a quarter of its time: every webhook needs one."""
    hashed = _NAMESPACE_HASH.copy()
    hashed.update(name.encode())
    digits = hashed.hexdigest()
    variant = _VARIANTS[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def revision(outcome: Outcome, facts: str) -> str:
    """A digest of the outcome and of the person's facts (``Person.facts``)."""
    return hashlib.blake2b(f"{outcome}/{facts}".encode(), digest_size=8).hexdigest()


def encode_event(webhook: Webhook, contact: Contact, answer: Answer, emitted_at: datetime, identity: str = "") -> bytes:
    """The event's bytes. ``identity``: its ``event_id``, if the caller knows it already."""
    lead, person = webhook.lead, answer.person
    phone, email, cpf = contact.phone, contact.email, contact.cpf
    outcome, tier, match = answer.enum_texts
    return _encode(
        _WrittenEvent(
            SCHEMA_VERSION,
            identity or event_id(lead),
            answer.revision,
            _written_lead(lead, contact),
            EventContact(
                contact.key,
                None if phone is None else phone.e164,
                None if email is None else email.address,
                None if cpf is None else cpf.digits,
                contact.area_code_assumed,
            ),
            outcome,
            tier,
            match,
            answer.stale,
            answer.parked,
            None if person is None else msgspec.Raw(person),
            answer.event_calls,
            utc_isoformat(webhook.received_at),
            _isoformat(emitted_at),
            answer.candidates or msgspec.UNSET,
        )
    )


def _written_lead(lead: Lead, contact: Contact) -> _WrittenLead:
    name = lead.name or None
    if not SOURCES[lead.source].is_created:
        return _WrittenLead(str(lead.source), lead.id, lead.updated_at, lead.hook_action, name, lead.product)
    return _WrittenCreatedLead(
        str(lead.source),
        lead.id,
        lead.updated_at,
        lead.hook_action,
        name,
        lead.product,
        typed_contact(lead, contact),
        lead.message or None,
        lead.answers,
    )


def event_headers(
    identity: str, time: datetime, kind: str = EVENT_TYPE, source: str = EVENT_SOURCE
) -> list[tuple[str, bytes]]:
    """CloudEvents 1.0, binary mode."""
    return [_VERSION_HEADER, (headers.CE_ID, identity.encode()), *_ce_headers(kind, source, time)]


@lru_cache(maxsize=32)  # all webhooks of one tick have the same time
def _ce_headers(kind: str, source: str, time: datetime) -> tuple[tuple[str, bytes], ...]:
    return (
        (headers.CE_TYPE, kind.encode()),
        (headers.CE_SOURCE, source.encode()),
        (headers.CE_TIME, _isoformat(time).encode()),
    )


@lru_cache(maxsize=8)  # all webhooks of one tick have the same time
def _isoformat(time: datetime) -> str:
    return time.isoformat()


Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class EventLead(msgspec.Struct, frozen=True):
    """The lead of an event. ``typed``, ``message``, ``answers``: what else was typed, for leads that we create."""

    source: str
    id: str
    updated_at: Instant | None = None
    hook_action: str | None = None
    name: str | None = None
    product: str | None = None
    typed: TypedContact | None = None
    message: str | None = None
    answers: tuple[FormAnswer, ...] = ()


class EventContact(msgspec.Struct, frozen=True, gc=False):
    """The contact of an event, in canonical form. ``area_code_assumed``: the phone was typed without an area code."""

    key: str
    phone: str | None = None
    email: str | None = None
    cpf: str | None = None
    area_code_assumed: bool = False


class Calls(msgspec.Struct, frozen=True):
    """The calls that were paid for this event: a field for each ``Provider``."""

    diretrix: int = 0
    work: int = 0


_NO_CALLS = Calls()


class EnrichedEvent(msgspec.Struct, frozen=True):
    """An event as its consumers read it. Unknown fields are ignored; unknown values of the enumerations are kept."""

    event_id: str
    revision: str
    lead: EventLead
    contact: EventContact
    outcome: str  # an Outcome, or what a later version says
    received_at: Instant
    emitted_at: Instant
    schema_version: int = SCHEMA_VERSION
    tier: str | None = None
    match: str | None = None
    stale: bool = False
    parked: bool = False
    person: Person | None = None
    calls: Calls = Calls()
    candidates: tuple[str, ...] = ()  # names of the people that an ambiguous lead may be


class _WrittenLead(msgspec.Struct, gc=False):
    source: str
    id: str
    updated_at: str | None
    hook_action: str | None
    name: str | None
    product: str | None


class _WrittenCreatedLead(_WrittenLead, gc=False):
    typed: TypedContact | None
    message: str | None
    answers: tuple[FormAnswer, ...]


class _WrittenEvent(msgspec.Struct, gc=False):
    """An event as it is encoded: its person and its instants are text already."""

    schema_version: int
    event_id: str
    revision: str
    lead: _WrittenLead
    contact: EventContact
    outcome: str
    tier: str | None
    match: str | None
    stale: bool
    parked: bool
    person: msgspec.Raw | None
    calls: Calls
    received_at: str
    emitted_at: str
    candidates: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


_decoder = msgspec.json.Decoder(EnrichedEvent)
_encode = msgspec.json.Encoder().encode


def decode_event(value: bytes) -> EnrichedEvent:
    """Read an event; raises ValueError if it is not one."""
    return _decoder.decode(value)


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a topic's values: ``webhooks`` or ``contacts.enriched``."""
    text = resources.files("stream.domain").joinpath(f"schemas/{name}.schema.json").read_bytes()
    parsed: dict[str, Any] = orjson.loads(text)
    return parsed
