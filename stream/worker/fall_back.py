"""What becomes of a webhook that can't be looked up now: a stale answer, a park, or the end of its tries."""

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
    """A person past their time is better than none; else the webhook is parked until it was tried for too long."""

    def __init__(self, table: TablePath, outcomes: Outcomes, now: Callable[[], datetime]) -> None:
        self._table = table
        self._outcomes = outcomes
        self._now = now

    def end(
        self, delivery: PendingWebhook, reason: str, facts: ContactFacts | None = None, calls: CallCounts = NO_CALLS
    ) -> None:
        """End a webhook whose look-up failed or could not begin for ``reason``.

        ``facts``: what the look-up learned; ``calls``: what it paid.
        """
        known = self._table.facts(delivery, self._now().timestamp(), stale=True)
        if facts is not None:
            known.update(facts)
        step = next_step(delivery.contact, delivery.webhook.lead.name, known, allow_stale=True)
        if isinstance(step, PersonFound) or (
            isinstance(step, Ambiguous) and is_conclusive(step, delivery.contact, known)
        ):
            self._outcomes.answered(delivery, answer_of(step, Tier.CACHE, calls))
        elif not self._outcomes.parked(delivery, reason, calls):
            self._give_up(delivery, step, reason, calls)

    def _give_up(self, delivery: PendingWebhook, step: Step, reason: str, calls: CallCounts) -> None:
        """Tried for too long: what is known goes out, else it is a dead letter."""
        if isinstance(step, Complete) and step.candidate.name:
            person = known_person(person_from_candidate(step.candidate, self._now()))
            self._outcomes.answered(delivery, answer_of(PersonFound(person, step.match), Tier.CACHE, calls))
            return
        delivery.ended = True
        self._outcomes.dead(delivery.message, GivenUpError(f"given up: {reason}"), delivery)


def reason_of(failure: TransientError | RefusedError | TimeoutError) -> str:
    """Why a look-up failed. A partner's failure begins with the partner's name: what is parked for it waits for it."""
    if isinstance(failure, TimeoutError):
        return "deadline"
    return str(failure) if isinstance(failure, RefusedError) else failure.reason
