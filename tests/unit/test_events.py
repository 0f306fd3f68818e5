"""Events: stable ids and revisions, and bytes that satisfy their JSON Schema."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stream.domain.events import (
    NAMESPACE,
    Answer,
    EnrichedEvent,
    Match,
    Outcome,
    Tier,
    decode_event,
    encode_event,
    event_headers,
    event_id,
    revision,
    schema,
)
from stream.domain.forms import FormAnswer
from stream.domain.identity import contact_of
from stream.domain.leads import Lead, Source, Webhook
from stream.domain.person import Candidate, person_from_candidate, person_from_work
from stream.domain.provider import Provider
from stream.domain.sources import SOURCES
from stream.domain.typed_contact import TypedContact

GOLDEN = Path(__file__).parent.parent / "golden"
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SCHEMA = Draft202012Validator(schema("contacts.enriched"))
PERSON = person_from_work(orjson.loads((GOLDEN / "work_full.json").read_bytes()), "52998224725", NOW)

instants = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - with UTC
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)
leads = st.builds(
    Lead,
    source=st.sampled_from(Source),
    id=ids,
    updated_at=instants.map(datetime.isoformat),
    hook_action=st.sampled_from([None, "on_create_lead", "on_close_lead"]),
    name=st.text(max_size=30),
    phone=st.sampled_from(["", "11987654321", "+351912345678", "?"]),
    email=st.sampled_from(["", "ana@x.com", "José@exemplo.com"]),
    cpf=st.sampled_from(["", "52998224725"]),
    product=st.none() | st.text(max_size=30),
    is_test=st.booleans(),
    typed=st.none() | st.builds(TypedContact, st.none() | st.text(max_size=9), st.none() | st.text(max_size=9)),
    message=st.text(max_size=30),
    answers=st.lists(st.builds(FormAnswer, st.text(max_size=9), st.text(max_size=9)), max_size=3).map(tuple),
)
persons = st.sampled_from([PERSON, person_from_candidate(Candidate("ANA", "52998224725"), NOW)])
enriched = st.builds(
    lambda person, **rest: Answer(Outcome.ENRICHED, person=person.encode(), facts=person.facts, **rest),
    person=persons,
    tier=st.sampled_from(Tier),
    match=st.sampled_from(Match),
    stale=st.booleans(),
    calls=st.dictionaries(st.sampled_from(Provider), st.integers(0, 2)),
)
others = st.builds(
    Answer,
    outcome=st.sampled_from([one for one in Outcome if one is not Outcome.ENRICHED]),
    tier=st.none() | st.sampled_from(Tier),
    parked=st.booleans(),
    calls=st.fixed_dictionaries({Provider.DIRETRIX: st.integers(0, 2)}),
)


def lead(source: Source = Source.C2S, updated_at: datetime | None = NOW, lead_id: str = "L1") -> Lead:
    written_at = None if updated_at is None else updated_at.astimezone(UTC).isoformat()
    return Lead(source, lead_id, written_at, None, "Ana", "11987654321", "", "", None)


def event(answer: Answer, emitted_at: datetime = NOW) -> bytes:
    one = lead()
    webhook = Webhook(one.source, NOW, one)
    return encode_event(webhook, contact_of(one, frozenset()), answer, emitted_at)


@given(leads, enriched | others, instants, instants)
def test_every_event_satisfies_its_schema(
    one: Lead, answer: Answer, received_at: datetime, emitted_at: datetime
) -> None:
    """Any event satisfies its schema, has no other field, and is decoded again."""
    contact = contact_of(one, frozenset())
    value = encode_event(Webhook(one.source, received_at, one), contact, answer, emitted_at)
    read: dict[str, Any] = orjson.loads(value)
    SCHEMA.validate(read)
    described = SCHEMA.schema["properties"]
    assert set(read) | {"candidates"} == set(described)  # of an ambiguous lead only
    assert read.get("candidates", []) == list(answer.candidates)
    typed = {"typed", "message", "answers"} if SOURCES[one.source].is_created else set()
    known = {"source", "id", "updated_at", "hook_action", "name", "product"}
    assert set(described["lead"]["properties"]) == known | {"typed", "message", "answers"}
    assert set(read["lead"]) == known | typed
    for part in ("contact", "calls"):
        assert set(read[part]) == set(described[part]["properties"])
    seen = decode_event(value)
    assert (seen.outcome, seen.tier, seen.match) == (answer.outcome, answer.tier, answer.match)
    assert seen.lead.updated_at is not None
    assert (seen.lead.id, seen.lead.updated_at.isoformat(), seen.lead.product) == (one.id, one.updated_at, one.product)
    assert (seen.lead.message or "", seen.lead.answers) == ((one.message, one.answers) if typed else ("", ()))
    assert (seen.contact.key, seen.received_at, seen.emitted_at) == (contact.key, received_at, emitted_at)
    assert (seen.calls.diretrix, seen.calls.work) == (
        answer.calls.get(Provider.DIRETRIX, 0),
        answer.calls.get(Provider.WORK, 0),
    )
    assert (seen.person is None) == (answer.person is None)


def test_a_person_goes_through_an_event_unchanged() -> None:
    """The person's bytes are copied unchanged; a consumer reads the same person and facts."""
    value = event(Answer(Outcome.ENRICHED, Tier.CACHE, Match.NAME, PERSON.encode(), PERSON.facts))
    assert PERSON.encode() in value
    seen = decode_event(value)
    assert seen.person == PERSON
    assert seen.person.facts == PERSON.facts
    assert set(orjson.loads(value)["person"]) == set(SCHEMA.schema["$defs"]["person"]["properties"])


