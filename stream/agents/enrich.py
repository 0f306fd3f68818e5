"""The agent: answers webhooks. A hit leaves at once, a miss flies, and whatever cannot end is parked.

Two lanes: what the table knows is answered in the reading loop, without a task; the rest becomes a flight
(``flights``), so that a repeat never waits behind a paid call. No exception leaves the loop: Faust would
acknowledge or skip the event whose agent raised.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from stream import topics
from stream.agents.delivery import Delivery, Message
from stream.agents.exits import Exits
from stream.agents.flights import QUEUE_BYTES, Flights
from stream.domain.choice import Ambiguous, Answered, Complete, Found, is_sure, next_step
from stream.domain.contact_facts import ContactFacts, KnownPerson, known_person
from stream.domain.errors import GivenUpError, PoisonError, RefusedError, TransientError
from stream.domain.events import Answer, Outcome, Tier, event_id
from stream.domain.headers import REROUTE
from stream.domain.identity import contact_of
from stream.domain.leads import decode_webhook
from stream.domain.person import person_from_candidate
from stream.domain.provider import NO_CALLS, CallCounts
from stream.domain.shares import Sources
from stream.engine.batches import Batch
from stream.engine.emitter import Emitter
from stream.engine.tracker import Tracker
from stream.kafka import partition_of
from stream.logs import get_logger
from stream.lookup.chain import Ladder, Question
from stream.tiers.cache import TableCache

log = get_logger(__name__)

YIELD_EVERY = 200  # records answered in one turn of the loop; deliveries and look-ups go on between
MAX_CANDIDATES = 10  # names that an event of an ambiguous lead lists
RECALL_LIMIT = 1.0  # seconds that PostgreSQL may take to answer for whoever would wait for a slot otherwise
EARLY_PARK = 0.8  # share of the span at which the oldest webhook is parked so that reading can go on


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the worker's memory and patience; durations in seconds."""

    deadline: float
    slots: int
    queue: int
    queue_limit: float
    span: int
    queue_bytes: int = QUEUE_BYTES


