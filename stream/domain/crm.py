"""The policy of the CRM sync: what an event writes to the CRM.

A lead that exists in the CRM gets a message with the person. Any other lead is created, whatever the outcome, and what
becomes known later follows as one message. ``stream.domain.sources`` says which case a source is. The same facts are
written to a lead once.

A later version may have written values that this version does not know. If the source is unknown, nothing is written:
this version can't tell whether the CRM has the lead. If the outcome is unknown, nothing is told without a person.
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
MAX_MATCH_CHARS = 40  # a later version may write any value
_OUTCOMES = frozenset(Outcome)


class WriteStatus(StrEnum):
    """The status of a write to the CRM. ``unconfirmed``: it may have been carried out."""

    CLAIMED = "claimed"
    CONFIRMED = "confirmed"  # of a message
    CREATED = "created"  # of a lead
    UNCONFIRMED = "unconfirmed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Skip:
    """Write nothing, for ``reason``."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message to a lead that exists.

    ``facts``: a digest of what is told. ``unless``: the digest of the same facts without a warning, "" if there is no
    warning. A lead that was told those gets no warning afterwards.
    """

    facts: str
    unless: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    """Create the lead. If it was created before and ``follow_up`` is true, send it a message instead.

    ``facts`` and ``unless``: as of ``Tell``.
    """

    facts: str
    follow_up: bool
    unless: str = ""


def decide(event: EnrichedEvent, *, note_not_found: bool) -> Skip | Tell | Create:
    """Decide what to write to the CRM. ``note_not_found``: also tell it that nothing was found."""
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
    """The CRM's name for the source of a lead that we create. ``default``: used if the source defines no name."""
    spec = source_named(event.lead.source)
    if spec is None or not isinstance(spec.crm, CreatedInCrm) or spec.crm.source_name is None:
        return default
    return spec.crm.source_name(event.lead.answers)


def _named(outcome: str) -> str:
    """An outcome as a reason. Reasons are labels of a metric, so their number must be bounded."""
    return outcome if outcome in _OUTCOMES else "unknown outcome"


def _facts(event: EnrichedEvent) -> tuple[str, str]:
    """The digest of what is told and, for a person with a warning, the digest of the same facts without it.

    They differ, so that an event with a corrected name is told after the warning.
    """
    if event.person is None:
        return (ambiguous_facts(event.candidates) if event.outcome == Outcome.AMBIGUOUS else NOTHING_FOUND), ""
    bare = event.person.facts
    return (
        (f"{bare}+{_named(event.outcome)}+{str(event.match)[:MAX_MATCH_CHARS]}", bare) if warning(event) else (bare, "")
    )


def ambiguous_facts(candidates: Iterable[str]) -> str:
    """The digest of several people, by their names."""
    return "ambiguous+" + hashlib.blake2b("/".join(sorted(candidates)).encode(), digest_size=12).hexdigest()
