"""The worker's runtime on Faust."""

# ruff: noqa: SLF001 - the insides are what it hides

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import ConsumerRecord
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream import topics
from stream.domain.errors import GroupError, StopError
from stream.faust_runtime import runtime as module
from stream.faust_runtime.changelog import apply_changes
from stream.faust_runtime.runtime import FaustRuntime, require_compiled_stream
from stream.settings import load

LIMIT = 30.0  # seconds
CHANGELOG = TP(topics.CHANGELOG.name, 0)
ALIAS = b"0/+5511987654321"


@pytest.fixture
async def runtime() -> AsyncIterator[FaustRuntime]:
    """A runtime that is not started."""
    made = FaustRuntime(load({}))
    made.app.finalize()
    yield made
    made._consumer._thread.thread_loop.close()


async def test_join_progress_is_none_when_the_group_is_joined_and_the_table_recovered(runtime: FaustRuntime) -> None:
    """Until then its value changes with each step."""
    recovery = runtime.app.tables.recovery
    recovery.active_offsets[CHANGELOG._replace(partition=1)] = None  # given only now, of which nothing is known
    seen = [runtime.join_progress()]
    recovery.active_offsets[CHANGELOG] = 41
    seen.append(runtime.join_progress())
    runtime.app.rebalancing_count += 1
    seen.append(runtime.join_progress())
    assert None not in seen
    assert len(set(seen)) == len(seen)
    recovery.completed.set()
    assert runtime.join_progress() is None
    assert not runtime.is_rebalancing
    runtime.app.rebalancing = True
    assert runtime.is_rebalancing
    assert runtime.join_progress() is not None


def change(offset: int, value: bytes | None) -> ConsumerRecord:
    return ConsumerRecord(*CHANGELOG, offset, 0, 1, ALIAS, value, None, 0, 0, ())


async def test_the_table_is_the_dict_that_recovery_fills(runtime: FaustRuntime) -> None:
    """The last record of a changelog takes Faust's own path, by which Faust notices the end of recovery."""
    consumer, recovery = runtime._consumer, runtime.app.tables.recovery
    handed: list[int] = []

    async def callback(message: ConsumerMessage) -> None:
        handed.append(message.offset)

    consumer.callback = callback
    recovery.active_tps, recovery.tp_to_table = {CHANGELOG}, {CHANGELOG: runtime._table}
    recovery.active_highwaters[CHANGELOG] = 9
    rows = runtime.table
    await apply_changes(consumer, CHANGELOG, [change(5, b"old"), change(6, b"entry")])
    assert (rows, runtime.table is rows, recovery.active_offsets[CHANGELOG], handed) == ({ALIAS: b"entry"}, True, 6, [])
    await apply_changes(consumer, CHANGELOG, [change(5, b"read before the seek")])
    assert rows == {ALIAS: b"entry"}
    await apply_changes(consumer, CHANGELOG, [change(7, None), change(9, b"last")])
    assert (rows, recovery.active_offsets[CHANGELOG], handed) == ({}, 7, [9])


async def test_an_empty_revocation_calls_no_handler(runtime: FaustRuntime) -> None:
    """Faust reports one at the first assignment."""
    told: list[str] = []

    async def revoked() -> None:
        told.append("revoked")

    runtime.on_revoked(revoked)
    runtime.on_recovered(lambda: told.append("recovered"))
    await runtime.app.on_partitions_revoked.send(set())
    assert told == []
    await runtime.app.on_partitions_revoked.send({TP(topics.WEBHOOKS.name, 0)})
    await runtime.app.on_rebalance_complete.send()
    assert told == ["revoked", "recovered"]


async def test_watch_raises_the_groups_refusal(runtime: FaustRuntime) -> None:
    """The error says whether the member must leave."""
    watching = asyncio.create_task(runtime.watch())
    await asyncio.sleep(0)
    runtime._consumer.fail(GroupError("the group coordinator failed: x", must_leave=True))
    async with asyncio.timeout(LIMIT):
        with pytest.raises(GroupError, match="coordinator failed") as caught:
            await watching
    assert caught.value.must_leave


async def test_watch_raises_fausts_crash(runtime: FaustRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error's text has the reason."""

    async def crash() -> None:
        runtime.app.crash_reason = ValueError("of Faust's")

    monkeypatch.setattr(runtime.app, "wait_until_stopped", crash)
    async with asyncio.timeout(LIMIT):
        with pytest.raises(StopError, match=r"ValueError\(.of Faust's.\)"):
            await runtime.watch()


def test_a_faust_without_its_compiled_stream_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker does not start instead of being slow."""
    require_compiled_stream()
    monkeypatch.setattr(module.streams, "_CStreamIterator", None)
    with pytest.raises(StopError, match="Cython"):
        require_compiled_stream()
