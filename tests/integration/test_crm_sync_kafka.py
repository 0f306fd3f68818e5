"""The CRM sync and its loop on a real broker: order, commits, kills, stops, dead letters."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import orjson
import pytest
from aiokafka import ConsumerRecord

from stream.crm.key_order import KeyOrder
from stream.crm.sync import CRM_CONSUMER
from stream.crm.writes import CrmWrites
from stream.domain.errors import StopError, TransientError
from stream.kafka import attempts, consumer_loop
from stream.kafka.clients import open_consumer
from stream.kafka.consumer_loop import ConsumerLoop
from stream.local.simulators import Fault, Simulators, serving
from stream.settings import Settings
from stream.topics import CRM_GROUP, DEAD, ENRICHED
from tests.support.enriched import committed, event, everything, lag, publish, start, until
from tests.support.waiting import LIMIT

Handle = Callable[[ConsumerRecord], Awaitable[None]]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits and retries follow quickly."""
    monkeypatch.setattr(consumer_loop, "COMMIT_EVERY_S", 0.1)
    monkeypatch.setattr(attempts, "RETRY_PAUSES_S", (0.02, 0.05))


@asynccontextmanager
async def consuming(broker: Settings, handle: Handle, concurrency: int = 4) -> AsyncIterator[asyncio.Task[None]]:
    """A loop that runs in this process and is stopped at the end."""
    stop = asyncio.Event()
    async with open_consumer(broker, None, CRM_GROUP) as consumer:
        loop = ConsumerLoop(consumer, CRM_CONSUMER, KeyOrder(handle, concurrency=concurrency))
        task = asyncio.create_task(loop.run(stop))
        try:
            yield task
        finally:
            stop.set()
            await asyncio.gather(task, return_exceptions=True)


def leads(count: int, keys: int) -> list[dict[str, object]]:
    return [event(f"L{number}", key=f"+55119{number % keys:08d}") for number in range(count)]


def lead_of(record: ConsumerRecord) -> str:
    lead: str = orjson.loads(record.value)["lead"]["id"]
    return lead


async def read_all(broker: Settings) -> bool:
    return await lag(broker, CRM_GROUP) == 0


@pytest.mark.parametrize(("keys", "concurrency", "least"), [(23, 4, 4), (5, 8, 2)])
async def test_a_burst_is_handled_in_order_for_each_contact(
    broker: Settings, keys: int, concurrency: int, least: int
) -> None:
    """More records than there is room for are handled, each key in order, with the configured concurrency at most."""
    chance = random.Random(7)
    seen: dict[bytes, list[int]] = defaultdict(list)
    under_way, most = 0, 0

    async def handle(record: ConsumerRecord) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(chance.uniform(0, 0.01))
        seen[record.key].append(int(lead_of(record)[1:]))
        under_way -= 1

    await publish(broker, leads(300, keys=keys))
    async with consuming(broker, handle, concurrency):
        await until(lambda: read_all(broker))
    assert sorted(itertools.chain(*seen.values())) == list(range(300))
    assert all(order == sorted(order) for order in seen.values())
    assert least <= most <= concurrency


async def test_no_commit_passes_an_unfinished_record(broker: Settings) -> None:
    """While one record is in progress its partition is committed up to it, however many later ones complete."""
    gate = asyncio.Event()
    ended: set[str] = set()

    async def handle(record: ConsumerRecord) -> None:
        if lead_of(record) == "L0":
            await gate.wait()
        ended.add(lead_of(record))

    await publish(broker, leads(6, keys=6))
    stuck = next(record for record in await everything(broker, ENRICHED.name) if lead_of(record) == "L0")
    await publish(broker, [event(f"later-{n}", key=f"+55118{n:08d}") for n in range(40)])
    async with consuming(broker, handle):

        async def all_others() -> bool:
            stands = await committed(broker, CRM_GROUP)
            return len(ended) == 45 and len(stands) == 4

        await until(all_others)
        assert (await committed(broker, CRM_GROUP))[stuck.partition] == stuck.offset
        gate.set()
        await until(lambda: read_all(broker))


async def test_a_transient_failure_delays_only_its_contact(broker: Settings) -> None:
    """A transient failure delays the records of its contact and no others; their order stays."""
    tries: list[str] = []

    async def handle(record: ConsumerRecord) -> None:
        tries.append(lead_of(record))
        if lead_of(record) == "L0" and tries.count("L0") < 4:
            raise TransientError("for now")

    await publish(broker, leads(4, keys=2))
    async with consuming(broker, handle):
        await until(lambda: read_all(broker))
    assert tries.count("L0") == 4
    assert [lead for lead in tries if lead in {"L0", "L2"}] == ["L0"] * 4 + ["L2"]
    assert tries.index("L1") < len(tries) - 2


async def test_a_stop_ends_the_loop_while_everything_is_retried(broker: Settings) -> None:
    """While all slots wait for a partner that is away, a stop ends the loop soon and commits none of their records."""
    tried = asyncio.Event()

    async def handle(_: ConsumerRecord) -> None:
        tried.set()
        raise TransientError("away", retry_after=3600)

    await publish(broker, leads(100, keys=50))
    async with consuming(broker, handle):
        await asyncio.wait_for(tried.wait(), LIMIT)
    assert sum((await committed(broker, CRM_GROUP)).values()) == 0