@given(ids, instants, st.integers(-14 * 60, 14 * 60))
def test_a_delivery_has_one_id_whatever_its_spelling(lead_id: str, at: datetime, minutes: int) -> None:
    """The id depends on lead and instant, not on the instant's spelling, and is a standard UUIDv5."""
    elsewhere = at.astimezone(timezone(timedelta(minutes=minutes)))
    identity = event_id(lead(updated_at=elsewhere, lead_id=lead_id))
    assert identity == event_id(lead(updated_at=at, lead_id=lead_id))
    assert identity == str(uuid.uuid5(NAMESPACE, f"c2s/{lead_id}/{at.isoformat()}"))


def test_ids_never_change() -> None:
    """These ids are in production topics: with another namespace or form no repeat would be recognised."""
    assert event_id(lead()) == "c34c2cc6-06e3-5b23-950b-525a8e233513"
    assert event_id(lead(Source.GOOGLE_ADS)) == "61120a45-dbc9-58ab-abb7-0f3d114dc9b7"
    assert revision(Outcome.ENRICHED, "abc") == "f6f1feb202b70396"


def test_a_google_lead_is_one_delivery_whenever_it_was_sent() -> None:
    """A Google lead has one event id; a C2S lead has a new one after each change."""
    late = NOW + timedelta(seconds=1)
    assert event_id(lead(Source.GOOGLE_ADS, None)) == event_id(lead(Source.GOOGLE_ADS, late))
    assert event_id(lead(Source.C2S)) != event_id(lead(Source.C2S, late))
    assert event_id(lead(Source.C2S)) != event_id(lead(Source.GOOGLE_ADS))


def test_a_revision_tells_what_is_said_apart() -> None:
    """Another outcome or other facts change the revision; another tier or time does not."""
    first = decode_event(event(Answer(Outcome.ENRICHED, Tier.DIRETRIX, Match.NAME, PERSON.encode(), PERSON.facts)))
    again = Answer(Outcome.ENRICHED, Tier.CACHE, Match.NO_NAME, PERSON.encode(), PERSON.facts, stale=True)
    second = decode_event(event(again, NOW + timedelta(hours=1)))
    assert (first.event_id, first.revision) == (second.event_id, second.revision)
    pending = decode_event(event(Answer(Outcome.PENDING, parked=True)))
    assert pending.event_id == first.event_id
    assert len({first.revision, pending.revision, revision(Outcome.ENRICHED, "other")}) == 3


def test_a_consumer_ignores_unknown_fields() -> None:
    """An unknown field at any level is ignored."""
    value = orjson.loads(event(Answer(Outcome.ENRICHED, Tier.CACHE, Match.NAME, PERSON.encode(), PERSON.facts)))
    for part in (value, value["lead"], value["contact"], value["person"], value["calls"], value["person"]["income"]):
        part["later"] = {"a": [1]}
    assert decode_event(orjson.dumps(value)).person == PERSON
    SCHEMA.validate(value)


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"\xff", b'{"event_id": 1}'])
def test_bytes_that_are_no_event_raise(value: bytes) -> None:
    """Bytes that are no event raise ValueError."""
    with pytest.raises(ValueError, match=r"."):
        decode_event(value)


@given(st.binary())
def test_any_bytes_are_an_event_or_value_error(value: bytes) -> None:
    """Any bytes are decoded or raise ValueError."""
    try:
        event = decode_event(value)
    except ValueError:
        return
    assert isinstance(event, EnrichedEvent)


def test_headers_are_cloudevents_in_binary_mode() -> None:
    """The headers have id, type, source, time and version."""
    identity = event_id(lead())
    assert event_headers(identity, NOW) == [
        ("ce_specversion", b"1.0"),
        ("ce_id", identity.encode()),
        ("ce_type", b"contacts.enriched"),
        ("ce_source", b"/lead-stream/worker"),
        ("ce_time", b"2026-01-31T12:00:00+00:00"),
    ]


@pytest.mark.parametrize("name", ["webhooks", "contacts.enriched"])
def test_the_schemas_are_schemas(name: str) -> None:
    """The shipped schemas are valid JSON Schema with descriptions."""
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["title"]
