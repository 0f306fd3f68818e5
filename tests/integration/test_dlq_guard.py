"""The dead-letter limit in real processes: they stop, and the letter that exceeds the limit is not lost."""

from __future__ import annotations

import asyncio

import pytest

from stream.domain.errors import DlqLimitError
from stream.settings import Settings
from stream.topics import CRM_GROUP, DEAD, ENRICHED, WEBHOOKS, WORKER_GROUP
from tests.support.enriched import committed, everything, lag, publish, start, until

BLOWN = DlqLimitError.exit_code
LIMIT = 120.0  # seconds


def surroundings(database_url: str, **more: str) -> dict[str, str]:
    """The environment of a process beside the broker, without any partner."""
    nobody = "http://127.0.0.1:9"
    return {
        "DATABASE_URL": database_url,
        "DIRETRIX_BASE_URL": nobody,
        "DIRETRIX_USER": "user",
        "DIRETRIX_PASSWORD": "no-password",
        "WORK_API_BASE_URL": nobody,
        "WORK_API_TOKEN": "no-token",
        "DIRETRIX_DAILY_BUDGET": "unlimited",
        "C2S_BASE_URL": nobody,
        "C2S_TOKEN": "no-token",
        "STREAM_WEB_PORT": "0",
        **more,
    }


async def ended(settings: Settings, name: str, database_url: str, **more: str) -> tuple[int | None, str]:
    """Run a process until it ends by itself; returns its exit code and log."""
    process = await start(settings, "-m", "stream", name, **surroundings(database_url, **more))
    async with asyncio.timeout(LIMIT):
        out, said = await process.communicate()
    return process.returncode, (out + said).decode()


PROCESSES = [("worker", WORKER_GROUP, WEBHOOKS.name), ("crm-sync", CRM_GROUP, ENRICHED.name)]


@pytest.mark.parametrize(("name", "group", "topic"), PROCESSES)
async def test_a_process_stops_at_the_limit(
    broker: Settings, database_url: str, name: str, group: str, topic: str
) -> None:
    """After that many letters in a row it exits with 3 and a log line, and commits no record without its letter."""
    rubbish = [b"no message %d" % number for number in range(60)]
    await publish(broker, rubbish, topic)
    code, log = await ended(broker, name, database_url, FUSE_IN_A_ROW="20")
    assert code == BLOWN, log[-2_000:]
    assert "the dead-letter fuse is blown: 20 dead letters in a row" in log
    assert "stream dlq list" in log
    written = {record.value for record in await everything(broker, DEAD.name)}
    assert len(written) <= 19
    stands = await committed(broker, group, topic)
    for record in await everything(broker, topic):
        assert record.offset >= stands.get(record.partition, 0) or record.value in written


@pytest.mark.parametrize(("name", "group", "topic"), PROCESSES)
async def test_a_process_with_a_higher_limit_writes_the_rest(
    broker: Settings, database_url: str, name: str, group: str, topic: str
) -> None:
    """Started again with a higher limit, the process writes every letter."""
    rubbish = [b"no message %d" % number for number in range(60)]
    await publish(broker, rubbish, topic)
    code, log = await ended(broker, name, database_url, FUSE_IN_A_ROW="5")
    assert code == BLOWN, log[-2_000:]
    process = await start(broker, "-m", "stream", name, **surroundings(database_url, FUSE_IN_A_ROW="100"))
    try:
        await until(lambda: _is_read(broker, group, topic))
    finally:
        process.terminate()
        await process.communicate()
    assert {record.value for record in await everything(broker, DEAD.name)} == set(rubbish)


async def _is_read(settings: Settings, group: str, topic: str) -> bool:
    return await lag(settings, group, topic) == 0