async def test_no_call_begins_after_a_stop(broker: Settings) -> None:
    """A record that waits for a slot is read again; a call that began now would be cancelled and leave its claim."""
    gate, begun = asyncio.Event(), []

    async def handle(record: ConsumerRecord) -> None:
        begun.append(lead_of(record))
        await gate.wait()

    await publish(broker, leads(8, keys=8))
    stop = asyncio.Event()
    async with open_consumer(broker, None, CRM_GROUP) as consumer:
        loop = ConsumerLoop(consumer, CRM_CONSUMER, KeyOrder(handle, concurrency=2))
        running = asyncio.create_task(loop.run(stop))
        await until(lambda: _begun(begun, 2))
        stop.set()
        gate.set()
        await running
    assert len(begun) == 2
    assert sum((await committed(broker, CRM_GROUP)).values()) <= 2


async def _begun(begun: list[str], count: int) -> bool:
    return len(begun) == count


async def test_an_unforeseen_error_stops_the_loop_without_a_commit(broker: Settings) -> None:
    """It stops the loop with its class as the reason, and commits neither its record nor those behind it."""

    async def handle(record: ConsumerRecord) -> None:
        if lead_of(record) == "L0":
            raise KeyError("11987654321")

    await publish(broker, leads(10, keys=1))
    async with consuming(broker, handle) as task:
        with pytest.raises(StopError, match=r"KeyError$"):
            await asyncio.wait_for(asyncio.shield(task), LIMIT)
    assert sum((await committed(broker, CRM_GROUP)).values()) == 0


@pytest.fixture
async def c2s() -> AsyncIterator[tuple[Simulators, str]]:
    """A simulated C2S and its address."""
    simulators = Simulators(scale=0.02)
    async with serving(simulators) as base:
        yield simulators, base


async def sync(broker: Settings, base: str, database_url: str) -> asyncio.subprocess.Process:
    """The CRM sync in its own process."""
    return await start(
        broker,
        "-m",
        "stream",
        "crm-sync",
        DATABASE_URL=database_url,
        C2S_BASE_URL=base,
        C2S_TOKEN="secret-token",
        C2S_TIMEOUT="3s",
    )


async def stopped(process: asyncio.subprocess.Process) -> str:
    """Send SIGTERM; the process must exit with 0 in a supervisor's time. Returns its output."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(40):
        _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_a_killed_sync_writes_nothing_twice(
    broker: Settings, c2s: tuple[Simulators, str], database_url: str, pool: asyncpg.Pool
) -> None:
    """After a SIGKILL each lead has its message once or is listed as unconfirmed."""
    simulators, base = c2s
    wanted = {f"L{number}" for number in range(400)}
    await publish(broker, leads(400, keys=97))
    process = await sync(broker, base, database_url)
    await until(lambda: _told(simulators, 60))
    process.kill()
    await process.wait()
    process = await sync(broker, base, database_url)
    await until(lambda: read_all(broker))
    said = await stopped(process)
    told = [message["lead"] for message in simulators.messages]
    unconfirmed = {one.lead for one in await CrmWrites(pool).unconfirmed()}
    assert len(told) == len(set(told))
    assert set(told) | unconfirmed == wanted
    assert len(unconfirmed) <= broker.crm_concurrency
    assert "52998224725" not in said
    assert "secret-token" not in said


async def _told(simulators: Simulators, count: int) -> bool:
    return len(simulators.messages) >= count


async def test_a_crm_that_answers_429_is_waited_for(
    broker: Settings, c2s: tuple[Simulators, str], database_url: str, pool: asyncpg.Pool
) -> None:
    """While every call gets 429, SIGTERM ends the sync with 0; the next start writes everything."""
    simulators, base = c2s
    simulators.faults["c2s"] = Fault(status=429, retry_after=600)
    await publish(broker, leads(50, keys=50))
    process = await sync(broker, base, database_url)
    await until(lambda: _asked(simulators))
    await stopped(process)
    assert simulators.messages == []
    simulators.faults.clear()
    process = await sync(broker, base, database_url)
    await until(lambda: read_all(broker))
    await stopped(process)
    assert sorted(message["lead"] for message in simulators.messages) == sorted(f"L{n}" for n in range(50))
    assert await CrmWrites(pool).unconfirmed() == []


async def _asked(simulators: Simulators) -> bool:
    return simulators.counts["c2s_message"] >= 8


async def test_refused_and_foreign_records_are_dead_letters(
    broker: Settings, c2s: tuple[Simulators, str], database_url: str
) -> None:
    """A lead with 422 and a foreign record become dead letters with bytes and reasons; later events are written."""
    simulators, base = c2s
    simulators.faults["c2s"] = Fault(status=422, times=1)
    await publish(broker, [event("refused")])
    process = await sync(broker, base, database_url)
    await until(lambda: read_all(broker))
    await publish(broker, [b"\xff", event("good")])
    await until(lambda: read_all(broker))
    await stopped(process)
    dead = {dict(record.headers)["dl-reason"]: record for record in await everything(broker, DEAD.name)}
    assert set(dead) == {b"c2s: status 422", b"not an event of contacts.enriched"}
    assert lead_of(dead[b"c2s: status 422"]) == "refused"
    assert dead[b"not an event of contacts.enriched"].value == b"\xff"
    assert [message["lead"] for message in simulators.messages] == ["good"]
