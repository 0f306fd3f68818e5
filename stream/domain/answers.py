"""Converts a decision of the policy to the answer of an event."""

from __future__ import annotations

from stream.domain.choice import Ambiguous, Answered, PersonFound
from stream.domain.events import Answer, Outcome, Tier
from stream.domain.provider import NO_CALLS, CallCounts

MAX_CANDIDATES = 10  # names that an event of an ambiguous lead lists


def answer_of(step: Answered, tier: Tier, calls: CallCounts = NO_CALLS) -> Answer:
    """The answer for a final step. ``tier``: the look-up tier that gave it; ``calls``: the calls paid for it."""
    if isinstance(step, PersonFound):
        return Answer(
            Outcome.ENRICHED,
            tier=tier,
            match=step.match,
            person=step.person.person,
            facts=step.person.facts,
            stale=step.person.stale,
            calls=calls,
        )
    names = tuple(one.name for one in step.candidates) if isinstance(step, Ambiguous) else ()
    outcome = Outcome.AMBIGUOUS if names else Outcome.NOT_FOUND
    return Answer(outcome, tier=tier, candidates=names[:MAX_CANDIDATES], calls=calls)
