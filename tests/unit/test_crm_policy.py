"""What the CRM is told of an event, decided without any of it at hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from stream.domain.crm import Create, Skip, Tell, decide
from stream.domain.events import EnrichedEvent, EventContact, EventLead, Outcome
from stream.domain.person import Candidate, Person, person_from_candidate

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
MARIA = person_from_candidate(Candidate("MARIA LIMA", "52998224725"), NOW)


def event(
    outcome: Outcome, person: Person | None = None, *, source: str = "c2s", hook: str | None = "on_create_lead"
) -> EnrichedEvent:
    return EnrichedEvent(
        "7b0c2d7e-0000-5000-8000-000000000000",
        "revision",
        EventLead(source, "L1", NOW, hook),
        EventContact("+5511987654321"),
        outcome,
        NOW,
        NOW,
        person=person,
    )


def test_a_c2s_lead_is_told_the_person() -> None:
    """An enriched event of a lead that exists in the CRM is a message with that person's facts."""
    assert decide(event(Outcome.ENRICHED, MARIA), note_not_found=False) == Tell(MARIA.facts)


@pytest.mark.parametrize("outcome", [Outcome.PENDING, Outcome.NO_CONTACT, Outcome.TEST, Outcome.NOT_FOUND])
def test_a_c2s_lead_is_not_told_of_nothing(outcome: Outcome) -> None:
    """Without a person nothing is written, and the reason names the outcome."""
    assert decide(event(outcome), note_not_found=False) == Skip(outcome)


def test_that_nothing_was_found_is_told_when_asked_for() -> None:
    """CRM_NOTE_NOT_FOUND turns not_found into a message, and nothing else."""
    assert isinstance(decide(event(Outcome.NOT_FOUND), note_not_found=True), Tell)
    for outcome in (Outcome.PENDING, Outcome.NO_CONTACT, Outcome.TEST):
        assert isinstance(decide(event(outcome), note_not_found=True), Skip)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_closed_lead_is_never_written_to(outcome: Outcome) -> None:
    """on_close_lead ends in nothing, whatever is known."""
    assert isinstance(decide(event(outcome, MARIA, hook="on_close_lead"), note_not_found=True), Skip)


@pytest.mark.parametrize("outcome", [Outcome.PENDING, Outcome.NO_CONTACT, Outcome.NOT_FOUND])
def test_a_google_lead_is_created_whatever_the_outcome(outcome: Outcome) -> None:
    """It does not exist in the CRM before us; with nothing known nothing follows a lead that was created."""
    decision = decide(event(outcome, source="google_ads", hook=None), note_not_found=False)
    assert isinstance(decision, Create)
    assert not decision.follow_up


def test_what_is_known_of_a_google_lead_follows_its_creation() -> None:
    """An enriched event creates the lead, or follows as a message to the one that was created."""
    decision = decide(event(Outcome.ENRICHED, MARIA, source="google_ads", hook=None), note_not_found=False)
    assert decision == Create(MARIA.facts, follow_up=True)


def test_a_test_lead_never_reaches_the_crm() -> None:
    """is_test leads of Google are skipped even with a person in the event."""
    assert decide(event(Outcome.TEST, MARIA, source="google_ads"), note_not_found=True) == Skip("test")


def test_facts_do_not_depend_on_when_or_through_which_webhook_they_came() -> None:
    """The same person fetched later, for another webhook, is the same facts; a changed person is not."""
    later = msgspec.structs.replace(MARIA, fetched_at=NOW + timedelta(days=1))
    moved = msgspec.structs.replace(MARIA, occupation="ADVOGADA")
    told = {one: decide(event(Outcome.ENRICHED, one), note_not_found=False) for one in (MARIA, later, moved)}
    assert told[MARIA] == told[later] != told[moved]
