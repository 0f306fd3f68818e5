"""How sources share a limit: the budget's rule, the queue's shares, and slots in turn."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.domain.identity import contact_of
from stream.domain.leads import Source, decode_webhook, encode_webhook
from stream.domain.shares import may_take
from stream.kafka.offset_tracker import Tracker
from stream.worker.pending_webhook import PendingWebhook, SourceRecord
from stream.worker.single_flight import SingleFlight
from stream.worker.slots import FairSlots
from tests.support.fakes import NOW, c2s_webhook
from tests.unit.test_single_flight import someone

C2S, GOOGLE = "c2s", "google_ads"
BOTH = frozenset({C2S, GOOGLE})
LIMIT = 10.0  # seconds


def taken(limit: int, source: str, used: Counter[str], sources: frozenset[str] = BOTH) -> int:
    """Take until no more is given; returns how much that was."""
    before = used[source]
    while may_take(limit, used, source, sources):
        used[source] += 1
    return used[source] - before


def test_a_flood_leaves_the_others_their_share() -> None:
    """Of two sources one can take three quarters, and the other always gets the last quarter."""
    used: Counter[str] = Counter()
    assert [taken(100, source, used) for source in (C2S, GOOGLE, C2S)] == [75, 25, 0]


@given(
    limit=st.integers(0, 60),
    asking=st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=200),
    sources=st.frozensets(st.sampled_from(["a", "b", "c", "d", "e"])),
)
def test_no_order_of_asking_passes_the_limit_or_takes_a_share(
    limit: int, asking: list[str], sources: frozenset[str]
) -> None:
    """In any order: the total holds, and each known source can still take its share."""
    used: Counter[str] = Counter()
    for source in asking:
        if source in sources and may_take(limit, used, source, sources):
            used[source] += 1
    assert sum(used.values()) <= limit
    for source in sorted(sources):
        share = limit // 2 // len(sources)
        taken(limit, source, used, sources)
        assert used[source] >= share
    assert sum(used.values()) <= limit


def google(number: int, name: str = "") -> PendingWebhook:
    columns = [
        {"column_id": "PHONE_NUMBER", "string_value": f"+55{someone(number)}"},
        {"column_id": "FULL_NAME", "string_value": name},
    ]
    payload = {"lead_id": f"g-{number}", "google_key": "k", "form_id": 1, "campaign_id": 2, "user_column_data": columns}
    return pending_of(number, encode_webhook(Source.GOOGLE_ADS, NOW, payload, None))


def c2s(number: int) -> PendingWebhook:
    return pending_of(number, c2s_webhook(f"lead-{number}", phone=someone(number)))


def pending_of(number: int, value: bytes) -> PendingWebhook:
    from aiokafka import ConsumerRecord  # noqa: PLC0415 - of this helper only

    webhook = decode_webhook(value)
    record = ConsumerRecord("webhooks", 0, number, 0, 1, None, value, None, 0, 0, ())
    return PendingWebhook(SourceRecord(record, Tracker()), webhook, contact_of(webhook.lead, frozenset()), str(number))


class Partner:
    """Look-ups that end one at a time, when the test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.gates: list[asyncio.Event] = []

    async def look_up(self, one: PendingWebhook, failed: str) -> str:
        """Wait for this one's gate."""
        gate = asyncio.Event()
        self.begun.append(str(one.webhook.source))
        self.gates.append(gate)
        await gate.wait()
        return failed


async def begun(partner: Partner, count: int) -> None:
    async with asyncio.timeout(LIMIT):
        while len(partner.begun) < count:  # noqa: ASYNC110 - a look-up that begins sets no event
            await asyncio.sleep(0)


async def test_a_flood_leaves_the_others_room_in_the_queue() -> None:
    """C2S may fill three quarters. Google's leads find room, and are looked up in turn with C2S's."""
    partner = Partner()
    single_flight = SingleFlight(partner.look_up, slots=2, queue=40, queue_limit=LIMIT, sources=lambda: BOTH)
    taken_in = 0
    while not single_flight.is_full_for(C2S):
        single_flight.submit(c2s(taken_in))
        taken_in += 1
    assert taken_in == 30
    for number in range(100, 110):
        assert not single_flight.is_full_for(GOOGLE)
        single_flight.submit(google(number))
    assert single_flight.is_full_for(GOOGLE)
    await begun(partner, 2)
    for ended in range(20):
        partner.gates[ended].set()
        await begun(partner, ended + 3)
    assert partner.begun[2:22].count(GOOGLE) == 10  # one after the other, however many of C2S came before
    assert not single_flight.is_full_for(C2S)
    await single_flight.close()


async def test_a_new_source_gets_a_share_when_it_comes() -> None:
    """A source that filled the queue alone gets no more room once another one has come."""
    partner = Partner()
    sources: set[str] = set()
    single_flight = SingleFlight(
        partner.look_up, slots=40, queue=40, queue_limit=LIMIT, sources=lambda: frozenset(sources)
    )
    for number in range(40):
        assert not single_flight.is_full_for(C2S)
        single_flight.submit(c2s(number))
    assert single_flight.is_full_for(GOOGLE)
    sources.add(GOOGLE)
    await begun(partner, 40)
    partner.gates[0].set()
    async with asyncio.timeout(LIMIT):
        while single_flight.is_full_for(GOOGLE):  # noqa: ASYNC110 - a lookup that lands sets no event
            await asyncio.sleep(0)
    assert single_flight.is_full_for(C2S)
    await single_flight.close()


