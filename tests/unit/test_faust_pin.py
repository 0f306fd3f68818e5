"""The insides of Faust and aiokafka that ``stream.faust_runtime`` uses are the ones it was written for."""

# ruff: noqa: SLF001, FBT001 - the insides are the subject

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import faust.streams
import faust.tables.recovery
import faust.transport.consumer
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer.message_accumulator import BatchBuilder
from faust._cython.streams import StreamIterator
from faust.stores.memory import Store
from faust.tables.recovery import Recovery
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from yarl import URL

from stream.faust_runtime.batch import RawSchema
from stream.faust_runtime.consumer import TrackingConsumer, TrackingTransport
from stream.faust_runtime.consumer_thread import TrackingConsumerThread

ROOT = Path(__file__).parents[2]
ADR = ROOT / "docs" / "adr" / "0018-what-it-would-take-to-leave-faust.md"
LEANED_ON = [
    (Consumer.commit, ["self", "topics", "start_new_transaction"], True),
    (Consumer.force_commit, ["self", "topics", "start_new_transaction"], True),
    (Consumer._new_consumer_thread, ["self"], False),
    (Consumer.on_partitions_assigned, ["self", "assigned", "generation_id"], True),
    (Consumer._is_changelog_tp, ["self", "tp"], False),
    (Consumer._commit, ["self", "offsets"], True),
    (Consumer._getmany, ["self", "active_partitions", "timeout"], True),
    (Consumer._get_active_partitions, ["self"], False),
    (Consumer._drain_messages, ["self", "fetcher"], True),
    (Consumer._to_message, ["self", "tp", "record"], False),
    (Consumer.perform_seek, ["self"], True),
    (Consumer.seek_to_committed, ["self"], True),
    (AIOKafkaConsumerThread.seek_to_beginning, ["self", "partitions"], True),
    (Consumer.pause_partitions, ["self", "tps"], False),
    (Consumer.resume_partitions, ["self", "tps"], False),
    (Consumer.on_partitions_revoked, ["self", "revoked"], True),
    (Consumer.wait_first, ["self", "coros", "timeout"], True),
    (Consumer.stop_flow, ["self"], False),
    (faust.App.start, ["self"], True),
    (faust.App.stop, ["self"], True),
    (faust.App.wait_until_stopped, ["self"], True),
    (faust.Table.apply_changelog_batch, ["self", "batch"], False),
    (faust.App.create_event, ["self", "key", "value", "headers", "message"], False),
    (AIOKafkaConsumerThread._commit, ["self", "offsets"], True),
    (AIOKafkaConsumerThread._create_worker_consumer, ["self", "transport"], False),
    (AIOKafkaConsumerThread._ensure_consumer, ["self"], False),
    (
        AIOKafkaConsumerThread._fetch_records,
        ["self", "consumer", "active_partitions", "timeout", "max_records"],
        True,
    ),
    (AIOKafkaConsumerThread.verify_event_path, ["self", "now", "tp"], False),
    (AIOKafkaConsumerThread.on_start, ["self"], True),
    (AIOKafkaConsumerThread.on_crash, ["self", "msg", "fmt", "kwargs"], False),
    (AIOKafkaConsumerThread.on_thread_stop, ["self"], True),
    (GroupCoordinator.check_errors, ["self"], False),
    (AIOKafkaConsumerThread.assignment, ["self"], False),
    (AIOKafkaProducer.create_batch, ["self"], False),
    (AIOKafkaProducer.send_batch, ["self", "batch", "topic", "partition"], True),
    (BatchBuilder.append, ["self", "timestamp", "key", "value", "headers"], False),
]


@pytest.mark.parametrize("package", ["faust-streaming", "aiokafka"])
def test_what_is_installed_is_what_is_pinned(package: str) -> None:
    """The project pins one exact version, and that one is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pins = [one for one in project["project"]["dependencies"] if one.startswith(package)]
    assert pins == [f"{package}=={metadata.version(package)}"]


def imported_of_faust() -> set[str]:
    """What the runtime imports of Faust, by name."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "stream/faust_runtime").glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("faust")]
    used = [node for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "faust"]
    return {alias.name for node in froms for alias in node.names} | {node.attr for node in used}


