"""The servers of the end-to-end tests: what the tests' environment names, emptied, else each system's own."""

from __future__ import annotations

import asyncio
import os

import pytest

from stream.kafka import open_admin
from stream.settings import load
from tests.component.conftest import (  # noqa: F401 - fixtures
    database_settings,
    database_url,
    empty_database_url,
    pool,
    postgres_url,
    template,
)
from tests.conftest import docker_answers, remove_topics


@pytest.fixture(autouse=True)
def servers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never what KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL name: those may be somebody's work."""
    engine = docker_answers()
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    if engine or os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS"):
        address = request.getfixturevalue("kafka")
        asyncio.run(_empty(address))
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", address)
    if engine or os.environ.get("TEST_DATABASE_URL"):
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("empty_database_url"))


async def _empty(address: str) -> None:
    async with open_admin(load({"KAFKA_BOOTSTRAP_SERVERS": address})) as admin:
        await remove_topics(admin)
