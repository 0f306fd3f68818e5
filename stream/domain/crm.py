"""What the CRM is told of an event: the policy of the CRM sync.

A lead that exists there gets a message with the person. A lead that does not is created whatever the outcome, and what
becomes known later follows as one message (``stream.domain.sources`` says which source is which). The same facts go to
a lead once.

A later version may have written values that this one does not know. Of a source that is not known nobody here can
say whether the CRM has its leads: nothing is written. An outcome that is not known tells nothing without a person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from stream.domain.events import EnrichedEvent, Outcome
from stream.domain.match_warnings import warning
from stream.domain.sources import source_named
from stream.domain.sources.spec import CreatedInCrm, ExistsInCrm

NOTHING_FOUND = "not-found"
MAX_MATCH_CHARS = 40  # of a value that a later version wrote
_OUTCOMES = frozenset(Outcome)


class WriteStatus(StrEnum):
    """Where a write to the CRM stands. ``unconfirmed``: it may have been carried out."""

    CLAIMED = "claimed"
    CONFIRMED = "confirmed"  # of a message
    CREATED = "created"  # of a lead
    UNCONFIRMED = "unconfirmed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing is to be written, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tell:
    """A message to a lead that exists.

    ``facts``: what is told, as a digest. ``unless``: the same without a warning, "" where there is none; a lead that
    was told that is not warned any more.
    """

    facts: str
    unless: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    """A lead of another source is to be created, unless it was; then ``follow_up`` is told, if anything."""

    facts: str
    follow_up: bool
    unless: str = ""


def decide(event: EnrichedEvent, *, note_not_found: bool) -> Skip | Tell | Create:
    """Decide what the CRM is told. ``note_not_found``: also that nothing was found."""
    if event.outcome == Outcome.TEST:
        return Skip("test")
    facts, unless = _facts(event)
    has_news = (
        event.person is not None
        or event.outcome == Outcome.AMBIGUOUS
        or (event.outcome == Outcome.NOT_FOUND and note_not_found)
    )
    spec = source_named(event.lead.source)
    if spec is None:
        return Skip("unknown source")
    match spec.crm:
        case CreatedInCrm():
            return Create(facts, follow_up=has_news, unless=unless)
        case ExistsInCrm(closed_action) if event.lead.hook_action == closed_action:
            return Skip("closed")
        case ExistsInCrm():
            return Tell(facts, unless) if has_news else Skip(_named(event.outcome))
        case _:
            assert_never(spec.crm)


def source_in_crm(event: EnrichedEvent, default: str) -> str:
    """The CRM's name of the source of a lead that we create. ``default``: where the source has none of its own."""
    spec = source_named(event.lead.source)
    if spec is None or not isinstance(spec.crm, CreatedInCrm) or spec.crm.source_name is None:
        return default
    return spec.crm.source_name(event.lead.answers)


def _named(outcome: str) -> str:
    """An outcome as a reason: reasons are labels of a metric, and those are bounded."""
    return outcome if outcome in _OUTCOMES else "unknown outcome"


def _facts(event: EnrichedEvent) -> tuple[str, str]:
    """The key of what is told and, for a person with a warning, the key of the same without it.

    A corrected name then takes the warning back: the bare facts were not told yet.
    """
    if event.person is None:
        return (ambiguous_facts(event.candidates) if event.outcome == Outcome.AMBIGUOUS else NOTHING_FOUND), ""
    bare = event.person.facts
    return (
        (f"{bare}+{_named(event.outcome)}+{str(event.match)[:MAX_MATCH_CHARS]}", bare) if warning(event) else (bare, "")
    )


def ambiguous_facts(candidates: Iterable[str]) -> str:
    """The key of several people, by their names."""
    return "ambiguous+" + hashlib.blake2b("/".join(sorted(candidates)).encode(), digest_size=12).hexdigest()