def overridden() -> set[str]:
    """The methods of Faust's classes that ours replace."""
    pairs = ((TrackingConsumer, Consumer), (TrackingConsumerThread, AIOKafkaConsumerThread), (RawSchema, faust.Schema))
    methods = {
        name for ours, theirs in pairs for name, value in vars(ours).items()
        if inspect.isfunction(value) and hasattr(theirs, name)
    }  # fmt: skip
    return methods - {"__init__"}


def test_the_list_of_what_is_used_of_faust_is_complete() -> None:
    """Whoever uses more of it, or of aiokafka's insides, says so where the exit is planned."""
    listed = set(re.findall(r"`(\w+)`", ADR.read_text(encoding="utf-8")))
    pinned = {method.__name__ for method, _, _ in LEANED_ON if method is not BatchBuilder.append}
    assert {"App", "TP"} <= imported_of_faust()
    assert "_drain_messages" in overridden()
    assert (imported_of_faust() | overridden() | pinned) - listed == set()


def test_the_client_waits_for_records_as_long_as_it_is_told_after_it_was_made() -> None:
    """Its fetcher is made when it starts, with what is set by then."""
    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in inspect.getsource(AIOKafkaConsumer.start)


def test_a_coordinator_that_failed_is_found_out_by_asking() -> None:
    """Its end and its pending error are where the consumer looks for them, and asking lets it go on."""
    source = inspect.getsource(GroupCoordinator)
    assert "self._coordination_task = create_task(" in source
    assert "self._error_consumed_fut.set_result(None)" in inspect.getsource(GroupCoordinator.check_errors)


def test_the_check_of_fetches_compares_what_the_consumer_gives_it() -> None:
    """The client dates a fetch in epoch milliseconds, and Faust subtracts that and its start from the instant given."""
    assert "now_ms = int(1000 * time.time())" in inspect.getsource(Fetcher)
    assert "tp_state.timestamp = now_ms" in inspect.getsource(Fetcher)
    check = inspect.getsource(AIOKafkaConsumerThread._verify_aiokafka_event_path)
    assert "secs_since_request = now - poll_at" in check
    assert "secs_since_started = now - self.time_started" in check
    assert "aiotp_state.timestamp / 1000" in check


@pytest.mark.parametrize(("method", "parameters", "is_coroutine"), LEANED_ON)
def test_what_is_leaned_on_has_the_signature_expected(
    method: Callable[..., Any], parameters: list[str], is_coroutine: bool
) -> None:
    """A method that is called or replaced takes the parameters that it took when our subclass was written."""
    assert list(inspect.signature(method).parameters) == parameters
    assert inspect.iscoroutinefunction(method) is is_coroutine


@pytest.mark.parametrize(
    ("ours", "theirs", "added"),
    [
        (TrackingConsumer, Consumer, {"fail", "watch_membership", "wants", "_fetch_once", "_deliver"}),
        (
            TrackingConsumerThread,
            AIOKafkaConsumerThread,
            {"set_fetching", "_set_fetching", "_watch_coordinator", "forget_fetches"},
        ),
        (RawSchema, faust.Schema, set()),
    ],
)
def test_what_is_replaced_exists_and_is_called_the_same_way(ours: type, theirs: type, added: set[str]) -> None:
    """Every method of ours that replaces one of Faust's can be called as Faust calls its own, and no more exist."""
    names = {name for name in vars(ours) if inspect.isfunction(vars(ours)[name]) and name != "__init__"}
    assert added <= names
    for name in names - added:
        parameters = inspect.signature(getattr(theirs, name)).parameters
        mine = inspect.signature(vars(ours)[name]).parameters
        assert [one for one in mine if one != "kwargs"] == [
            one for one in parameters if one in mine and one != "kwargs"
        ], name
        assert "kwargs" in mine or list(mine) == list(parameters), name
    for name in added:
        assert not hasattr(theirs, name), name


