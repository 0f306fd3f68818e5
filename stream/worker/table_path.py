"""The table path: what tier 1 answers a webhook, what it knows of its contact, and what it remembers of a look-up."""

from __future__ import annotations

from stream.domain.answers import answer_of
from stream.domain.choice import Answered, PersonFound, is_conclusive, next_step
from stream.domain.contact_facts import ContactFacts
from stream.domain.events import Answer, Tier
from stream.lookup.table_cache import TableCache
from stream.worker.pending_webhook import PendingWebhook


class TablePath:
    """The table as the agent uses it. ``now``: epoch seconds."""

    def __init__(self, cache: TableCache) -> None:
        self._cache = cache

    def answer(self, delivery: PendingWebhook, now: float) -> Answer | None:
        """What the table answers, where PostgreSQL would say the same; else None."""
        contact, name = delivery.contact, delivery.webhook.lead.name
        answer = self._cache.answer(delivery.message.record.partition, contact, name, now)
        if answer is not None:
            return answer
        facts = self.facts(delivery, now)
        step = next_step(contact, name, facts)
        return (
            answer_of(step, Tier.CACHE) if isinstance(step, Answered) and is_conclusive(step, contact, facts) else None
        )

    def facts(self, delivery: PendingWebhook, now: float, *, stale: bool = False) -> ContactFacts:
        """What the table knows of the contact; with ``stale``, also what is past its time."""
        return self._cache.recall(delivery.message.partition, delivery.contact, now, stale=stale)

    def remember(self, delivery: PendingWebhook, facts: ContactFacts, answer: Answered | None, now: float) -> None:
        """Write what a look-up learned; ``answer`` is None where it failed."""
        person = answer.person if isinstance(answer, PersonFound) else None
        self._cache.remember(delivery.message.partition, facts, person, now)
