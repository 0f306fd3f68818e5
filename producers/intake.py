"""Takes webhooks in: reads them, publishes them, counts them. Nothing is counted before the broker has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from producers.duplicates import Duplicates
from producers.items import Part, Record, dead_letter, webhook
from producers.publisher import BrokerUnavailableError, Publisher
from producers.sampled import SampledLog
from stream import metrics
from stream.domain.dead_letters import Stage
from stream.domain.errors import PoisonError
from stream.domain.sources.lead import Source
from stream.logs import get_logger
from stream.runtime.clock import TickClock

log = get_logger(__name__)

# A sender repeats a body that was refused as a whole: its dead letters are written once.
LETTERS_REMEMBERED = 1_000
# Looked up once: a look-up by labels costs more than the count.
PROCESSED = {source: metrics.RECEIVED.labels(source, "processed") for source in Source}
DUPLICATE = {source: metrics.RECEIVED.labels(source, "duplicate") for source in Source}
REJECTED = {source: metrics.RECEIVED.labels(source, "rejected") for source in Source}
SECONDS = {source: metrics.RECEIVE_SECONDS.labels(source) for source in Source}
MOST_LINES = 20  # of the log, for one body
OUTAGE_INTERVAL = 60.0  # seconds between lines about webhooks that the broker did not take
TURN = 50  # webhooks of a large body that are read before other requests have their turn


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why the webhook at ``index`` of the body can't be taken; ``path`` names the field at fault."""

    index: int
    path: str
    reason: str


class Receipt(msgspec.Struct, frozen=True):  # made for every request
    """What became of the webhooks of one body: ``received`` is the sum of the others.

    ``event_ids``: of the webhooks that were taken, in their order in the body.
    """

    received: int
    processed: int
    duplicates: int
    rejected: list[Rejection]
    event_ids: list[str]

    @property
    def is_hopeless(self) -> bool:
        """Whether there was something and nothing of it could be taken."""
        return bool(self.rejected) and len(self.rejected) == self.received


class Intake:
    """Webhooks in, a receipt out."""

    def __init__(
        self,
        publisher: Publisher,
        window: int,
        denied_aliases: frozenset[str],
        now: Callable[[], datetime],
        area_code: str = "",
    ) -> None:
        """``window``: deliveries remembered; ``denied_aliases``: aliases of denied contacts; ``now``: aware.

        ``area_code``: completes phones that were typed without one; "" leaves them unread.
        """
        self._publisher = publisher
        self._deliveries = Duplicates(window)
        self._letters = Duplicates(LETTERS_REMEMBERED)
        self._denied_aliases = denied_aliases
        self._area_code = area_code
        self._now = TickClock(now)
        self._outage = SampledLog(OUTAGE_INTERVAL)

    async def take(self, source: Source, parts: Iterator[Part], until: float | None = None) -> Receipt:
        """Publish what can be read, and the rest as dead letters. Raises BrokerUnavailableError.

        ``until``: when the sender gives up, on the loop's clock; the publisher's own limit holds as well.
        """
        started = time.perf_counter()
        try:
            received_at = self._now()
            records: list[Record] = []
            letters: list[Record] = []
            rejected: list[Rejection] = []
            part = None
            for index, part in enumerate(parts):
                if index % TURN == TURN - 1:
                    await asyncio.sleep(0)
                try:
                    records.append(webhook(source, part, received_at, self._denied_aliases, self._area_code))
                except PoisonError as error:
                    rejected.append(Rejection(index, error.path, error.reason))
                    letters.append(dead_letter(source, part, received_at, error))
            del part  # while the broker is waited for, the next request gets this memory, still in the core's cache
            try:
                await self._publisher.publish([*records, *self._unburied(letters)] if letters else records, until)
            except BrokerUnavailableError as error:
                self._say_not_accepted([*records, *letters], error)
                raise
            if letters:
                self._say_rejected(letters, rejected)
                self._bury(letters)
            return self._count(source, records, rejected)
        finally:
            SECONDS[source].observe(time.perf_counter() - started)

    def _say_not_accepted(self, records: Sequence[Record], error: BrokerUnavailableError) -> None:
        for record in records[:MOST_LINES]:
            self._outage.warning("webhook not accepted", lead=record.lead, event_id=record.identity, reason=str(error))

    @staticmethod
    def _say_rejected(letters: Sequence[Record], rejected: Sequence[Rejection]) -> None:
        for letter, why in zip(letters[:MOST_LINES], rejected, strict=False):
            log.warning(
                "webhook rejected", lead=letter.lead, event_id=letter.identity, field=why.path, reason=why.reason
            )

    def _unburied(self, letters: Sequence[Record]) -> list[Record]:
        return [letter for letter in letters if letter.identity not in self._letters]

    def _bury(self, letters: Sequence[Record]) -> None:
        for letter in letters:
            if self._letters.acknowledged(letter.identity):
                metrics.DEAD.labels(Stage.RECEIVE, PoisonError.__name__).inc()

    def _count(self, source: Source, records: Sequence[Record], rejected: list[Rejection]) -> Receipt:
        processed = sum([self._deliveries.acknowledged(record.identity) for record in records])
        duplicates = len(records) - processed
        if processed:
            PROCESSED[source].inc(processed)
        if duplicates:
            DUPLICATE[source].inc(duplicates)
        if rejected:
            REJECTED[source].inc(len(rejected))
        event_ids = [record.identity for record in records]
        return Receipt(len(records) + len(rejected), processed, duplicates, rejected, event_ids)
