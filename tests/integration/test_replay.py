"""Replay on a real broker: it moves a stopped group, refuses one with members, and does nothing without --execute."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import KafkaError

from stream.domain.errors import StopError
from stream.kafka.clients import open_admin, open_consumer
from stream.ops.replay import Absolute, Earliest, Replay, Shift, plan
from stream.settings import Settings
from stream.topics import CRM_GROUP, ENRICHED, WEBHOOKS, WORKER_GROUP
from tests.support.enriched import command, committed, event, everything, publish, until
from tests.support.waiting import LIMIT

COUNT = 40


@pytest.fixture
async def full(broker: Settings) -> Settings:
    """A broker with 40 webhooks that the worker's group has read and committed."""
    await publish(broker, [event(f"L{number}", key=f"+55119{number:08d}") for number in range(COUNT)], WEBHOOKS.name)
    await read(broker, WORKER_GROUP, WEBHOOKS.name, COUNT)
    return broker


async def read(settings: Settings, group: str, topic: str, count: int) -> Counter[str]:
    """Read ``count`` records as a member of a group, commit, leave; returns the leads."""
    leads: Counter[str] = Counter()
    async with open_consumer(settings, topic, group) as consumer, asyncio.timeout(LIMIT):
        while leads.total() < count:
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                leads.update(orjson.loads(record.value)["lead"]["id"] for record in batch)
        await consumer.commit()
    return leads


@asynccontextmanager
async def replaying(settings: Settings, group: str = WORKER_GROUP) -> AsyncIterator[Replay]:
    async with open_admin(settings) as admin:
        yield Replay(admin, settings, group)


