"""The policy of the CRM sync: what an event writes to the CRM."""

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
    """An enriched event of a lead that exists in the CRM becomes a message with that person's facts."""
    assert decide(event(Outcome.ENRICHED, MARIA), note_not_found=False) == Tell(MARIA.facts)


@pytest.mark.parametrize("outcome", [Outcome.PENDING, Outcome.NO_CONTACT, Outcome.TEST, Outcome.NOT_FOUND])
def test_a_c2s_lead_without_a_person_is_skipped(outcome: Outcome) -> None:
    """Without a person nothing is written, and the reason names the outcome."""
    assert decide(event(outcome), note_not_found=False) == Skip(outcome)


def test_not_found_is_told_if_configured() -> None:
    """CRM_NOTE_NOT_FOUND turns not_found, and nothing else, into a message."""
    assert isinstance(decide(event(Outcome.NOT_FOUND), note_not_found=True), Tell)
    for outcome in (Outcome.PENDING, Outcome.NO_CONTACT, Outcome.TEST):
        assert isinstance(decide(event(outcome), note_not_found=True), Skip)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_closed_lead_is_never_written_to(outcome: Outcome) -> None:
    """After on_close_lead nothing is written, whatever is known."""
    assert isinstance(decide(event(outcome, MARIA, hook="on_close_lead"), note_not_found=True), Skip)


@pytest.mark.parametrize("outcome", [Outcome.PENDING, Outcome.NO_CONTACT, Outcome.NOT_FOUND])
def test_a_google_lead_is_created_whatever_the_outcome(outcome: Outcome) -> None:
    """The CRM does not have a Google lead, so it is created; without facts no message follows a created lead."""
    decision = decide(event(outcome, source="google_ads", hook=None), note_not_found=False)
    assert isinstance(decision, Create)
    assert not decision.follow_up


def test_what_is_known_of_a_google_lead_follows_its_creation() -> None:
    """An enriched event creates the lead, or becomes a message to the lead that was created."""
    decision = decide(event(Outcome.ENRICHED, MARIA, source="google_ads", hook=None), note_not_found=False)
    assert decision == Create(MARIA.facts, follow_up=True)


def test_a_test_lead_never_reaches_the_crm() -> None:
    """Leads with is_test are skipped, even with a person in the event."""
    assert decide(event(Outcome.TEST, MARIA, source="google_ads"), note_not_found=True) == Skip("test")


def test_facts_do_not_depend_on_when_or_through_which_webhook_they_came() -> None:
    """The same person has the same facts at any time and in any webhook; a changed person has others."""
    later = msgspec.structs.replace(MARIA, fetched_at=NOW + timedelta(days=1))
    moved = msgspec.structs.replace(MARIA, occupation="ADVOGADA")
    told = {one: decide(event(Outcome.ENRICHED, one), note_not_found=False) for one in (MARIA, later, moved)}
    assert told[MARIA] == told[later] != told[moved]
