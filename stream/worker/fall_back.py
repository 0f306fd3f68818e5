"""The outcome of a webhook that can't be looked up now: a stale answer, a park, or a dead letter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from stream.domain.answers import answer_of
from stream.domain.choice import Ambiguous, Complete, PersonFound, Step, is_conclusive, next_step
from stream.domain.contact_facts import ContactFacts, known_person
from stream.domain.errors import GivenUpError, RefusedError, TransientError
from stream.domain.events import Tier
from stream.domain.person import person_from_candidate
from stream.domain.provider import NO_CALLS, CallCounts
from stream.worker.outcomes import Outcomes
from stream.worker.pending_webhook import PendingWebhook
from stream.worker.table_path import TablePath


class FallBack:
    """Answers with a stale person if one is known. Else parks the webhook, until ``RETRY_MAX_AGE`` has passed."""

    def __init__(self, table: TablePath, outcomes: Outcomes, now: Callable[[], datetime]) -> None:
        self._table = table
        self._outcomes = outcomes
        self._now = now

    def answer_stale_or_park(
        self, pending: PendingWebhook, reason: str, facts: ContactFacts | None = None, calls: CallCounts = NO_CALLS
    ) -> None:
        """Give an outcome to a webhook whose look-up failed or could not start because of ``reason``.

        ``facts``: what the look-up learned. ``calls``: the calls that it paid for.
        """
        known = self._table.facts(pending, self._now().timestamp(), stale=True)
        if facts is not None:
            known.update(facts)
        step = next_step(pending.contact, pending.webhook.lead.name, known, allow_stale=True)
        if isinstance(step, PersonFound) or (
            isinstance(step, Ambiguous) and is_conclusive(step, pending.contact, known)
        ):
            self._outcomes.answer(pending, answer_of(step, Tier.CACHE, calls))
        elif not self._outcomes.park(pending, reason, calls):
            self._give_up(pending, step, reason, calls)

    def _give_up(self, pending: PendingWebhook, step: Step, reason: str, calls: CallCounts) -> None:
        """``RETRY_MAX_AGE`` has passed: answer with the candidate's name and CPF, else publish a dead letter."""
        if isinstance(step, Complete) and step.candidate.name:
            person = known_person(person_from_candidate(step.candidate, self._now()))
            self._outcomes.answer(pending, answer_of(PersonFound(person, step.match), Tier.CACHE, calls))
            return
        pending.has_outcome = True
        self._outcomes.dead_letter(pending.record, GivenUpError(f"given up: {reason}"), pending)


def reason_of(failure: TransientError | RefusedError | TimeoutError) -> str:
    """Return why a look-up failed.

    The reason of a partner's failure begins with the partner's name. The retry reader needs it: a webhook that was
    parked for a partner waits for that partner.
    """
    if isinstance(failure, TimeoutError):
        return "deadline"
    return str(failure) if isinstance(failure, RefusedError) else failure.reason
