"""Single flight: one look-up a contact, in order, within bounds."""

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


def delivery(offset: int, *, phone: str = "", email: str = "", partition: int = 0) -> PendingWebhook:
    webhook = decode_webhook(c2s_webhook(f"lead-{offset}", phone=phone, email=email))
    record = ConsumerRecord("webhooks", partition, offset, 0, 1, None, b"", None, 0, 0, ())
    message = SourceRecord(record, Tracker())
    return PendingWebhook(message, webhook, contact_of(webhook.lead, frozenset()), event_id(webhook.lead))


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
    """A look-up that pays for what it does not know, and keeps the order of what ended."""

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


async def test_two_hundred_deliveries_of_one_new_contact_are_one_look_up() -> None:
    """A burst of one contact pays once, and every webhook ends, in order."""
    memory = Memory()
    fleet = single_flight(memory.look_up)
    for offset in range(200):
        fleet.submit(delivery(offset, phone=someone(1)))
        await asyncio.sleep(0)
    assert fleet.under_way == 200
    memory.gate.set()
    await fleet.drain(LIMIT)
    assert len(memory.paid) == 1
    assert memory.ended == list(range(200))
    assert fleet.under_way == 0


async def test_what_shares_any_alias_joins_the_flight() -> None:
    """Phone only, then phone and e-mail, then e-mail only: one lookup, one after the other."""
    memory = Memory()
    fleet = single_flight(memory.look_up)
    fleet.submit(delivery(0, phone=someone(1)))
    fleet.submit(delivery(1, phone=someone(1), email="ana@example.com.br"))
    third = delivery(2, email="ana@example.com.br")
    assert fleet.find(third) is not None
    fleet.submit(third)
    stranger = delivery(3, phone=someone(2))
    assert fleet.find(stranger) is None
    await asyncio.sleep(0)
    memory.gate.set()
    await fleet.drain(LIMIT)
    assert (memory.ended, memory.most) == ([0, 1, 2], 1)
    assert fleet.find(third) is None


async def test_contacts_fly_beside_one_another_up_to_the_slots() -> None:
    """Different contacts do not wait for one another, but no more are looked up at once than there are slots."""
    memory = Memory()
    fleet = single_flight(memory.look_up, slots=3)
    for offset in range(10):
        fleet.submit(delivery(offset, phone=someone(offset)))
    async with asyncio.timeout(LIMIT):
        while memory.most < 3:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0)
    assert metrics.LOOKUPS_RUNNING._value.get() == 3  # noqa: SLF001 - prometheus-client has no other way to read one
    memory.gate.set()
    await fleet.drain(LIMIT)
    assert metrics.LOOKUPS_RUNNING._value.get() == 0  # noqa: SLF001
    assert memory.most == 3
    assert sorted(memory.ended) == list(range(10))


async def test_a_flight_that_gets_no_slot_is_told_so_and_gives_none_back() -> None:
    """What waits longer than its limit ends as "queue" with all of its webhooks; the slots stay as many."""
    memory = Memory()
    fleet = single_flight(memory.look_up, slots=1, queue_limit=0.02)
    fleet.submit(delivery(0, phone=someone(0)))
    await asyncio.sleep(0)
    for offset in (1, 2):
        fleet.submit(delivery(offset, phone=someone(1)))
    async with asyncio.timeout(LIMIT):
        while len(memory.ended) < 2:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)
    assert (memory.ended, memory.reasons) == ([1, 2], ["queue", "queue"])
    memory.gate.set()
    await fleet.drain(LIMIT)
    memory.gate.clear()
    memory.most = 0
    for offset in (3, 4):
        fleet.submit(delivery(offset, phone=someone(offset)))
    await asyncio.sleep(0)
    memory.gate.set()
    await fleet.drain(LIMIT)
    assert memory.most == 1


async def test_a_failure_is_handed_to_the_webhooks_behind_it() -> None:
    """One failed call is enough: what waits for the same contact does not ask again."""
    asked: list[str] = []

    async def fails(one: PendingWebhook, failed: str) -> str:
        one.has_outcome = True
        asked.append(failed)
        await asyncio.sleep(0)
        return failed or "diretrix: status 500"

    fleet = single_flight(fails)
    for offset in range(3):
        fleet.submit(delivery(offset, phone=someone(1)))
    await fleet.drain(LIMIT)
    assert asked == ["", "diretrix: status 500", "diretrix: status 500"]


async def test_an_exception_nobody_foresaw_ends_the_webhook_as_internal() -> None:
    """A bug costs its webhook a detour, never the webhooks behind it."""
    reasons: list[str] = []

    async def breaks(one: PendingWebhook, failed: str) -> str:
        if not failed:
            raise ValueError("a bug")
        one.has_outcome = True
        reasons.append(failed)
        return ""

    fleet = single_flight(breaks)
    for offset in range(2):
        fleet.submit(delivery(offset, phone=someone(1)))
    await fleet.drain(LIMIT)
    assert reasons == ["internal", "internal"]
    assert fleet.under_way == 0


async def test_the_queue_holds_contacts_and_whoever_waits_for_one_joins_it() -> None:
    """It is full of contacts, not of their webhooks, and has room again when one is completed."""
    memory = Memory()
    fleet = single_flight(memory.look_up, queue=2)
    for offset in range(4):
        fleet.submit(delivery(offset, phone=someone(0)))
    assert (fleet.is_busy_for("c2s"), fleet.is_full_for("c2s")) == (True, False)
    fleet.submit(delivery(4, phone=someone(1)))
    assert fleet.is_full_for("c2s")
    memory.gate.set()
    await fleet.drain(LIMIT)
    assert (fleet.is_busy_for("c2s"), fleet.is_full_for("c2s")) == (False, False)


async def test_closing_stops_what_flies() -> None:
    """A worker that leaves asks no partner for anything more, and nothing ends after it."""
    memory = Memory()
    fleet = single_flight(memory.look_up, slots=1)
    for offset in range(4):
        fleet.submit(delivery(offset, phone=someone(offset % 2)))
    await asyncio.sleep(0)
    await fleet.close()
    memory.gate.set()
    await fleet.drain(LIMIT)
    assert (len(memory.paid), memory.ended) == (1, [])
    assert fleet.find(delivery(4, phone=someone(0))) is None


async def test_an_alias_of_another_partition_is_another_contact() -> None:
    """Order holds within a partition; a webhook of another one is not held up."""
    memory = Memory()
    fleet = single_flight(memory.look_up)
    fleet.submit(delivery(0, phone=someone(1)))
    assert fleet.find(delivery(1, phone=someone(1), partition=1)) is None
    memory.gate.set()
    await fleet.drain(LIMIT)
