"""The runtime that the worker is given: what it says of Faust, in words of ours."""

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


async def test_it_is_settled_when_the_group_is_joined_and_the_table_is_back(runtime: FaustRuntime) -> None:
    """Until then it says how far it is, by a value that changes with each step."""
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
    """In batches; but the last record of a changelog goes Faust's way, which so learns that recovery is over."""
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


async def test_partitions_that_go_are_told_of_and_an_empty_revocation_is_not(runtime: FaustRuntime) -> None:
    """Faust tells also that nothing goes, at the first assignment."""
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


async def test_a_group_that_refuses_the_worker_is_why_it_can_not_go_on(runtime: FaustRuntime) -> None:
    """The reason comes out, with whether the member must leave."""
    watching = asyncio.create_task(runtime.watch())
    await asyncio.sleep(0)
    runtime._consumer.fail(GroupError("the group coordinator failed: x", must_leave=True))
    async with asyncio.timeout(LIMIT):
        with pytest.raises(GroupError, match="coordinator failed") as caught:
            await watching
    assert caught.value.must_leave


async def test_a_faust_that_has_crashed_is_why_it_can_not_go_on(
    runtime: FaustRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash's reason is in the text that the log shows."""

    async def crash() -> None:
        runtime.app.crash_reason = ValueError("of Faust's")

    monkeypatch.setattr(runtime.app, "wait_until_stopped", crash)
    async with asyncio.timeout(LIMIT):
        with pytest.raises(StopError, match=r"ValueError\(.of Faust's.\)"):
            await runtime.watch()


def test_a_faust_without_its_compiled_stream_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker says so instead of being slow."""
    require_compiled_stream()
    monkeypatch.setattr(module.streams, "_CStreamIterator", None)
    with pytest.raises(StopError, match="Cython"):
        require_compiled_stream()
