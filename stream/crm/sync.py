"""Writes enriched contacts to the CRM: the same facts go to a lead once.

C2S has no idempotency key. So a write is claimed in PostgreSQL before the call and marked with its result after it. A
write that may have been carried out (a time-out, a reset, a 5xx, a process that died in the call) is *unconfirmed*: it
is listed and resent only on request (docs/adr/0006-writing-to-a-crm-without-idempotency.md).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import asyncpg
import stamina
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import KafkaError

from stream import metrics, topics
from stream.crm.client import C2S
from stream.crm.pause import Pause
from stream.crm.writes import CrmWrites
from stream.dead_letters.guard import DlqGuard
from stream.domain.crm import Create, Skip, Tell, WriteStatus, decide, source_in_crm
from stream.domain.crm_message import MAX_NAME_CHARS, description, message, one_line_attributes
from stream.domain.dead_letters import Stage, dead_letter_headers
from stream.domain.errors import (
    Billed,
    CredentialsRefusedError,
    DatabaseUnavailableError,
    LeadRefusedError,
    PartnerUnavailableError,
    PoisonError,
    TransientError,
)
from stream.domain.events import EnrichedEvent, Outcome, decode_event
from stream.domain.provider import CRM_PARTNER
from stream.domain.text import one_line
from stream.kafka.consumer_loop import ConsumerSpec
from stream.kafka.record_identity import about
from stream.logs import get_logger
from stream.settings import Settings

log = get_logger(__name__)

SKIPPED = frozenset({"closed", *Outcome})
CRM_CONSUMER = ConsumerSpec(topics.CRM_GROUP, (topics.ENRICHED.name,))


class CrmSync:
    """Handles one event at a time. ``KeyOrder`` calls it for the events of a contact in order."""

    def __init__(
        self,
        c2s: C2S,
        writes: CrmWrites,
        producer: AIOKafkaProducer,
        settings: Settings,
        pause: Pause | None = None,
    ) -> None:
        """``pause`` delays records while C2S refuses us; ``KeyOrder`` awaits it before each attempt."""
        self._c2s = c2s
        self._writes = writes
        self._producer = producer
        self._settings = settings
        self._dlq_guard = DlqGuard(settings.fuse)
        self._pause = Pause(CRM_PARTNER) if pause is None else pause
        self._calls = 0  # number of calls to C2S
        # No call of an older claim is in progress: the call has timed out, and its result had time to be stored.
        longest_call = 2 * settings.c2s_timeout
        self._reclaim_after = longest_call if settings.crm_resend_unconfirmed else None
        # With CRM_RESEND_UNCONFIRMED an expired claim is reclaimed and resent. If it expired to unconfirmed as well, a
        # claim that reaches its age between the two statements would not be resent.
        self._claim_expires_after = None if settings.crm_resend_unconfirmed else longest_call

    async def handle(self, record: ConsumerRecord) -> None:
        """Handle one record. Raises TransientError if nothing was written and the record may be tried again."""
        calls_before = self._calls
        try:
            await self._handle(record)
        finally:
            if calls_before == self._calls:
                self._pause.probe_unused()

    async def _handle(self, record: ConsumerRecord) -> None:
        try:
            event = decode_event(record.value or b"")
            await self._write(event)
            self._dlq_guard.record_valid()
            self._dlq_guard.tally()
        except PoisonError as error:
            await self._publish_dead_letter(record, error)
        except (ValueError, asyncpg.DataError):
            # The record is no event, or PostgreSQL can't store a value of it: another attempt would not help.
            await self._publish_dead_letter(record, PoisonError("not an event of contacts.enriched"))

    async def _write(self, event: EnrichedEvent) -> None:
        decision = decide(event, note_not_found=self._settings.crm_note_not_found)
        match decision:
            case Skip():
                # An outcome that this version does not know must not become a label.
                reason = decision.reason if decision.reason in SKIPPED else "other"
                metrics.CRM_WRITES.labels("none", reason).inc()
            case Tell():
                await self._tell(event.lead.id, decision, event)
            case Create():
                await self._create(event, decision)

    async def _create(self, event: EnrichedEvent, decision: Create) -> None:
        """Create the lead. If it was created before, write what has become known since as a message."""
        source, lead_id = event.lead.source, event.lead.id
        attributes = one_line_attributes(self._attributes(event))
        if await self._claim_lead(source, lead_id):
            await self._create_lead(event, decision.facts, attributes)
        elif decision.follow_up:
            await self._follow_up(decision, event)

    async def _claim_lead(self, source: str, lead_id: str) -> bool:
        if await self._writes.claim_lead(source, lead_id):
            return True
        if await self._writes.reclaim_lead(source, lead_id, self._reclaim_after):
            return True
        _raise_while_under_way(await self._writes.lead_has_result(source, lead_id, self._claim_expires_after))
        return False

    async def _claim(self, c2s_id: str, facts: str, event_id: str) -> bool:
        if await self._writes.claim(c2s_id, facts, event_id):
            return True
        if await self._writes.reclaim(c2s_id, facts, event_id, self._reclaim_after):
            return True
        _raise_while_under_way(await self._writes.has_result(c2s_id, facts, self._claim_expires_after))
        return False

    async def _follow_up(self, decision: Create, event: EnrichedEvent) -> None:
        lead = await self._writes.find_lead(event.lead.source, event.lead.id)
        if lead is None or lead.c2s_id is None:
            # The lead may or may not exist, and a message needs its id. An operator decides.
            metrics.CRM_WRITES.labels("message", "lead unconfirmed").inc()
            log.warning("message not sent: the creation of its lead is unconfirmed", **_about(event))
            return
        await self._tell(lead.c2s_id, decision, event)

    async def _create_lead(self, event: EnrichedEvent, facts: str, attributes: dict[str, Any]) -> None:
        source, lead_id = event.lead.source, event.lead.id

        async def write() -> str:
            return await self._c2s.create_lead(attributes)

        c2s_id = await self._attempt(
            "lead",
            event,
            write,
            release=lambda: self._writes.release_lead(source, lead_id),
            mark=lambda status, _: self._writes.mark_lead(source, lead_id, status),
        )
        if c2s_id is None:
            return
        # A lead that is created with its facts must not get them as a message again.
        is_told = event.person is not None or event.outcome in {Outcome.NOT_FOUND, Outcome.NO_CONTACT}
        told = facts if is_told else None
        await _until_stored(partial(self._writes.mark_created, source, lead_id, c2s_id, told, event.event_id))
        log.info("lead created", c2s_id=c2s_id, outcome=event.outcome, **_about(event))

    async def _tell(self, c2s_id: str, decision: Tell | Create, event: EnrichedEvent) -> None:
        facts = decision.facts
        text = message(event)  # before the claim: a message that can't be written must not be claimed
        is_superseded = bool(decision.unless) and await self._writes.is_told(c2s_id, decision.unless)
        if is_superseded or not await self._claim(c2s_id, facts, event.event_id):
            metrics.CRM_WRITES.labels("message", "told before").inc()
            return

        async def write() -> str:
            await self._c2s.create_message(c2s_id, text)
            return c2s_id

        result = await self._attempt(
            "message",
            event,
            write,
            release=lambda: self._writes.release(c2s_id, facts),
            mark=lambda status, reason: self._writes.mark(c2s_id, facts, status, reason),
        )
        if result is not None:
            await _until_stored(partial(self._writes.mark, c2s_id, facts, WriteStatus.CONFIRMED))
            log.info("message written", c2s_id=c2s_id, outcome=event.outcome, **_about(event))

    async def _attempt(
        self,
        kind: str,
        event: EnrichedEvent,
        write: Callable[[], Awaitable[str]],
        release: Callable[[], Awaitable[None]],
        mark: Callable[[WriteStatus, str], Awaitable[None]],
    ) -> str | None:
        """Make one call and mark its claim with the result. Returns None if it may have been carried out.

        Raises PartnerUnavailableError if it was certainly not carried out, PoisonError if C2S refuses it for good.
        """
        self._calls += 1
        try:
            result = await write()
        except PartnerUnavailableError as error:
            if isinstance(error, CredentialsRefusedError):
                self._pause.refused(error.reason)
            if error.billed == Billed.NO:
                await _until_stored(release)
                raise
            await _until_stored(partial(mark, WriteStatus.UNCONFIRMED, error.reason))
            metrics.CRM_WRITES.labels(kind, WriteStatus.UNCONFIRMED).inc()
            log.warning("unconfirmed: it may have been carried out", kind=kind, reason=error.reason, **_about(event))
            return None
        except PoisonError as error:
            if isinstance(error, LeadRefusedError):
                self._pause.accepted()
            await _until_stored(partial(mark, WriteStatus.REFUSED, error.reason))
            metrics.CRM_WRITES.labels(kind, WriteStatus.REFUSED).inc()
            raise
        except asyncio.CancelledError:
            # The process stops during the call. The next owner of the event need not wait for the result.
            with contextlib.suppress(DatabaseUnavailableError):
                await mark(WriteStatus.UNCONFIRMED, "stopped in the call")
            raise
        self._pause.accepted()
        self._dlq_guard.written()
        metrics.CRM_WRITES.labels(kind, "done").inc()
        return result

    def _attributes(self, event: EnrichedEvent) -> dict[str, Any]:
        settings = self._settings
        attributes = {
            "name": one_line(event.lead.name or "", MAX_NAME_CHARS)
            or one_line(event.person.name.title() if event.person is not None else "", MAX_NAME_CHARS)
            or "Lead",
            "phone": event.contact.phone,
            "email": event.contact.email,
            "description": description(event),
            "source": source_in_crm(event, settings.c2s_source),
            "type_negotiation": settings.c2s_type_negotiation,
            "product": event.lead.product,
            "seller_id": settings.c2s_seller_id,
        }
        return {name: value for name, value in attributes.items() if value}

    async def _publish_dead_letter(self, record: ConsumerRecord, error: PoisonError) -> None:
        """Publish a dead letter. If there are too many, raises DlqLimitError instead; the record is read again."""
        self._dlq_guard.check(error)
        log.error("dead letter", reason=error.reason, partition=record.partition, offset=record.offset, **about(record))
        metrics.DEAD.labels(Stage.CRM, type(error).__name__).inc()
        headers = dead_letter_headers(
            headers=record.headers,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp=record.timestamp / 1000,
            stage=Stage.CRM,
            error=type(error).__name__,
            reason=error.reason,
            attempts=1,
            failed_at=datetime.now(UTC),
        )
        try:
            await self._producer.send_and_wait(
                topics.DEAD.name, value=record.value or b"", key=record.key, headers=headers, partition=0
            )
        except KafkaError as unsent:
            raise TransientError(f"dead letter: {type(unsent).__name__}") from None


def _about(event: EnrichedEvent) -> dict[str, str]:
    return {"lead": event.lead.id, "event_id": event.event_id}


def _raise_while_under_way(has_result: bool) -> None:  # noqa: FBT001 - its name says it
    """Raise TransientError while another process makes the call.

    That process may release its claim, and then this event must make the call.
    """
    if not has_result:
        raise TransientError("the same write is under way")


async def _until_stored(mark: Callable[[], Awaitable[None]]) -> None:
    """Store the result of a call, however long the database is away. Until then the write counts as unconfirmed."""
    async for attempt in stamina.retry_context(
        on=DatabaseUnavailableError, attempts=None, timeout=None, wait_initial=0.1, wait_max=5.0
    ):
        with attempt:
            await mark()
