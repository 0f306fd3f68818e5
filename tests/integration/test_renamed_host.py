"""A static member that is re-created under another host name, on a real broker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stream.local.kafka import free_port
from stream.local.processes import answers
from stream.settings import Settings
from tests.support.enriched import start

LIMIT = 60.0  # seconds; far below the 312 that such a worker waited
# A container's host name is what the process is told when it asks; nothing else of the machine changes.
RENAMED = (
    "import socket, sys; name = sys.argv.pop(1); socket.gethostname = lambda: name; "
    "from stream.cli import main; main(prog_name='python -m stream')"
)
# What a release before the URL depended on the instance id does. Its session outlasts the start of the next process,
# also on a busy machine: a member that has expired would be a new one.
OLDER = (
    "import stream.faust_runtime.app; stream.faust_runtime.app._member_url = lambda instance_id: {}; "
    f"stream.faust_runtime.app.SESSION_TIMEOUT_S = {LIMIT}; "
)


@asynccontextmanager
async def worker(
    settings: Settings, database_url: str, name: str, host: str, before: str = ""
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A worker with this instance id on this host, and the address of its pages."""
    port = free_port()
    process = await start(
        settings,
        "-c",
        before + RENAMED,
        host,
        "worker",
        DATABASE_URL=database_url,
        DIRETRIX_USER="x",
        DIRETRIX_PASSWORD="x",
        WORK_API_TOKEN="x",
        DIRETRIX_DAILY_BUDGET="unlimited",
        WORKER_INSTANCE_ID=name,
        STREAM_WEB_PORT=str(port),
        SHUTDOWN_GRACE="1s",
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()


async def until_ready(process: asyncio.subprocess.Process, page: str) -> None:
    """Wait until the worker has its partitions."""
    async with asyncio.timeout(LIMIT):
        while not await asyncio.to_thread(answers, f"{page}/readyz"):
            assert process.returncode is None, await said(process)
            await asyncio.sleep(0.05)


async def said(process: asyncio.subprocess.Process) -> str:
    """The log of a process that has ended."""
    _, text = await process.communicate()
    return text.decode()


async def stop(process: asyncio.subprocess.Process) -> str:
    """Stop a worker; returns its log."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(LIMIT):
        return await said(process)


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_a_static_member_gets_its_partitions_back_under_another_host_name(
    broker: Settings, database_url: str, *, kill: bool
) -> None:
    """The instance id alone identifies a member: it gets its partitions back at once, on whatever host."""
    async with worker(broker, database_url, f"static-{kill}", "host-a") as (first, page):
        await until_ready(first, page)
        if kill:
            first.kill()
            await said(first)
        else:
            await stop(first)
    async with worker(broker, database_url, f"static-{kill}", "host-b") as (second, page):
        await until_ready(second, page)
        log = await stop(second)
    assert second.returncode == 0, log
    assert "recovered entries=0" in log
    assert "waits as a spare" not in log
    assert " error " not in log


async def test_an_assignment_that_is_not_accepted_ends_the_worker_and_the_next_start_works(
    broker: Settings, database_url: str
) -> None:
    """The worker logs the reason, exits with 1 long before the watchdog would act, and leaves the group."""
    async with worker(broker, database_url, "upgraded", "host-a", OLDER) as (first, page):
        await until_ready(first, page)
        await stop(first)
    async with worker(broker, database_url, "upgraded", "host-b") as (second, page):
        async with asyncio.timeout(LIMIT):
            while second.returncode is None:
                assert not await asyncio.to_thread(answers, f"{page}/readyz")
                await asyncio.sleep(0.05)
        log = await said(second)
    assert second.returncode == 1
    assert "leaving reason=the group coordinator failed" in log.replace("'", "")
    assert "left the group" in log
    async with worker(broker, database_url, "upgraded", "host-b") as (third, page):
        await until_ready(third, page)
        third.kill()
