"""Single flight: one look-up of a contact at a time, in order, within limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiokafka import ConsumerRecord

from stream import metrics
from stream.domain.events import event_id
from stream.domain.identity import contact_of
from stream.domain.leads import decode_webhook
from stream.kafka.offset_tracker import Tracker
from stream.worker.pending_webhook import PendingWebhook, SourceRecord
from stream.worker.single_flight import SingleFlight
from tests.support.fakes import c2s_webhook

LIMIT = 60.0  # seconds


def pending(offset: int, *, phone: str = "", email: str = "", partition: int = 0) -> PendingWebhook:
    webhook = decode_webhook(c2s_webhook(f"lead-{offset}", phone=phone, email=email))
    record = ConsumerRecord("webhooks", partition, offset, 0, 1, None, b"", None, 0, 0, ())
    source_record = SourceRecord(record, Tracker())
    return PendingWebhook(source_record, webhook, contact_of(webhook.lead, frozenset()), event_id(webhook.lead))


def someone(number: int) -> str:
    return f"1197654{number:04d}"


def single_flight(
    look_up: Callable[[PendingWebhook, str], Awaitable[str]],
    *,
    slots: int = 2,
    queue: int = 1000,
    queue_limit: float = LIMIT,
) -> SingleFlight:
    return SingleFlight(look_up, slots=slots, queue=queue, queue_limit=queue_limit)


class Memory:
    """A look-up that pays for unknown contacts, and records the order of the outcomes."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.paid: list[str] = []
        self.ended: list[int] = []
        self.reasons: list[str] = []
        self.gate = asyncio.Event()
        self.at_once = self.most = 0

    async def look_up(self, one: PendingWebhook, failed: str) -> str:
        """Answer one webhook."""
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        if not failed and one.contact.key not in self.known:
            self.paid.append(one.contact.key)
            await self.gate.wait()
            self.known.add(one.contact.key)
        self.at_once -= 1
        one.has_outcome = True
        self.ended.append(one.record.offset)
        self.reasons.append(failed)
        return failed


async def test_two_hundred_webhooks_of_one_new_contact_are_one_look_up() -> None:
    """The contact is paid for once, and every webhook has an outcome, in order."""
    memory = Memory()
    flights = single_flight(memory.look_up)
    for offset in range(200):
        flights.submit(pending(offset, phone=someone(1)))
        await asyncio.sleep(0)
    assert flights.under_way == 200
    memory.gate.set()
    await flights.drain(LIMIT)
    assert len(memory.paid) == 1
    assert memory.ended == list(range(200))
    assert flights.under_way == 0


async def test_a_webhook_that_shares_an_alias_joins_the_look_up() -> None:
    """Phone, then phone and e-mail, then e-mail: one look-up, one webhook after the other."""
    memory = Memory()
    flights = single_flight(memory.look_up)
    flights.submit(pending(0, phone=someone(1)))
    flights.submit(pending(1, phone=someone(1), email="ana@example.com.br"))
    third = pending(2, email="ana@example.com.br")
    assert flights.find(third) is not None
    flights.submit(third)
    stranger = pending(3, phone=someone(2))
    assert flights.find(stranger) is None
    await asyncio.sleep(0)
    memory.gate.set()
    await flights.drain(LIMIT)
    assert (memory.ended, memory.most) == ([0, 1, 2], 1)
    assert flights.find(third) is None


async def test_different_contacts_are_looked_up_at_once_up_to_the_slots() -> None:
    """They do not wait for each other while a slot is free."""
    memory = Memory()
    flights = single_flight(memory.look_up, slots=3)
    for offset in range(10):
        flights.submit(pending(offset, phone=someone(offset)))
    async with asyncio.timeout(LIMIT):
        while memory.most < 3:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0)
    assert metrics.LOOKUPS_RUNNING._value.get() == 3  # noqa: SLF001 - prometheus-client has no other way to read one
    memory.gate.set()
    await flights.drain(LIMIT)
    assert metrics.LOOKUPS_RUNNING._value.get() == 0  # noqa: SLF001
    assert memory.most == 3
    assert sorted(memory.ended) == list(range(10))


