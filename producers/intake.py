"""Reads webhooks, publishes them, counts them. Rule: a webhook is counted only after the broker has acknowledged it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from producers.duplicates import Duplicates
from producers.publisher import BrokerUnavailableError, Publisher
from producers.records import RawWebhook, Record, dead_letter_record, webhook_record
from producers.sampled import SampledLog
from stream import metrics
from stream.domain.dead_letters import Stage
from stream.domain.errors import PoisonError
from stream.domain.sources.lead import Source
from stream.logs import get_logger
from stream.runtime.clock import TickClock

log = get_logger(__name__)

# A sender repeats a body that was rejected completely. Its dead letters are written once.
MAX_REMEMBERED_DEAD_LETTERS = 1_000
# Looked up once, because finding a metric by its labels costs more than counting.
PROCESSED = {source: metrics.RECEIVED.labels(source, "processed") for source in Source}
DUPLICATE = {source: metrics.RECEIVED.labels(source, "duplicate") for source in Source}
REJECTED = {source: metrics.RECEIVED.labels(source, "rejected") for source in Source}
SECONDS = {source: metrics.RECEIVE_SECONDS.labels(source) for source in Source}
MAX_LOG_LINES = 20  # for one body
OUTAGE_LOG_INTERVAL_SECONDS = 60.0  # between two lines about webhooks that the broker did not acknowledge
WEBHOOKS_PER_TICK = 50  # of a large body; then other requests run


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why the webhook at ``index`` of the body is rejected. ``path``: the field at fault, "" for the whole."""

    index: int
    path: str
    reason: str


class Receipt(msgspec.Struct, frozen=True):  # made for every request
    """What became of the webhooks of one body. ``received`` is the sum of the other three.

    ``event_ids``: those of the published webhooks, in their order in the body.
    """

    received: int
    processed: int
    duplicates: int
    rejected: list[Rejection]
    event_ids: list[str]

    @property
    def all_rejected(self) -> bool:
        """Whether the body had webhooks and all of them were rejected."""
        return bool(self.rejected) and len(self.rejected) == self.received


class Intake:
    """Publishes the webhooks of a body and returns a receipt."""

    def __init__(
        self,
        publisher: Publisher,
        duplicate_window: int,
        denied_aliases: frozenset[str],
        now: Callable[[], datetime],
        area_code: str = "",
    ) -> None:
        """``duplicate_window``: deliveries that are remembered; ``now``: the current time, with a time zone.

        ``area_code``: completes phones that have none; "" ignores such phones.
        """
        self._publisher = publisher
        self._known_deliveries = Duplicates(duplicate_window)
        self._known_dead_letters = Duplicates(MAX_REMEMBERED_DEAD_LETTERS)
        self._denied_aliases = denied_aliases
        self._area_code = area_code
        self._now = TickClock(now)
        self._outage_log = SampledLog(OUTAGE_LOG_INTERVAL_SECONDS)

    async def take(self, source: Source, raw_webhooks: Iterator[RawWebhook], deadline: float | None = None) -> Receipt:
        """Publish the webhooks that can be read, and the others as dead letters. Raises BrokerUnavailableError.

        ``deadline``: loop time at which the sender gives up. The publisher's own time limit applies as well.
        """
        started = time.perf_counter()
        try:
            received_at = self._now()
            records: list[Record] = []
            dead_letters: list[Record] = []
            rejected: list[Rejection] = []
            raw_webhook = None
            for index, raw_webhook in enumerate(raw_webhooks):
                if index % WEBHOOKS_PER_TICK == WEBHOOKS_PER_TICK - 1:
                    await asyncio.sleep(0)
                try:
                    records.append(
                        webhook_record(source, raw_webhook, received_at, self._denied_aliases, self._area_code)
                    )
                except PoisonError as error:
                    rejected.append(Rejection(index, error.path, error.reason))
                    dead_letters.append(dead_letter_record(source, raw_webhook, received_at, error))
            del raw_webhook  # the next request reuses this memory, still in the processor's cache, during the wait
            try:
                await self._publisher.publish(
                    [*records, *self._new_dead_letters(dead_letters)] if dead_letters else records, deadline
                )
            except BrokerUnavailableError as error:
                self._log_not_accepted([*records, *dead_letters], error)
                raise
            if dead_letters:
                self._log_rejected(dead_letters, rejected)
                self._count_dead_letters(dead_letters)
            return self._count(source, records, rejected)
        finally:
            SECONDS[source].observe(time.perf_counter() - started)

    def _log_not_accepted(self, records: Sequence[Record], error: BrokerUnavailableError) -> None:
        for record in records[:MAX_LOG_LINES]:
            self._outage_log.warning(
                "webhook not accepted", lead=record.lead, event_id=record.identity, reason=str(error)
            )

    @staticmethod
    def _log_rejected(dead_letters: Sequence[Record], rejected: Sequence[Rejection]) -> None:
        for dead_letter, rejection in zip(dead_letters[:MAX_LOG_LINES], rejected, strict=False):
            log.warning(
                "webhook rejected",
                lead=dead_letter.lead,
                event_id=dead_letter.identity,
                field=rejection.path,
                reason=rejection.reason,
            )

    def _new_dead_letters(self, dead_letters: Sequence[Record]) -> list[Record]:
        return [dead_letter for dead_letter in dead_letters if dead_letter.identity not in self._known_dead_letters]

    def _count_dead_letters(self, dead_letters: Sequence[Record]) -> None:
        for dead_letter in dead_letters:
            if self._known_dead_letters.acknowledged(dead_letter.identity):
                metrics.DEAD.labels(Stage.RECEIVE, PoisonError.__name__).inc()

    def _count(self, source: Source, records: Sequence[Record], rejected: list[Rejection]) -> Receipt:
        processed = sum([self._known_deliveries.acknowledged(record.identity) for record in records])
        duplicates = len(records) - processed
        if processed:
            PROCESSED[source].inc(processed)
        if duplicates:
            DUPLICATE[source].inc(duplicates)
        if rejected:
            REJECTED[source].inc(len(rejected))
        event_ids = [record.identity for record in records]
        return Receipt(len(records) + len(rejected), processed, duplicates, rejected, event_ids)
