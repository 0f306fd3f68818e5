"""What the CRM is told of an event: the policy of the CRM sync.

A C2S lead exists there: it gets a message with the person. A Google lead does not: it is created whatever
the outcome, and what becomes known later follows as one message. The same facts go to a lead once.

A later version may have written values that this one does not know. Of a source that is not known nobody here can
say whether the CRM has its leads: nothing is written. An outcome that is not known tells nothing without a person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from stream.domain.events import EnrichedEvent, Outcome
from stream.domain.leads import Source
from stream.domain.match_warnings import warning

CLOSED = "on_close_lead"
NOTHING_FOUND = "not-found"
MAX_MATCH_CHARS = 40  # of a value that a later version wrote
_OUTCOMES = frozenset(Outcome)


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
    if event.lead.source == Source.GOOGLE_ADS:
        return Create(facts, follow_up=has_news, unless=unless)
    if event.lead.source != Source.C2S:
        return Skip("unknown source")
    if event.lead.hook_action == CLOSED:
        return Skip("closed")
    return Tell(facts, unless) if has_news else Skip(_named(event.outcome))


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
