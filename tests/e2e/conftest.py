"""The servers of the end-to-end tests: what the tests' environment names, emptied, else each system's own."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.component.conftest import (  # noqa: F401 - fixtures
    database_settings,
    database_url,
    empty_database_url,
    pool,
    postgres_container,
    postgres_url,
    template,
)
from tests.conftest import GIVEN
from tests.support.broker import emptied, settings_of


@pytest.fixture(autouse=True)
def servers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never what KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL name: those may be somebody's work."""
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    address = GIVEN or request.getfixturevalue("kafka_container")
    if address:
        asyncio.run(_empty(address))
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", address)
    if os.environ.get("TEST_DATABASE_URL") or request.getfixturevalue("postgres_container"):
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("empty_database_url"))


async def _empty(address: str) -> None:
    async with emptied(settings_of(address)):
        pass