async def test_a_look_up_that_gets_no_slot_in_time_ends_as_queue() -> None:
    """All its webhooks end so, and the number of slots stays the same."""
    memory = Memory()
    flights = single_flight(memory.look_up, slots=1, queue_limit=0.02)
    flights.submit(pending(0, phone=someone(0)))
    await asyncio.sleep(0)
    for offset in (1, 2):
        flights.submit(pending(offset, phone=someone(1)))
    async with asyncio.timeout(LIMIT):
        while len(memory.ended) < 2:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)
    assert (memory.ended, memory.reasons) == ([1, 2], ["queue", "queue"])
    memory.gate.set()
    await flights.drain(LIMIT)
    memory.gate.clear()
    memory.most = 0
    for offset in (3, 4):
        flights.submit(pending(offset, phone=someone(offset)))
    await asyncio.sleep(0)
    memory.gate.set()
    await flights.drain(LIMIT)
    assert memory.most == 1


async def test_a_failure_holds_for_the_webhooks_behind_it() -> None:
    """The same contact is not asked for again."""
    asked: list[str] = []

    async def fails(one: PendingWebhook, failed: str) -> str:
        one.has_outcome = True
        asked.append(failed)
        await asyncio.sleep(0)
        return failed or "diretrix: status 500"

    flights = single_flight(fails)
    for offset in range(3):
        flights.submit(pending(offset, phone=someone(1)))
    await flights.drain(LIMIT)
    assert asked == ["", "diretrix: status 500", "diretrix: status 500"]


async def test_an_unexpected_error_ends_the_webhook_as_internal() -> None:
    """The webhooks behind it are not affected."""
    reasons: list[str] = []

    async def breaks(one: PendingWebhook, failed: str) -> str:
        if not failed:
            raise ValueError("a bug")
        one.has_outcome = True
        reasons.append(failed)
        return ""

    flights = single_flight(breaks)
    for offset in range(2):
        flights.submit(pending(offset, phone=someone(1)))
    await flights.drain(LIMIT)
    assert reasons == ["internal", "internal"]
    assert flights.under_way == 0


async def test_the_queue_counts_contacts_and_not_webhooks() -> None:
    """It has room again when a contact's look-up has ended."""
    memory = Memory()
    flights = single_flight(memory.look_up, queue=2)
    for offset in range(4):
        flights.submit(pending(offset, phone=someone(0)))
    assert (flights.is_busy_for("c2s"), flights.is_full_for("c2s")) == (True, False)
    flights.submit(pending(4, phone=someone(1)))
    assert flights.is_full_for("c2s")
    memory.gate.set()
    await flights.drain(LIMIT)
    assert (flights.is_busy_for("c2s"), flights.is_full_for("c2s")) == (False, False)


async def test_close_cancels_all_look_ups() -> None:
    """No provider is asked any more, and no webhook gets an outcome afterwards."""
    memory = Memory()
    flights = single_flight(memory.look_up, slots=1)
    for offset in range(4):
        flights.submit(pending(offset, phone=someone(offset % 2)))
    await asyncio.sleep(0)
    await flights.close()
    memory.gate.set()
    await flights.drain(LIMIT)
    assert (len(memory.paid), memory.ended) == (1, [])
    assert flights.find(pending(4, phone=someone(0))) is None


async def test_an_alias_of_another_partition_is_another_contact() -> None:
    """Order holds within a partition only, so a webhook of another one does not wait."""
    memory = Memory()
    flights = single_flight(memory.look_up)
    flights.submit(pending(0, phone=someone(1)))
    assert flights.find(pending(1, phone=someone(1), partition=1)) is None
    memory.gate.set()
    await flights.drain(LIMIT)