async def test_a_full_share_keeps_only_its_own_sources_parked_webhooks_waiting() -> None:
    """Google's come back until half of Google's share is used."""
    partner = Partner()
    single_flight = SingleFlight(partner.look_up, slots=2, queue=40, queue_limit=LIMIT, sources=lambda: BOTH)
    for number in range(19):
        single_flight.submit(c2s(number))
    assert not single_flight.is_busy_for(C2S), "half of the queue is free"
    for number in range(19, 30):
        single_flight.submit(c2s(number))
    assert single_flight.is_full_for(C2S)
    for number in range(100, 105):
        assert single_flight.is_busy_for(C2S)
        assert not single_flight.is_busy_for(GOOGLE)
        single_flight.submit(google(number))
    assert single_flight.is_busy_for(GOOGLE), "the other half of its share is for webhooks that were not parked"
    assert not single_flight.is_full_for(GOOGLE)
    await single_flight.close()


LARGE = 1_000  # characters of a webhook


def large(number: int, source: str = C2S) -> PendingWebhook:
    if source == GOOGLE:
        return google(number, "x" * LARGE)
    return pending_of(number, c2s_webhook(f"lead-{number}", phone=someone(number), name="x" * LARGE))


@pytest.mark.parametrize("contacts", [1, 1_000], ids=["one contact", "a contact each"])
async def test_the_bytes_of_the_queue_are_limited(contacts: int) -> None:
    """A webhook that joins a look-up needs room as well."""
    partner = Partner()
    limit = 100 * LARGE
    single_flight = SingleFlight(partner.look_up, slots=1, queue=5_000, queue_limit=LIMIT, queue_bytes=limit)
    most, taken_in = large(0).record.size, 0
    while single_flight.has_room_for(C2S):
        single_flight.submit(large(taken_in % contacts))
        taken_in += 1
    assert limit <= taken_in * most < limit + 2 * most
    assert single_flight.is_busy_for(C2S)
    assert not single_flight.is_full_for(C2S), "there are places"
    await begun(partner, 1)
    partner.gates[0].set()
    async with asyncio.timeout(LIMIT):
        while not single_flight.has_room_for(C2S):  # noqa: ASYNC110 - a webhook that ends sets no event
            await asyncio.sleep(0)
    await single_flight.close()


async def test_large_webhooks_of_one_source_leave_the_others_their_share() -> None:
    """Half of the bytes are reserved in equal shares."""
    single_flight = SingleFlight(
        Partner().look_up, slots=1, queue=5_000, queue_limit=LIMIT, sources=lambda: BOTH, queue_bytes=100 * LARGE
    )
    counts = dict.fromkeys((C2S, GOOGLE), 0)
    for source in (C2S, GOOGLE):
        while single_flight.has_room_for(source):
            single_flight.submit(large(1_000 * (source == GOOGLE) + counts[source], source))
            counts[source] += 1
    sizes = {source: counts[source] * large(0, source).record.size / LARGE for source in counts}
    assert 74 <= sizes[C2S] <= 77
    assert 22 <= sizes[GOOGLE] <= 27
    await single_flight.close()


async def test_every_outcome_frees_the_bytes() -> None:
    """Looked up, answered from PostgreSQL, or without a slot."""
    ends = asyncio.Event()

    async def look_up(one: PendingWebhook, failed: str) -> str:
        del one
        if not failed:
            await ends.wait()
        return failed

    async def answer_from_postgres(one: PendingWebhook) -> bool:
        return one.record.offset % 2 == 0

    single_flight = SingleFlight(
        look_up, slots=1, queue=100, queue_limit=0.05, answer_from_postgres=answer_from_postgres, queue_bytes=10 * LARGE
    )
    for number in range(8):
        single_flight.submit(large(number), postgres_only=number == 7)
    assert single_flight.bytes_held > 8 * LARGE
    async with asyncio.timeout(LIMIT):
        while single_flight.bytes_held > 2 * LARGE:  # noqa: ASYNC110 - what leaves the queue sets no event
            await asyncio.sleep(0.01)
        ends.set()
        await single_flight.drain(LIMIT)
    assert single_flight.bytes_held == 0


async def test_sources_get_slots_in_turn() -> None:
    """Within a source in order. A cancelled waiter is skipped, and no slot is lost."""
    slots = FairSlots(1)
    order: list[str] = []

    async def use(name: str) -> None:
        await slots.acquire(name[0])
        order.append(name)
        slots.release()

    await slots.acquire("x")
    tasks = {name: asyncio.create_task(use(name)) for name in ("a1", "a2", "a3", "b1", "a4", "c1", "b2")}
    await asyncio.sleep(0)
    tasks["a2"].cancel()
    await asyncio.sleep(0)
    slots.release()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert order == ["a1", "b1", "c1", "a3", "b2", "a4"]
    await asyncio.wait_for(slots.acquire("a"), LIMIT)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slots.acquire("a"), 0.01)


async def test_a_waiter_that_is_cancelled_with_its_slot_gives_it_back() -> None:
    """Granted and cancelled in the same tick, the slot goes to the next waiter."""
    slots = FairSlots(1)
    await slots.acquire("a")
    first, second = (asyncio.create_task(slots.acquire(name)) for name in ("a", "b"))
    await asyncio.sleep(0)
    slots.release()
    first.cancel()
    await asyncio.wait_for(second, LIMIT)
    assert first.cancelled() or (await asyncio.gather(first, return_exceptions=True))