def test_faust_hands_on_by_what_is_leaned_on() -> None:
    """The consumer's flow and read offsets, and what is stopped, are where the fetch loop looks for them."""
    modules = {inspect.getmodule(base) for base in Consumer.__mro__ if base.__module__.startswith("faust")}
    source = "".join(inspect.getsource(module) for module in modules if module is not None)
    for name in ("flow_active", "can_resume_flow", "suspend_flow", "_read_offset", "callback", "app"):
        assert f"self.{name}" in source, name
    assert "await consumer._drain_messages(self)" in source
    assert "await self.perform_seek()" in inspect.getsource(Consumer.getmany)
    recovery = inspect.getsource(faust.tables.recovery)
    assert "consumer.perform_seek()" in inspect.getsource(Recovery._resume_streams)
    assert "if seen_offset is None or offset > seen_offset:" in recovery
    for name in ("active_highwaters", "active_offsets", "active_tps", "tp_to_table"):
        assert f"self.{name}" in recovery, name


def test_the_transport_builds_our_consumer() -> None:
    """Faust finds the consumer's class as an attribute of the transport."""
    assert Transport.Consumer is Consumer
    assert TrackingTransport.Consumer is TrackingConsumer


def test_commits_go_through_what_is_replaced() -> None:
    """Faust's own commit ends in ``force_commit``, and its consumer makes its thread by ``_new_consumer_thread``."""
    assert "self.force_commit(" in inspect.getsource(Consumer.commit)
    assert "self._commit_fut = asyncio.Future(" in inspect.getsource(Consumer.commit)
    assert "self._new_consumer_thread()" in inspect.getsource(Consumer.__init__) or any(
        "self._new_consumer_thread()" in inspect.getsource(base.__init__)
        for base in Consumer.__mro__
        if inspect.isfunction(base.__dict__.get("__init__"))
    )


def test_streams_are_iterated_by_the_compiled_iterator() -> None:
    """Faust uses its Cython iterator, as the measurements assume."""
    assert faust.streams._CStreamIterator is StreamIterator


def test_no_loop_but_ours_reads_what_faust_keeps_of_offsets() -> None:
    """Faust notes read offsets and gaps for its own loop, which is replaced: nothing else may act on them."""
    modules = {inspect.getmodule(base) for base in Consumer.__mro__ if base.__module__.startswith("faust")}
    source = "".join(inspect.getsource(module) for module in modules if module is not None)
    loop = inspect.getsource(Consumer._drain_messages)
    for name in ("_read_offset.__getitem__", "_add_gap("):
        assert source.count(f"self.{name}") == loop.count(f"self.{name}") == 1, name
    assert "self.getmany" in loop
    assert source.count("self.getmany") == 1


def test_the_facts_of_the_watchdog_are_where_they_are_looked_for() -> None:
    """Whether the group is being joined, and how far the table's recovery is."""
    app = faust.App("pin", broker="kafka://localhost")
    assert (app.rebalancing, app.rebalancing_count) == (False, 0)
    recovery = app.tables.recovery
    assert (recovery.completed.is_set(), dict(recovery.active_offsets)) == (False, {})


def test_the_memory_store_keeps_one_dict_for_life() -> None:
    """The cache reads the dict itself: recovery and a rebalance must fill and empty this one, and no other."""
    app = faust.App("pin", broker="kafka://localhost")
    store = Store(URL("memory://"), app, app.Table("pin"))
    rows = store.data
    assert type(rows) is dict
    store[b"key"] = b"value"
    assert rows == {b"key": b"value"}
    store._clear()
    store.reset_state()
    assert store.data is rows
    assert rows == {}
    assert not {name for name, value in vars(Store).items() if "self.data =" in _source(value)} - {"__post_init__"}


def _source(value: object) -> str:
    return inspect.getsource(value) if inspect.isfunction(value) else ""