@asynccontextmanager
async def alive(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """A member of the worker's group."""
    async with open_consumer(settings, WEBHOOKS.name, WORKER_GROUP, client_id="worker-a") as consumer:

        async def joined() -> bool:
            await consumer.getmany(timeout_ms=50)
            return bool(consumer.assignment())

        await until(joined)
        yield consumer


async def test_a_group_reads_all_again_from_the_earliest(full: Settings) -> None:
    """After a replay to the earliest offset every record is read again."""
    async with replaying(full) as replay:
        moves = plan(await replay.bounds(), Earliest())
        assert sum(move.records for move in moves) == COUNT
        await replay.execute(moves)
    assert await read(full, WORKER_GROUP, WEBHOOKS.name, COUNT) == Counter(f"L{number}" for number in range(COUNT))


async def test_a_group_goes_back_to_an_instant(full: Settings) -> None:
    """Exactly the records since the instant, by the broker's clock, are read again."""
    before = [record.timestamp for record in await everything(full, WEBHOOKS.name)]
    instant = datetime.fromtimestamp((max(before) + 1) / 1000, UTC)
    await until(lambda: _passed(instant))
    await publish(full, [event(f"later-{number}", key=f"+55118{number:08d}") for number in range(10)], WEBHOOKS.name)
    await read(full, WORKER_GROUP, WEBHOOKS.name, 10)
    async with replaying(full) as replay:
        moves = plan(await replay.bounds(), await replay.offsets_at(instant))
        assert sum(move.records for move in moves) == 10
        await replay.execute(moves)
        beyond = plan(await replay.bounds(), await replay.offsets_at(datetime.now(UTC) + timedelta(hours=1)))
        assert sum(move.records for move in beyond) == 0
    again = await read(full, WORKER_GROUP, WEBHOOKS.name, 10)
    assert set(again) == {f"later-{number}" for number in range(10)}


async def _passed(instant: datetime) -> bool:
    return datetime.now(UTC) > instant


async def test_a_group_with_members_is_refused(full: Settings) -> None:
    """The error names the members, and no offset changes."""
    stood = await committed(full, WORKER_GROUP, WEBHOOKS.name)
    async with alive(full), replaying(full) as replay:
        moves = plan(await replay.bounds(), Absolute(0))
        with pytest.raises(StopError, match=r"leads has members; stop them first .*: worker-a-.* at "):
            await replay.execute(moves)
    assert await committed(full, WORKER_GROUP, WEBHOOKS.name) == stood


async def test_the_broker_refuses_when_a_member_joins_meanwhile(
    full: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that joins between the check and the commit makes the broker refuse the commit."""

    async def is_empty(admin: object, group: str) -> None:
        del admin, group

    stood = await committed(full, WORKER_GROUP, WEBHOOKS.name)
    monkeypatch.setattr("stream.ops.replay.must_be_empty", is_empty)
    async with alive(full), replaying(full) as replay:
        with pytest.raises(KafkaError):
            await replay.execute(plan(await replay.bounds(), Absolute(0)))
    assert await committed(full, WORKER_GROUP, WEBHOOKS.name) == stood


async def test_a_plan_counts_removed_records(full: Settings) -> None:
    """Records that retention has removed are counted apart from those that are read."""
    async with open_admin(full) as admin, replaying(full) as replay:
        first = max(await replay.bounds(), key=lambda bounds: bounds.latest)
        part = TopicPartition(WEBHOOKS.name, first.partition)
        await admin.delete_records({part: RecordsToDelete(before_offset=3)})
        moves = {move.partition: move for move in plan(await replay.bounds(), Earliest())}
    moved = moves[first.partition]
    assert (moved.to, moved.removed, moved.records) == (3, 3, first.latest - 3)
    assert sum(move.removed for move in moves.values()) == 3


async def test_a_group_without_a_commit_can_be_moved(full: Settings) -> None:
    """A new group can be set to any offset."""
    await publish(full, [event(f"E{number}", key=f"+55117{number:08d}") for number in range(COUNT)])
    async with replaying(full, CRM_GROUP) as replay:
        bounds = await replay.bounds()
        assert {one.committed for one in bounds} == {None}
        await replay.execute(plan(bounds, Shift(2)), skip_unread=True)
    assert set((await committed(full, CRM_GROUP, ENRICHED.name)).values()) == {2}


async def test_a_dry_run_changes_nothing(full: Settings) -> None:
    """Without --execute the command prints one JSON object and does not move the group."""
    stood = await committed(full, WORKER_GROUP, WEBHOOKS.name)
    said = await replayed(full, "--to-offset", "0", DIRETRIX_PRICE="0.02")
    assert (said["group"], said["executed"], said["records"], said["costs_at_most"]) == ("leads", False, COUNT, "1.60")
    assert [move["to"] for move in said["moves"]] == [0, 0, 0, 0]
    assert await committed(full, WORKER_GROUP, WEBHOOKS.name) == stood


async def test_a_plan_is_exported_and_carried_out_from_its_file(full: Settings, tmp_path: Path) -> None:
    """An exported plan is carried out from its file, partition by partition."""
    file = tmp_path / "plan.csv"
    planned = await replayed(full, "--shift-by", "-2", "--partitions", "0,2", "--export", str(file))
    done = await replayed(full, "--from-file", str(file), "--execute")
    assert done["executed"]
    assert [move["to"] for move in done["moves"]] == [move["to"] for move in planned["moves"]]
    stands = await committed(full, WORKER_GROUP, WEBHOOKS.name)
    assert {number: stands[number] for number in (0, 2)} == {move["partition"]: move["to"] for move in done["moves"]}


async def test_the_last_hours_are_read_again(full: Settings) -> None:
    """--by-duration computes the instant from now, and --execute moves the group."""
    assert (await replayed(full, "--by-duration", "PT2H", "--execute"))["records"] == COUNT
    assert set((await committed(full, WORKER_GROUP, WEBHOOKS.name)).values()) == {0}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, "exactly one of"),
        (("--to-earliest", "--to-offset", "0"), 2, "exactly one of"),
        (("--to-datetime", "yesterday"), 2, "--to-datetime yesterday"),
        (("--by-duration", "2h"), 2, "PT2H"),
        (("--to-earliest", "--partitions", "a"), 2, "write numbers"),
        (("--to-earliest", "--partitions", "99"), 1, "no partition 99"),
        (("--to-earliest", "--group", "strangers"), 2, "strangers"),
    ],
)
async def test_unclear_targets_are_refused(broker: Settings, options: tuple[str, ...], code: int, words: str) -> None:
    """Two targets, none, or an unreadable one end with one sentence and no traceback."""
    ended, out, said = await command(broker, "replay", *options)
    assert (ended, out) == (code, "")
    assert words in said
    assert "Traceback" not in said


async def test_the_command_refuses_a_group_with_members(full: Settings) -> None:
    """--execute exits with 1 and the members' names; a dry run warns of them."""
    async with alive(full):
        code, out, said = await command(full, "replay", "--to-earliest", "--execute", "--json")
        assert (code, out) == (1, "")
        assert "worker-a" in said
        code, _, said = await command(full, "replay", "--to-earliest")
        assert code == 0
        assert "worker-a" in said


async def test_a_replay_never_skips_unread_records_by_itself(full: Settings) -> None:
    """A year that was mistyped is in the future: the plan counts what nobody would read, and --execute refuses it."""
    later = ("--to-datetime", "2099-01-01T00:00:00Z")
    await publish(full, [event(f"N{number}", key=f"+55118{number:08d}") for number in range(4)], WEBHOOKS.name)
    stood = await committed(full, WORKER_GROUP, WEBHOOKS.name)
    assert (await replayed(full, *later))["skipped"] == 4
    code, _, said = await command(full, "replay", *later)
    assert (code, "WARNING: 4 records" in said) == (0, True)
    code, _, said = await command(full, "replay", *later, "--execute")
    assert (code, "4 unread records would be skipped" in said) == (1, True)
    assert await committed(full, WORKER_GROUP, WEBHOOKS.name) == stood
    assert (await replayed(full, *later, "--execute", "--skip-unread"))["skipped"] == 4
    assert await committed(full, WORKER_GROUP, WEBHOOKS.name) != stood


async def test_a_file_that_is_no_text_is_refused(broker: Settings) -> None:
    """One sentence, no traceback."""
    code, _, said = await command(broker, "replay", "--from-file", sys.executable)
    assert (code, "not an exported plan" in said, "Traceback" in said) == (1, True, False)


async def replayed(settings: Settings, *options: str, **more: str) -> dict[str, Any]:
    """Run the command; returns the JSON object that it prints."""
    code, out, said = await command(settings, "replay", *options, "--json", **more)
    assert code == 0, said
    printed: dict[str, Any] = orjson.loads(out)
    return printed
