"""The outcomes of a webhook: answer, park, dead letter. A webhook on the wrong partition is rerouted.

Rule 1: each outcome publishes its records and completes the webhook only when the broker has acknowledged all of them.
Rule 2: a webhook has one outcome. The first one sets ``has_outcome``.
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

# Operators search the log for these.
TIER_LINES = {
    Tier.CACHE: "Found existing enrichment",
    Tier.POSTGRES: "DB HIT",
    Tier.DIRETRIX: "DIRETRIX API",
    Tier.FORM: "FORM CPF",
}
# Answers without a tier.
OUTCOME_LINES = {
    Outcome.NO_CONTACT: "NO CONTACT",
    Outcome.NOT_FOUND: "NOT FOUND",
    Outcome.TEST: "TEST LEAD",
}


class Outcomes:
    """Publishes the outcome of each webhook."""

    def __init__(
        self,
        producer: BatchProducer,
        now: Callable[[], datetime],
        retry_policy: RetryPolicy,
        dlq_guard: DlqGuard,
        availability: Callable[[str], Availability] = lambda _: Availability.AVAILABLE,
    ) -> None:
        """``availability``: of a partner by its name; any other name is available."""
        self._producer = producer
        self._now = now
        self._retry_policy = retry_policy
        self.dlq_guard = dlq_guard
        self._availability = availability
        self._uncounted: list[tuple[str, str | None, str | None]] = []  # answers of this tick

    def answer(self, pending: PendingWebhook, answer: Answer) -> None:
        """Publish one event. The webhook is completed when the broker has acknowledged it."""
        if pending.has_outcome:
            return
        pending.has_outcome = True
        tier = answer.tier
        event = TIER_LINES[tier] if tier is not None else OUTCOME_LINES.get(answer.outcome)
        if event is not None:
            contact = pending.contact.masked
            webhook_line(event, contact, answer.outcome, pending.webhook.lead.id, pending.event_id)
        self._count_answer(answer)
        self._publish_event(pending, answer, pending.record.completed)

    def park(self, pending: PendingWebhook, reason: str, calls: CallCounts = NO_CALLS) -> bool:
        """Publish to the retry topic. Return False if ``RETRY_MAX_AGE`` has passed.

        The first time, and whenever ``calls`` were paid, also publish a ``pending`` event. The webhook is completed
        when the broker has acknowledged both.
        """
        if pending.has_outcome:
            return True
        record, now = pending.record, self._now()
        tries = record.tries(now)
        down = self._availability(partner_of(reason)) is not Availability.AVAILABLE
        plan = self._retry_policy.park(tries.failed, tries.since, now, reason, partner_down=down)
        if plan is None:
            return False
        pending.has_outcome = True
        if record.size > topics.MAX_MOVED_BYTES:
            self._publish_dead_letter_and_event(pending, GivenUpError(f"too large to be parked; {reason}"), calls)
            return True
        log.warning("parked", reason=reason, attempt=plan.attempt, contact=pending.contact.masked, **pending.identity)
        metrics.PARKED.labels(reason).inc()
        headers = [(name, value) for name, value in record.headers if name not in RETRY_HEADERS] + plan.headers(reason)
        needs_event = not tries.failed or any(calls.values())
        acknowledged = _call_after(2, record.completed) if needs_event else record.completed
        topic, key = topics.RETRIES[plan.retry_level].name, pending.contact.record_key
        own = own_partitions(pending.webhook.source, self._producer.partitions(topic))
        partition = own[partition_of(key, len(own))]
        self._producer.enqueue(topic, key, record.value, headers, acknowledged, partition)
        if needs_event:
            answer = Answer(Outcome.PENDING, parked=True, calls=calls)
            self._publish_event(pending, answer, acknowledged)
        return True

    def dead_letter_with_event(self, pending: PendingWebhook, error: PoisonError, calls: CallCounts = NO_CALLS) -> None:
        """Publish a dead letter and a ``pending`` event for a webhook that was understood and can never succeed."""
        if not pending.has_outcome:
            pending.has_outcome = True
            self._publish_dead_letter_and_event(pending, error, calls)

    def _publish_dead_letter_and_event(self, pending: PendingWebhook, error: PoisonError, calls: CallCounts) -> None:
        """The event makes the lead reach the CRM all the same. Completed when both are acknowledged."""
        acknowledged = _call_after(2, pending.record.completed)
        if self.dead_letter(pending.record, error, pending, acknowledged):
            answer = Answer(Outcome.PENDING, calls=calls)
            self._publish_event(pending, answer, acknowledged)

    def dead_letter(
        self,
        record: SourceRecord,
        error: PoisonError,
        pending: PendingWebhook | None = None,
        acknowledged: Callable[[], None] | None = None,
    ) -> bool:
        """Publish the original bytes and the reason to ``webhooks.dead``.

        Return False if that exceeds the dead-letter limit: nothing is published, the record stays uncompleted, and the
        worker stops. ``acknowledged`` is called instead of completing the record.
        """
        try:
            self.dlq_guard.check(error)
        except DlqLimitError:
            return False
        log.error(
            "dead letter",
            reason=error.reason,
            path=error.path,
            partition=record.partition,
            offset=record.offset,
            **(record.identity if pending is None else pending.identity),
        )
        metrics.DEAD.labels(Stage.ENRICH, type(error).__name__).inc()
        now = self._now()
        tries = record.tries(now)
        headers = dead_letter_headers(
            headers=list(record.headers),
            topic=topics.WEBHOOKS.name,
            partition=record.partition,
            offset=record.offset,
            timestamp=record.timestamp,
            stage=Stage.ENRICH,
            error=type(error).__name__,
            reason=str(error),
            attempts=tries.failed + 1,
            failed_at=now,
            first_failed=tries.since,
        )
        # A source record may have neither key nor value. A record that we publish needs one of them.
        key, value = record.key, record.value if record.value is not None or record.key is not None else b""
        self._producer.enqueue(topics.DEAD.name, key, value, headers, acknowledged or record.completed, partition=0)
        return True

    def reroute(self, pending: PendingWebhook) -> None:
        """Publish to ``webhooks`` again with the contact's key, so that one worker owns the contact."""
        pending.has_outcome = True
        if pending.record.size > topics.MAX_MOVED_BYTES:
            self._publish_dead_letter_and_event(pending, PoisonError(TOO_LARGE), NO_CALLS)
            return
        webhook_line("rerouted", pending.contact.masked, "rerouted", pending.webhook.lead.id, pending.event_id)
        metrics.REROUTED.inc()
        headers = [*pending.record.headers, (REROUTE, b"1")]
        record = pending.record
        self._producer.enqueue(
            topics.WEBHOOKS.name, pending.contact.record_key, record.value, headers, record.completed
        )

    def _publish_event(self, pending: PendingWebhook, answer: Answer, acknowledged: Callable[[], None]) -> None:
        now = self._now()
        value = encode_event(pending.webhook, pending.contact, answer, now, pending.event_id)
        headers = event_headers(pending.event_id, now)
        self._producer.enqueue(topics.ENRICHED.name, pending.contact.record_key, value, headers, acknowledged)

    def _count_answer(self, answer: Answer) -> None:
        """Count an answer. The metrics are updated once a tick: that is cheaper than once an answer."""
        self._uncounted.append(answer.enum_texts)
        if len(self._uncounted) == 1:
            try:
                asyncio.get_running_loop().call_soon(self._publish_counts)
            except RuntimeError:
                self._publish_counts()

    def _publish_counts(self) -> None:
        for (outcome, tier, _), count in Counter(self._uncounted).items():
            metrics.answered(outcome, tier).inc(count)
        self._uncounted.clear()


def _call_after(count: int, callback: Callable[[], None]) -> Callable[[], None]:
    """Return a function whose ``count``-th call calls ``callback``."""
    remaining = count

    def count_down() -> None:
        nonlocal remaining
        remaining -= 1
        if remaining == 0:
            callback()

    return count_down
