"""The sides of a comparison: our worker as a user starts it, and its peers, each as one process on one core."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench import cores
from bench.leads import Known
from stream.local.processes import Child
from stream.local.stack import Stack


@dataclass(frozen=True, slots=True)
class Side:
    """One way to do the work: ``python -m`` arguments, and what it promises with which settings.

    ``keyed``: whether the webhooks that it reads came with their contact's key.
    """

    name: str
    arguments: tuple[str, ...]
    promises: str
    keyed: bool = True


OURS = Side(
    "lead-stream",
    ("stream", "worker"),
    "acks=all, idempotent, commit of the finished prefix each second, table with changelog, name check, re-routing,"
    " log line and metrics a webhook: defaults",
)
KEYLESS = Side("lead-stream, keyless", OURS.arguments, OURS.promises, keyed=False)
PLAIN = Side(
    "aiokafka loop",
    ("bench.peers.plain",),
    "acks=all, idempotent, create_batch/send_batch of 512 KiB, commit each second after delivery, a dict as state: lost"
    " at a restart; uvloop",
)
QUIX = Side(
    "Quix Streams",
    ("bench.peers.quix",),
    "at least once (acks=all), checkpoint each 5 s, RocksDB state with changelog: defaults",
)
STOCK = Side(
    "stock Faust",
    ("bench.peers.faust_stock", "worker", "-l", "warn", "--without-web"),
    "acks=all, commit each 2.8 s whether delivered or not, table with changelog: defaults",
)


OTHER_TREE = os.environ.get("BENCH_OTHER_TREE", "")  # the folder of an earlier release, to be measured beside this one


def other_tree(*arguments: str) -> Side:
    """The same process of ``OTHER_TREE``."""
    return Side("another tree", ("bench.peers.other_tree", *arguments), f"{' '.join(arguments)} of {OTHER_TREE}")


@contextmanager
def running(side: Side, stack: Stack, everybody: Path, folder: Path, **extra: str) -> Iterator[Child]:
    """Run a side on the measured core. It is stopped cleanly, and killed if that fails."""
    environment = {
        **stack.environment(),
        "WORKER_INSTANCE_ID": "",  # each round is another member
        "BENCH_PEOPLE": str(everybody),
        "BENCH_GROUP": f"bench-{uuid.uuid4()}",
        **extra,
    }
    (folder / f"{side.name}.log").unlink(missing_ok=True)
    child = Child(side.name, side.arguments, environment, folder)
    child.start()
    cores.pin(child.pid, cores.MEASURED)
    try:
        yield child
    finally:
        child.signal(signal.SIGTERM)
        child.wait(10)


def people_file(everybody: list[Known], folder: Path) -> Path:
    """The file that replaces the peers' partner."""
    path = folder / "people.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(one.for_peers()) for one in everybody))
    return path


@asynccontextmanager
async def stage(extra: dict[str, str] | None = None, scale: float = 1.0) -> AsyncIterator[Stack]:
    """Broker and database on the other cores. ``scale``: of the partners' latencies."""

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    with Stack(say, scale=scale, extra=extra) as stack:
        # Of a thread that lives as long as the loop: the servers go when the thread that started them goes.
        await asyncio.to_thread(stack.start_servers)
        for server in (stack.kafka, stack.postgres):
            if server is not None and server.pid is not None:
                cores.pin(server.pid, cores.REST)
        yield stack


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for logs and files."""
    with tempfile.TemporaryDirectory(prefix="lead-stream-bench-") as folder:
        yield Path(folder)


_NOW = re.compile(rb'"emitted_at":"[^"]+"')


def saying(value: bytes, headers: tuple[tuple[str, bytes], ...]) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """An event's bytes and headers without the time of writing: equal on all sides."""
    return _NOW.sub(b"", value), tuple(pair for pair in headers if pair[0] != "ce_time")