class Enricher:
    """Takes messages one by one and brings each to one of its ends."""

    def __init__(  # noqa: PLR0913 - the worker's parts
        self,
        cache: TableCache,
        ladder: Ladder,
        exits: Exits,
        emitter: Emitter,
        limits: Limits,
        now: Callable[[], datetime],
        denylist: frozenset[str],
        area_code: str = "",
        sources: Sources | None = None,
    ) -> None:
        self._cache = cache
        self._ladder = ladder
        self._exits = exits
        self.emitter = emitter
        self.deadline = limits.deadline
        self.restarts = 0
        self._runs = 0
        self._limits = limits
        self._early = limits.span * EARLY_PARK
        self._now = now
        self._denylist = denylist
        self._area_code = area_code
        self._flying: dict[Tracker, dict[int, Delivery]] = {}  # by offset, in order of arrival
        self._sources = sources or Sources()
        self.flights = Flights(
            self._look_up,
            slots=limits.slots,
            queue=limits.queue,
            queue_limit=limits.queue_limit,
            recall=self._recall,
            sources=lambda: self._sources.recent,
            queue_bytes=limits.queue_bytes,
        )

    async def run(self, events: AsyncIterable[Any]) -> None:
        """Read Faust's events for ever. A second run means that Faust has restarted the agent."""
        self.restarts = self._runs
        self._runs += 1
        async for event in events:
            batch: Batch = event.value
            try:
                await self._take(batch)
            finally:
                batch.taken.set()

    async def _take(self, batch: Batch) -> None:
        """Begin the records of a batch, until its partition is taken away."""
        tracker, now = batch.tracker, self.timestamp()
        for count, record in enumerate(batch.records, 1):
            if tracker.closed:
                return
            self._begin(Message(record, tracker), now)
            # Two questions without a task's cost: a hit seldom has to wait.
            if self.emitter.is_full:
                await self.emitter.ebb()
            if tracker.span >= self._early:
                await self._stay_within(tracker)
            if count % YIELD_EVERY == 0:
                self._exits.tripwire.tally()
                await asyncio.sleep(0)
                now = self.timestamp()
        self._exits.tripwire.tally()

    def _begin(self, message: Message, now: float) -> None:
        try:
            webhook = decode_webhook(message.record.value)
            lead = webhook.lead
            delivery = Delivery(message, webhook, contact_of(lead, self._denylist, self._area_code), event_id(lead))
        except PoisonError as error:
            self._exits.dead(message, error)
            return
        except Exception as error:
            # Whatever we stumble over must not come again and again; where it is all messages, the fuse stops us.
            at = {"partition": message.partition, "offset": message.offset}
            log.exception("a message that nobody foresaw", **at, **message.identity)
            self._exits.dead(message, PoisonError(f"unforeseen: {type(error).__name__}"))
            return
        self._exits.tripwire.good()
        self._enter(delivery, now)

    def _enter(self, delivery: Delivery, now: float) -> None:
        if self._is_foreign(delivery):
            self._exits.rerouted(delivery)
            return
        if delivery.webhook.lead.is_test:
            self._exits.answered(delivery, Answer(Outcome.TEST))
            return
        if not delivery.contact.aliases:
            self._exits.answered(delivery, Answer(Outcome.NO_CONTACT))
            return
        self._sources.seen.add(delivery.webhook.source)
        flight = self.flights.find(delivery)
        answer = None if flight else self._from_table(delivery, now)
        if answer is not None:
            self._exits.answered(delivery, answer)
            return
        if not self.flights.has_room_for(delivery.webhook.source):
            self._fall_back(delivery, ContactFacts(), "queue")
            return
        if flight is None and self.flights.is_full_for(delivery.webhook.source):
            # Nobody waits for room: hits come behind it.
            if self.flights.has_room_to_recall:
                self._take_off(delivery, known_only=True)
            else:
                self._fall_back(delivery, ContactFacts(), "queue")
            return
        self._take_off(delivery)

    def _take_off(self, delivery: Delivery, *, known_only: bool = False) -> None:
        message = delivery.message
        self._flying.setdefault(message.tracker, {})[message.offset] = delivery
        message.landed = partial(self._land, message.tracker, message.offset)
        self.flights.submit(delivery, known_only=known_only)

    def _land(self, tracker: Tracker, offset: int) -> None:
        flying = self._flying.get(tracker, {})
        landed = flying.pop(offset, None)
        if landed is None:
            return
        landed.message.let_go()
        if not flying:
            del self._flying[tracker]

    def _is_foreign(self, delivery: Delivery) -> bool:
        """Whether the message lies on a partition that its contact does not belong to; moved once at most."""
        partition = partition_of(delivery.contact.record_key, self.emitter.partitions(topics.WEBHOOKS.name))
        return partition != delivery.message.record.partition and not delivery.message.header(REROUTE)

    def _from_table(self, delivery: Delivery, now: float) -> Answer | None:
        contact, name = delivery.contact, delivery.webhook.lead.name
        partition = delivery.message.record.partition
        answer = self._cache.answer(partition, contact, name, now)
        if answer is not None:
            return answer
        known = self._cache.recall(partition, contact, now)
        step = next_step(contact, name, known)
        return _answer(step, Tier.CACHE) if isinstance(step, Answered) and is_sure(step, contact, known) else None

    async def _look_up(self, delivery: Delivery, failed: str) -> str:
        """End one webhook of a flight; ``failed`` says why the webhook before it could not be answered."""
        if delivery.ended:
            return failed
        delivery.started = time.monotonic()
        answer = self._from_table(delivery, self.timestamp())
        if answer is not None:
            self._exits.answered(delivery, answer)
            return failed
        if failed:
            self._fall_back(delivery, ContactFacts(), failed)
            return failed
        return await self._climb(delivery)

    async def _recall(self, delivery: Delivery) -> bool:
        """Answer one webhook of a flight from the table or from PostgreSQL; whether it has ended."""
        if delivery.ended:
            return True
        answer = self._from_table(delivery, self.timestamp())
        if answer is not None:
            self._exits.answered(delivery, answer)
            return True
        question = _question(delivery)
        known = self._cache.recall(delivery.message.partition, delivery.contact, self.timestamp())
        try:
            async with asyncio.timeout(RECALL_LIMIT):
                step = await self._ladder.recall(question, known)
        except (TransientError, TimeoutError):
            return False  # the look-up itself will say so
        if step is not None:
            self._found(delivery, question, known, step)
        return step is not None

    async def _climb(self, delivery: Delivery) -> str:
        partition, question = delivery.message.partition, _question(delivery)
        known = self._cache.recall(partition, delivery.contact, self.timestamp())
        try:
            async with asyncio.timeout(self._limits.deadline):
                step = await self._ladder.climb(question, known)
        except (TransientError, RefusedError, TimeoutError) as error:
            reason = _reason(error)
            # What was paid for is kept, whatever came after it.
            self._remember(delivery, known, None)
            self._fall_back(delivery, known, reason, question.calls)
            return reason
        except PoisonError as error:
            self._remember(delivery, known, None)
            self._exits.deadly(delivery, error, question.calls)
            return ""
        self._found(delivery, question, known, step)
        return ""

    def _found(self, delivery: Delivery, question: Question, known: ContactFacts, step: Answered) -> None:
        answer = _answer(step, question.tier, question.calls)
        self._remember(delivery, known, step.person if isinstance(step, Found) else None)
        self._exits.answered(delivery, answer)

    def _remember(self, delivery: Delivery, known: ContactFacts, person: KnownPerson | None) -> None:
        self._cache.remember(delivery.message.partition, known, person, self.timestamp())

    def _fall_back(self, delivery: Delivery, known: ContactFacts, reason: str, calls: CallCounts = NO_CALLS) -> None:
        """Asking has failed: a person past its time is better than none; else the webhook is parked."""
        old = self._cache.recall(delivery.message.partition, delivery.contact, self.timestamp(), stale=True)
        old.answers.update(known.answers)
        old.listed.update(known.listed)
        old.persons.update(known.persons)
        old.dead_ends.update(known.dead_ends)
        step = next_step(delivery.contact, delivery.webhook.lead.name, old, allow_stale=True)
        if isinstance(step, Found) or (isinstance(step, Ambiguous) and is_sure(step, delivery.contact, old)):
            self._exits.answered(delivery, _answer(step, Tier.CACHE, calls))
        elif not self._exits.parked(delivery, reason, calls):
            self._give_up(delivery, step, reason, calls)

    def _give_up(self, delivery: Delivery, step: object, reason: str, calls: CallCounts) -> None:
        """Tried for too long: what is known goes out, else it is a dead letter."""
        if isinstance(step, Complete) and step.candidate.name:
            person = known_person(person_from_candidate(step.candidate, self._now()))
            self._exits.answered(delivery, _answer(Found(person, step.match), Tier.CACHE, calls))
            return
        delivery.ended = True
        self._exits.dead(delivery.message, GivenUpError(f"given up: {reason}"), delivery)

    async def _stay_within(self, tracker: Tracker) -> None:
        """Keep the span between the oldest unfinished offset and the newest within its bound."""
        oldest = next(iter(self._flying.get(tracker, {}).values()), None)
        if oldest is not None:
            self._exits.parked(oldest, "span")
        await tracker.shrink(self._limits.span)

    def oldest_age(self) -> float:
        """Seconds for which the oldest look-up has been at work; waiting for a slot does not count."""
        now = time.monotonic()
        started = [
            one.started for flying in self._flying.values() for one in flying.values() if one.started is not None
        ]
        return now - min(started) if started else 0.0

    def timestamp(self) -> float:
        """Now, in epoch seconds, by the worker's clock."""
        return self._now().timestamp()

    async def stop(self) -> None:
        """Stop what flies. What was paid for is stored, and every call is settled in the books."""
        await self.flights.close()
        await self._ladder.settled()

    def abandon_waiting(self) -> None:
        """Begin no look-up that has not begun: whoever gets its partition reads the webhook again, and would pay."""
        for tracker, flying in list(self._flying.items()):
            begun = {offset: delivery for offset, delivery in flying.items() if delivery.started is not None}
            for offset in flying.keys() - begun.keys():
                flying[offset].ended = True
            if begun:
                self._flying[tracker] = begun
            else:
                del self._flying[tracker]

    def park_all(self, reason: str) -> None:
        """Park whatever flies: the worker is leaving."""
        for deliveries in list(self._flying.values()):
            for delivery in list(deliveries.values()):
                self._exits.parked(delivery, reason)


def _reason(error: TransientError | RefusedError | TimeoutError) -> str:
    """Why a look-up failed. A partner's failure begins with the partner's name: what is parked for it waits for it."""
    if isinstance(error, TimeoutError):
        return "deadline"
    return str(error) if isinstance(error, RefusedError) else error.reason


def _question(delivery: Delivery) -> Question:
    lead = delivery.webhook.lead
    return Question(delivery.contact, lead.name, lead.id, lead.source, delivery.event_id)


def _answer(step: Answered, tier: Tier, calls: CallCounts = NO_CALLS) -> Answer:
    if not isinstance(step, Found):
        names = tuple(one.name for one in step.candidates) if isinstance(step, Ambiguous) else ()
        outcome = Outcome.AMBIGUOUS if names else Outcome.NOT_FOUND
        return Answer(
            outcome,
            tier=tier,
            candidates=names[:MAX_CANDIDATES],
            calls=calls,
        )
    return Answer(
        Outcome.ENRICHED,
        tier=tier,
        match=step.match,
        person=step.person.person,
        facts=step.person.facts,
        stale=step.person.stale,
        calls=calls,
    )
