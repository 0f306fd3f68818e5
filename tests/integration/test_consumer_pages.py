"""The CRM sync and the journal in their own processes: their pages, a pause, and dead letters on the console."""

from __future__ import annotations

import asyncio
import re
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from stream.domain.errors import DlqLimitError
from stream.local.simulators import Fault, Simulators, serving
from stream.settings import Settings
from stream.topics import CRM_GROUP, DEAD, JOURNAL_GROUP
from tests.integration.test_dlq import dead, write
from tests.support.enriched import command, committed, event, everything, lag, publish, start, until

LIMIT = 60.0  # seconds


class Process:
    """A process whose log is read while it runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode())

    async def port(self) -> int:
        """The port of its pages."""

        async def is_said() -> bool:
            return any(" pages " in line for line in self.said)

        await until(is_said)
        found = next(re.search(r"port=(\d+)", line) for line in self.said if " pages " in line)
        assert found is not None
        return int(found[1])

    async def stopped(self) -> int:
        """Send SIGTERM and wait; returns the exit code."""
        if self.process.returncode is None:
            self.process.terminate()
        return await self.left()

    async def left(self) -> int:
        """Wait until the process ends by itself; returns the exit code."""
        code = await asyncio.wait_for(self.process.wait(), LIMIT)
        await self._reading
        return code


async def page(port: int, path: str) -> tuple[int, Any]:
    """The status and body of a page."""

    def ask() -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    status, body = await asyncio.to_thread(ask)
    return status, body if path == "/metrics" else orjson.loads(body)


def says(port: int, path: str, status: int) -> Callable[[], Awaitable[bool]]:
    """A condition: the page answers with a status."""

    async def condition() -> bool:
        return (await page(port, path))[0] == status

    return condition


async def crm_sync(broker: Settings, base: str, database_url: str, **more: str) -> Process:
    return Process(
        await start(
            broker,
            "-m",
            "stream",
            "crm-sync",
            **{
                "DATABASE_URL": database_url,
                "C2S_BASE_URL": base,
                "C2S_TOKEN": "secret-token",
                "C2S_TIMEOUT": "3s",
                **more,
            },
        )
    )


@pytest.mark.parametrize("name", ["crm-sync", "journal"])
async def test_a_consumer_serves_its_pages(broker: Settings, database_url: str, name: str) -> None:
    """A consumer is ready once it has partitions, and serves its health and metrics."""
    more = {"DATABASE_URL": database_url, "C2S_TOKEN": "x", "C2S_BASE_URL": "http://127.0.0.1:9"}
    process = Process(await start(broker, "-m", "stream", name, **more))
    port = await process.port()
    await until(says(port, "/readyz", 200))
    _, ready = await page(port, "/readyz")
    assert {name: ready["checks"][name] for name in ("broker", "database", "assignment")} == {
        "broker": "ok",
        "database": "ok",
        "assignment": "ok",
    }
    assert (await page(port, "/healthz"))[0] == 200
    status, metrics = await page(port, "/metrics")
    assert status == 200
    assert b"process_resident_memory_bytes" in metrics
    assert await process.stopped() == 0


async def test_events_that_wait_for_the_crm_are_measured(broker: Settings, database_url: str) -> None:
    """While C2S is away, the metrics show how many events wait and the age of the oldest."""
    await publish(broker, [event(f"L{n}", key=f"+55119{n:08d}") for n in range(20)])
    process = await crm_sync(broker, "http://127.0.0.1:9", database_url)
    port = await process.port()

    async def is_measured() -> bool:
        _, metrics = await page(port, "/metrics")
        return measured(metrics, "leads_consumer_lag", CRM_GROUP) == 20 and (
            measured(metrics, "leads_consumer_oldest_seconds", CRM_GROUP) > 0
        )

    await until(is_measured)
    assert await process.stopped() == 0


async def test_a_journal_that_has_read_everything_has_no_lag(broker: Settings, database_url: str) -> None:
    """Its lag and age are published and 0."""
    await publish(broker, [event(f"L{n}", key=f"+55119{n:08d}") for n in range(20)])
    process = Process(await start(broker, "-m", "stream", "journal", DATABASE_URL=database_url))
    port = await process.port()

    async def is_read() -> bool:
        return await lag(broker, JOURNAL_GROUP) == 0

    await until(is_read)
    _, metrics = await page(port, "/metrics")
    assert measured(metrics, "leads_consumer_lag", JOURNAL_GROUP) == 0
    assert measured(metrics, "leads_consumer_oldest_seconds", JOURNAL_GROUP) == 0
    assert await process.stopped() == 0


def measured(metrics: bytes, name: str, group: str) -> float:
    """A metric of a group; -1 if the page does not have it."""
    found = re.search(rf'^{name}{{group="{group}"}} (\S+)$', metrics.decode(), re.MULTILINE)
    return float(found[1]) if found is not None else -1.0


async def test_a_refused_token_pauses_the_sync_and_loses_nothing(broker: Settings, database_url: str) -> None:
    """A pause is logged and shown on the page, without commits and dead letters; a correct token ends it."""
    simulators = Simulators(scale=0.0)
    async with serving(simulators) as base:
        simulators.faults["c2s"] = Fault(status=401)
        await publish(broker, [event(f"L{n}", key=f"+55119{n:08d}") for n in range(40)])
        process = await crm_sync(broker, base, database_url)
        port = await process.port()
        await until(says(port, "/readyz", 503))

        async def is_paused() -> bool:
            return "paused" in (await page(port, "/readyz"))[1]["checks"].get("pause", "")

        await until(is_paused)
        assert (await page(port, "/readyz"))[1]["status"] == "degraded"
        assert sum((await committed(broker, CRM_GROUP)).values()) == 0
        simulators.faults.clear()

        async def is_told() -> bool:
            return len(simulators.messages) == 40 and await lag(broker, CRM_GROUP) == 0

        await until(is_told)
        await until(says(port, "/readyz", 200))
        assert await process.stopped() == 0
    assert len([line for line in process.said if "the partner refuses us" in line]) == 1
    assert not [line for line in process.said if "will try again" in line]
    assert await everything(broker, DEAD.name) == []
    assert len({message["lead"] for message in simulators.messages}) == 40


async def test_a_wrong_address_stops_the_sync(broker: Settings, database_url: str) -> None:
    """If C2S answers 404 for every lead, the sync exits with 3, names the likely cause and commits no refused lead."""
    async with serving(Simulators(scale=0.0)) as base:
        await publish(broker, [event(f"L{n}", key=f"+55119{n:08d}") for n in range(60)])
        process = await crm_sync(broker, f"{base}/nowhere", database_url, FUSE_IN_A_ROW="20")
        assert await process.left() == DlqLimitError.exit_code
    log = "".join(process.said)
    assert "the CRM refused 20 leads and took no write in between" in log
    assert "C2S_BASE_URL" in log
    letters = await everything(broker, DEAD.name)
    assert len(letters) == 19
    assert sum((await committed(broker, CRM_GROUP)).values()) <= 19
    buried = [line for line in process.said if "dead letter" in line and "reason=c2s" in line]
    assert len(buried) == 19
    assert all(re.search(r"lead=L\d+ event_id=[0-9a-f-]{36}", line) for line in buried)


async def test_a_journal_logs_a_record_that_is_no_event(broker: Settings, database_url: str) -> None:
    """The log line of a foreign record has the ids that can be read."""
    process = Process(await start(broker, "-m", "stream", "journal", DATABASE_URL=database_url))
    await publish(broker, [b"\xff", event("A")])

    async def is_read() -> bool:
        return await lag(broker, JOURNAL_GROUP) == 0

    await until(is_read)
    assert await process.stopped() == 0
    (line,) = [line for line in process.said if "not an event" in line]
    assert "lead=unknown event_id=unknown" in line


HOSTILE = "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07 [/red] \u202e\n17  2026-01-01 00:00:00  forged"


async def test_dead_letters_on_the_console(broker: Settings) -> None:
    """A list goes whole and harmless into a pipe; an unknown number is an error that names the known ones."""
    await write(
        broker, [dead("enrich", b"\x1b[2J\nfate: open", reason=HOSTILE, key=HOSTILE.encode()), dead("crm", b"!")]
    )
    for arguments in (
        ["list"],
        ["list", "--closed"],
        ["show", "0"],
        ["redrive", "0"],
        ["drop", "0"],
        ["list", "--json"],
    ):
        code, out, said = await command(broker, "dlq", *arguments)
        assert code == 0, said
        assert not set("\x1b\x07\u202e") & set(out), arguments
        assert "…" not in out
        if "--json" not in arguments and arguments[0] != "show":
            assert max(map(len, out.splitlines())) <= 80
            assert not [line for line in out.splitlines() if line.startswith("17")]
    _, out, _ = await command(broker, "dlq", "show", "0", "--reveal")
    assert [line for line in out.splitlines() if line.startswith("fate:")] == ["fate: open"]
    for arguments, wanted in (
        (["show", "99"], "no dead letter has the number 99: there are 2, from 0 to 1"),
        (["list", "99"], "number 99"),
        (["drop", "0", "99", "--execute"], "number 99"),
        (["redrive", "99"], "number 99"),
        (["list", "--class", "NoSuchError"], "known are: DeadlyError, GivenUpError, LeadRefusedError, PoisonError"),
        (["list", "--topic", "nowhere"], "contacts.enriched"),
    ):
        code, out, said = await command(broker, "dlq", *arguments)
        assert code == 1, arguments
        assert wanted in said
    code, _, said = await command(broker, "dlq", "list", "--stage", "foo")
    assert code == 2
    assert "enrich" in said
    code, out, _ = await command(broker, "dlq", "list")
    assert "2 dead letters" in out
