"""The agent's access to the table: answers a webhook from tier 1 and writes what a look-up learned."""

from __future__ import annotations

from stream.domain.answers import answer_of
from stream.domain.choice import Answered, PersonFound, is_conclusive, next_step
from stream.domain.contact_facts import ContactFacts
from stream.domain.events import Answer, Tier
from stream.lookup.table_cache import TableCache
from stream.worker.pending_webhook import PendingWebhook


class TablePath:
    """Tier 1 for pending webhooks. ``now``: epoch seconds."""

    def __init__(self, cache: TableCache) -> None:
        self._cache = cache

    def answer(self, pending: PendingWebhook, now: float) -> Answer | None:
        """Return the table's answer if PostgreSQL would give the same one, else None."""
        contact, name = pending.contact, pending.webhook.lead.name
        answer = self._cache.answer(pending.record.kafka_record.partition, contact, name, now)
        if answer is not None:
            return answer
        facts = self.facts(pending, now)
        step = next_step(contact, name, facts)
        return (
            answer_of(step, Tier.CACHE) if isinstance(step, Answered) and is_conclusive(step, contact, facts) else None
        )

    def facts(self, pending: PendingWebhook, now: float, *, stale: bool = False) -> ContactFacts:
        """Return what the table knows about the contact. With ``stale``, expired entries count as well."""
        return self._cache.facts(pending.record.partition, pending.contact, now, stale=stale)

    def remember(self, pending: PendingWebhook, facts: ContactFacts, answer: Answered | None, now: float) -> None:
        """Write what a look-up learned. ``answer`` is None if it failed."""
        person = answer.person if isinstance(answer, PersonFound) else None
        self._cache.remember(pending.record.partition, facts, person, now)
