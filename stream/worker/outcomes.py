"""The ends of a webhook: answered, parked, dead; and the detour to its contact's own partition.

Each end emits its records and finishes the webhook only when the broker has acknowledged all of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from stream import metrics, topics
from stream.dead_letters.guard import DlqGuard
from stream.domain.availability import Availability, partner_of
from stream.domain.dead_letters import TOO_LARGE, Stage, dead_letter_headers
from stream.domain.errors import DlqLimitError, GivenUpError, PoisonError
from stream.domain.events import Answer, Outcome, Tier, encode_event, event_headers
from stream.domain.headers import REROUTE, RETRY_HEADERS
from stream.domain.parking import RetryPolicy, own_partitions
from stream.domain.provider import NO_CALLS, CallCounts
from stream.kafka.batch_producer import BatchProducer
from stream.kafka.clients import partition_of
from stream.logs import get_logger, webhook_line
from stream.worker.pending_webhook import PendingWebhook, SourceRecord

log = get_logger(__name__)

# An operator greps for these.
LINES = {
    Tier.CACHE: "Found existing enrichment",
    Tier.POSTGRES: "DB HIT",
    Tier.DIRETRIX: "DIRETRIX API",
    Tier.FORM: "FORM CPF",
}
# What is answered without asking anybody.
UNASKED = {
    Outcome.NO_CONTACT: "NO CONTACT",
    Outcome.NOT_FOUND: "NOT FOUND",
    Outcome.TEST: "TEST LEAD",
}


class Outcomes:
    """Where webhooks leave the worker."""

    def __init__(
        self,
        producer: BatchProducer,
        now: Callable[[], datetime],
        retry_policy: RetryPolicy,
        dlq_guard: DlqGuard,
        availability: Callable[[str], Availability] = lambda _: Availability.AVAILABLE,
    ) -> None:
        """``availability``: of a partner by its name, and of whatever is no partner."""
        self._producer = producer
        self._now = now
        self._retry_policy = retry_policy
        self.dlq_guard = dlq_guard
        self._availability = availability
        self._said: list[tuple[str, str | None, str | None]] = []  # what the answers of this turn say

    def answered(self, delivery: PendingWebhook, answer: Answer) -> None:
        """One event; the webhook is finished when it is acknowledged."""
        if delivery.ended:
            return
        delivery.ended = True
        tier = answer.tier
        event = LINES[tier] if tier is not None else UNASKED.get(answer.outcome)
        if event is not None:
            contact = delivery.contact.masked
            webhook_line(event, contact, answer.outcome, delivery.webhook.lead.id, delivery.event_id)
        self._count(answer)
        self._event(delivery, answer, delivery.message.completed)

    def parked(self, delivery: PendingWebhook, reason: str, calls: CallCounts = NO_CALLS) -> bool:
        """To the retry topic; False when it was tried for too long already.

        An event says so the first time, acknowledged before the webhook is finished, and later where it must tell of
        ``calls`` that were paid before it failed.
        """
        if delivery.ended:
            return True
        message, now = delivery.message, self._now()
        tries = message.tries(now)
        down = self._availability(partner_of(reason)) is not Availability.AVAILABLE
        plan = self._retry_policy.park(tries.failed, tries.since, now, reason, partner_down=down)
        if plan is None:
            return False
        delivery.ended = True
        if message.size > topics.MAX_MOVED_BYTES:
            self._dead_and_pending(delivery, GivenUpError(f"too large to be parked; {reason}"), calls)
            return True
        log.warning("parked", reason=reason, attempt=plan.attempt, contact=delivery.contact.masked, **delivery.identity)
        metrics.PARKED.labels(reason).inc()
        headers = [(name, value) for name, value in message.headers if name not in RETRY_HEADERS] + plan.headers(reason)
        has_news = not tries.failed or any(calls.values())
        acknowledged = _after(2, message.completed) if has_news else message.completed
        topic, key = topics.RETRIES[plan.retry_level].name, delivery.contact.record_key
        own = own_partitions(delivery.webhook.source, self._producer.partitions(topic))
        partition = own[partition_of(key, len(own))]
        self._producer.enqueue(topic, key, message.value, headers, acknowledged, partition)
        if has_news:
            answer = Answer(Outcome.PENDING, parked=True, calls=calls)
            self._event(delivery, answer, acknowledged)
        return True

    def deadly(self, delivery: PendingWebhook, error: PoisonError, calls: CallCounts = NO_CALLS) -> None:
        """A webhook that was understood and can't be tried again: a dead letter, and an event that it is pending."""
        if not delivery.ended:
            delivery.ended = True
            self._dead_and_pending(delivery, error, calls)

    def _dead_and_pending(self, delivery: PendingWebhook, error: PoisonError, calls: CallCounts) -> None:
        """Its lead must reach the CRM all the same: finished when letter and event are acknowledged."""
        acknowledged = _after(2, delivery.message.completed)
        if self.dead(delivery.message, error, delivery, acknowledged):
            answer = Answer(Outcome.PENDING, calls=calls)
            self._event(delivery, answer, acknowledged)

    def dead(
        self,
        message: SourceRecord,
        error: PoisonError,
        delivery: PendingWebhook | None = None,
        acknowledged: Callable[[], None] | None = None,
    ) -> bool:
        """To the dead letters: the original bytes, and why. Past the fuse it stays unfinished: the worker leaves.

        ``acknowledged`` is called instead of finishing the message. False past the fuse.
        """
        try:
            self.dlq_guard.check(error)
        except DlqLimitError:
            return False
        log.error(
            "dead letter",
            reason=error.reason,
            path=error.path,
            partition=message.partition,
            offset=message.offset,
            **(message.identity if delivery is None else delivery.identity),
        )
        metrics.DEAD.labels(Stage.ENRICH, type(error).__name__).inc()
        now = self._now()
        tries = message.tries(now)
        headers = dead_letter_headers(
            headers=list(message.headers),
            topic=topics.WEBHOOKS.name,
            partition=message.partition,
            offset=message.offset,
            timestamp=message.timestamp,
            stage=Stage.ENRICH,
            error=type(error).__name__,
            reason=str(error),
            attempts=tries.failed + 1,
            failed_at=now,
            first_failed=tries.since,
        )
        # A tombstone has no value, and a record needs a key or a value.
        key, value = message.key, message.value if message.value is not None or message.key is not None else b""
        self._producer.enqueue(topics.DEAD.name, key, value, headers, acknowledged or message.completed, partition=0)
        return True

    def rerouted(self, delivery: PendingWebhook) -> None:
        """Once more to ``webhooks``, with the key of its contact, so that one worker owns the contact."""
        delivery.ended = True
        if delivery.message.size > topics.MAX_MOVED_BYTES:
            self._dead_and_pending(delivery, PoisonError(TOO_LARGE), NO_CALLS)
            return
        webhook_line("rerouted", delivery.contact.masked, "rerouted", delivery.webhook.lead.id, delivery.event_id)
        metrics.REROUTED.inc()
        headers = [*delivery.message.headers, (REROUTE, b"1")]
        message = delivery.message
        self._producer.enqueue(
            topics.WEBHOOKS.name, delivery.contact.record_key, message.value, headers, message.completed
        )

    def _event(self, delivery: PendingWebhook, answer: Answer, acknowledged: Callable[[], None]) -> None:
        now = self._now()
        value = encode_event(delivery.webhook, delivery.contact, answer, now, delivery.event_id)
        headers = event_headers(delivery.event_id, now)
        self._producer.enqueue(topics.ENRICHED.name, delivery.contact.record_key, value, headers, acknowledged)

    def _count(self, answer: Answer) -> None:
        """Count an answer; the metrics are told once for all of a turn of the loop."""
        self._said.append(answer.enum_texts)
        if len(self._said) == 1:
            try:
                asyncio.get_running_loop().call_soon(self._tell)
            except RuntimeError:
                self._tell()

    def _tell(self) -> None:
        for (outcome, tier, _), count in Counter(self._said).items():
            metrics.answered(outcome, tier).inc(count)
        self._said.clear()


def _after(times: int, then: Callable[[], None]) -> Callable[[], None]:
    """Call ``then`` at the ``times``-th call of what is returned."""
    left = times

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            then()

    return count
