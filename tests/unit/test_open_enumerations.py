"""Open enumerations: each version reads what every other one wrote, and takes no unknown value for sure."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from stream.domain.crm import Create, Skip, Tell, decide
from stream.domain.crm_message import description, message
from stream.domain.errors import PoisonError
from stream.domain.events import (
    NAMESPACE,
    Answer,
    EnrichedEvent,
    Match,
    Outcome,
    Tier,
    decode_event,
    encode_event,
    event_id,
    schema,
)
from stream.domain.identity import contact_of
from stream.domain.leads import Lead, Source, Webhook, decode_webhook
from stream.domain.person import Candidate, person_from_candidate
from stream.reporting.journal import passes

RELEASED = Path(__file__).parent.parent / "golden" / "released"
CLOSED = "contacts.enriched.2026-11-closed"  # enumerations were closed: it refuses values of later versions
OPEN = [path.name.removesuffix(".schema.json") for path in RELEASED.glob("*.schema.json") if CLOSED not in path.name]
OLD_EVENTS = (RELEASED / "events-2026-11.jsonl").read_bytes().splitlines()
TODAY = Draft202012Validator(schema("contacts.enriched"))
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
ANA = person_from_candidate(Candidate("ANA SOUZA", "52998224725"), NOW)
FIELDS = ("lead.source", "outcome", "tier", "match")
unknown = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda text: text not in {*Source, *Outcome, *Tier, *Match}
)


def released(name: str) -> Draft202012Validator:
    return Draft202012Validator(orjson.loads((RELEASED / f"{name}.schema.json").read_bytes()))


def encoded(answer: Answer, source: Source = Source.C2S) -> dict[str, Any]:
    """An event as this version encodes it."""
    lead = Lead(source, "L1", NOW.isoformat(), None, "Ana", "11987654321", "", "", None)
    event: dict[str, Any] = orjson.loads(
        encode_event(Webhook(source, NOW, lead), contact_of(lead, frozenset()), answer, NOW)
    )
    return event


def enriched(match: Match = Match.NAME, tier: Tier = Tier.CACHE) -> dict[str, Any]:
    return encoded(Answer(Outcome.ENRICHED, tier, match, ANA.encode(), ANA.facts))


def every_new_event() -> list[dict[str, Any]]:
    """One event of every outcome, tier, match and source that this version knows."""
    others = [outcome for outcome in Outcome if outcome is not Outcome.ENRICHED]
    return [
        *(enriched(match, tier) for match in Match for tier in Tier),
        *(encoded(Answer(outcome), source) for outcome in others for source in Source),
        *(encoded(Answer(Outcome.NOT_FOUND, tier)) for tier in Tier),
    ]


def with_value(event: dict[str, Any], field: str, value: str) -> dict[str, Any]:
    """The event with another value in one field."""
    if field == "lead.source":
        return {**event, "lead": {**event["lead"], "source": value}}
    return {**event, field: value}


def read(value: dict[str, Any]) -> EnrichedEvent:
    return decode_event(orjson.dumps(value))


@pytest.mark.parametrize("name", [*OPEN, CLOSED])
def test_old_events_are_read_as_they_were_written(name: str) -> None:
    """Each event of the last release satisfies all schemas and is read completely."""
    assert OLD_EVENTS
    for raw in OLD_EVENTS:
        value = orjson.loads(raw)
        TODAY.validate(value)
        released(name).validate(value)
        event = decode_event(raw)
        told = event.lead.source, event.outcome, event.tier, event.match
        assert told == (value["lead"]["source"], value["outcome"], value["tier"], value["match"])
        assert (event.person is not None) == (event.outcome == "enriched")


def test_old_events_are_one_of_each_value() -> None:
    """The fixtures contain each value that the last release could write."""
    events = [decode_event(raw) for raw in OLD_EVENTS]
    assert {event.match for event in events} == {None, "name", "no_name", "name_differs", "conflicting"}
    assert {event.tier for event in events} == {None, "cache", "postgres", "diretrix", "form"}
    assert {event.outcome for event in events} == {"enriched", "not_found", "pending", "no_contact", "test"}
    assert {event.lead.source for event in events} == {"c2s", "google_ads"}


@pytest.mark.parametrize("name", OPEN)
def test_new_events_satisfy_every_released_schema(name: str) -> None:
    """Each event of this version satisfies the released schemas."""
    new = every_new_event()
    assert [value for value in new if not released(name).is_valid(value)] == []
    assert len(new) > 10


def test_the_closed_schema_takes_only_what_it_names() -> None:
    """The schema of closed enumerations accepts known values and no new ones, so consumers are upgraded first."""
    new = {Outcome.AMBIGUOUS, Match.FIRST_NAME, Source.GRUPO_OLX}
    refused = set()
    for value in every_new_event():
        try:
            released(CLOSED).validate(value)
        except ValidationError:
            said = {value["outcome"], value["match"], value["lead"]["source"]}
            refused |= said & new
            assert said & new
    assert refused == new


@pytest.mark.parametrize("name", [*OPEN, ""])
@pytest.mark.parametrize("field", FIELDS)
@given(value=unknown)
def test_an_unknown_value_is_accepted(name: str, field: str, value: str) -> None:
    """The schema accepts an unknown value of an enumeration, and the decoder keeps it."""
    later = with_value(enriched(), field, value)
    (released(name) if name else TODAY).validate(later)
    event = read(later)
    kept = {"lead.source": event.lead.source, "outcome": event.outcome, "tier": event.tier, "match": event.match}
    assert kept[field] == value


@pytest.mark.parametrize("name", OPEN)
def test_added_fields_break_no_released_schema(name: str) -> None:
    """Fields that a later version adds to lead and contact are accepted, and ignored by the decoder."""
    value = enriched()
    value["contact"]["area_code_assumed"] = True
    value["lead"] |= {
        "typed": {"phone": "98765-4321", "email": None},
        "message": "Tenho interesse",
        "answers": [{"question": "Quando?", "answer": "Em maio"}],
    }
    released(name).validate(value)
    TODAY.validate(value)
    assert read(value).person == ANA


def test_the_schema_names_the_values_of_this_version() -> None:
    """The documented values of each enumeration are those of the code."""
    parts = TODAY.schema["properties"]
    assert parts["lead"]["properties"]["source"]["examples"] == list(Source)
    assert parts["outcome"]["examples"] == list(Outcome)
    assert parts["tier"]["examples"] == [*Tier, None]
    assert parts["match"]["examples"] == [*Match, None]


@given(unknown)
def test_an_unknown_match_is_told_with_a_warning(value: str) -> None:
    """A person with an unknown match is never shown as sure."""
    event = read(with_value(enriched(), "match", value))
    decision = decide(event, note_not_found=False)
    assert isinstance(decision, Tell)
    assert decision.unless == ANA.facts != decision.facts
    for text in (message(event), description(event)):
        assert text.splitlines()[1].startswith("ATENÇÃO")
        assert "Nome: Ana Souza" in text


@pytest.mark.parametrize("match", [None, *Match, "later"])
def test_an_unknown_outcome_with_a_person_is_told_with_a_warning(match: str | None) -> None:
    """A person with an unknown outcome is never shown as sure, whatever the match."""
    event = msgspec.structs.replace(read(enriched()), outcome="later", match=match)
    decision = decide(event, note_not_found=False)
    assert isinstance(decision, Tell)
    assert decision.unless == ANA.facts != decision.facts
    assert message(event).splitlines()[1].startswith("ATENÇÃO")


def test_a_first_name_alone_is_said() -> None:
    """A person found by the first name alone has the warning that says so."""
    assert "apenas o primeiro nome" in message(read(enriched(Match.FIRST_NAME))).splitlines()[1]


@given(unknown)
def test_an_unknown_outcome_without_a_person_is_skipped(outcome: str) -> None:
    """A lead that exists is told nothing; all unknown outcomes share one reason, because reasons are metric labels."""
    event = read(with_value(encoded(Answer(Outcome.NOT_FOUND)), "outcome", outcome))
    for note in (False, True):
        assert decide(event, note_not_found=note) == Skip("unknown outcome")


@given(unknown)
def test_a_google_lead_is_created_whatever_a_later_version_says(outcome: str) -> None:
    """A Google lead with an unknown outcome is created without facts, because it exists nowhere else."""
    event = read(with_value(encoded(Answer(Outcome.NOT_FOUND), Source.GOOGLE_ADS), "outcome", outcome))
    decision = decide(event, note_not_found=True)
    assert isinstance(decision, Create)
    assert not decision.follow_up
    assert description(event) == "Lead recebido."


@given(unknown)
def test_an_unknown_source_is_skipped(source: str) -> None:
    """Nothing is written for an unknown source, because nobody knows whether the CRM has the lead."""
    for value in (enriched(), encoded(Answer(Outcome.NOT_FOUND)), encoded(Answer(Outcome.PENDING, parked=True))):
        assert decide(read(with_value(value, "lead.source", source)), note_not_found=True) == Skip("unknown source")


@given(unknown)
def test_the_journal_keeps_an_unknown_outcome(outcome: str) -> None:
    """An unknown outcome is a final row: earlier pending calls are added to it, and a repeat is left out."""
    pending = read(encoded(Answer(Outcome.PENDING, parked=True)))
    end = msgspec.structs.replace(pending, outcome=outcome)
    assert passes([pending, end, end]) == [[pending], [end]]


@given(unknown)
def test_an_unknown_source_of_a_webhook_is_a_dead_letter_that_says_so(source: str) -> None:
    """A webhook of an unknown source raises PoisonError, whatever its payload or ``normalised`` looks like."""
    normalised = {
        "rules": 1, "key": "+5511987654321", "lead": "L1", "updated_at": NOW.isoformat(), "hook_action": None,
        "name": "Ana", "product": None, "phone": "+5511987654321", "email": None, "cpf": None, "is_test": False,
    }  # fmt: skip
    payloads = ({"lead_id": "L1", "user_column_data": []}, {"id": "L1", "attributes": {"updated_at": NOW.isoformat()}})
    for payload in payloads:
        for extra in ({}, {"normalised": normalised}):
            value = {"source": source, "received_at": NOW.isoformat(), "payload": payload, **extra}
            with pytest.raises(PoisonError, match="unknown source"):
                decode_webhook(orjson.dumps(value))


def test_each_source_has_ids_in_a_namespace_of_its_own() -> None:
    """The same lead id of two sources gives two event ids."""
    ids = {}
    for source in Source:
        lead = Lead(source, "L1", NOW.isoformat(), None, "", "", "", "", None)
        ids[source] = event_id(lead)
    assert len(set(ids.values())) == len(Source)
    google = str(uuid.uuid5(NAMESPACE, "google_ads/L1"))
    assert [source for source, identity in ids.items() if identity == google] == [Source.GOOGLE_ADS]


def test_a_c2s_lead_without_its_instant_has_no_id() -> None:
    """It raises ValueError, so that it gets no id of another source."""
    with pytest.raises(ValueError, match="instant"):
        event_id(Lead(Source.C2S, "L1", None, None, "", "", "", "", None))
