"""Faust's check that partitions are fetched, with shorter limits, on a real broker."""

from __future__ import annotations

import asyncio
import signal

from stream.local.kafka import free_port
from stream.settings import Settings
from tests.conftest import PARTITIONS
from tests.support.enriched import start

LIMIT = 90.0  # seconds
CHECKS = 4  # of all partitions, after the shrunk limits
# Shrinks the limits from 300 s to one, says each check on standard output, and starts the worker.
PROGRAM = """
import stream.faust_runtime.app
from stream.faust_runtime.consumer import TrackingConsumer

make, check = stream.faust_runtime.app.make_app, TrackingConsumer.verify_all_partitions_active

def make_app(settings):
    app = make(settings)
    app.conf.stream_processing_timeout = app.conf.broker_commit_livelock_soft_timeout = 1.0
    return app

async def verify(self):
    await check(self)
    print(f"checked {len(self.assignment())}", flush=True)

stream.faust_runtime.app.make_app, TrackingConsumer.verify_all_partitions_active = make_app, verify
%s
from stream.cli import main
main(prog_name="python -m stream")
"""
# The client sends no fetch at all, as if it had forgotten its partitions.
STALL = """
from aiokafka.consumer.fetcher import Fetcher

get = Fetcher._get_actions_per_node

def forget(self, assignment):
    requests, *rest = get(self, assignment)
    return ([], *rest)

Fetcher._get_actions_per_node = forget
"""


async def lines_of(broker: Settings, database_url: str, more: str, until: str) -> list[str]:
    """The WARNING and ERROR lines of an idle worker, until the check has run often or one contains ``until``."""
    process = await start(
        broker,
        "-c",
        PROGRAM % more,
        "worker",
        DATABASE_URL=database_url,
        DIRETRIX_USER="x",
        DIRETRIX_PASSWORD="x",
        WORK_API_TOKEN="x",
        DIRETRIX_DAILY_BUDGET="unlimited",
        STREAM_WEB_PORT=str(free_port()),
        SHUTDOWN_GRACE="1s",
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[str] = []

    async def read() -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            said.append(line.decode())

    reading = asyncio.create_task(read())
    checks = 0
    async with asyncio.timeout(LIMIT):
        # Each partition of `webhooks` and each of the changelog.
        while checks < CHECKS and not (until and any(until in line for line in said)):
            line = await process.stdout.readline()
            assert line, said
            checks += line == f"checked {2 * PARTITIONS}\n".encode()
        process.send_signal(signal.SIGTERM)
        await process.wait()
        await reading
    return [line for line in said if " info " not in line]


async def test_a_worker_with_quiet_topics_reports_nothing(broker: Settings, database_url: str) -> None:
    """The changelog, which is not fetched after recovery, and empty topics are not reported."""
    assert await lines_of(broker, database_url, "", "") == []


async def test_webhooks_that_are_not_fetched_are_reported(broker: Settings, database_url: str) -> None:
    """A partition of webhooks that is not fetched is reported, and none of the changelog."""
    wanted = "has not sent fetch request for"
    reported = [line for line in await lines_of(broker, database_url, STALL, wanted) if wanted in line]
    assert reported
    assert all("topic='webhooks'" in line for line in reported)
