"""The worker's pages: what they say, and with which status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from stream.health.pages import pages

Ask = Callable[[str], Awaitable[tuple[int, Any]]]


class State:
    """What the worker would say of itself."""

    def __init__(self) -> None:
        self.progress = ""
        self.broker = ""
        self.diretrix = ""

    async def healthy(self) -> dict[str, str]:
        """Progress."""
        return {"progress": self.progress}

    async def ready(self) -> dict[str, str]:
        """Connections."""
        return {"broker": self.broker}

    def degraded(self) -> dict[str, str]:
        """Partners."""
        return {"diretrix": self.diretrix}


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
async def ask(state: State) -> AsyncIterator[Ask]:
    async with TestClient(TestServer(pages(state.healthy, state.ready, state.degraded))) as client:

        async def get(path: str) -> tuple[int, Any]:
            async with client.get(path) as response:
                return response.status, await response.json()

        yield get


async def test_all_is_well(ask: Ask) -> None:
    """200, and each check by name."""
    assert await ask("/healthz") == (200, {"status": "ok", "checks": {"progress": "ok"}})
    assert await ask("/readyz") == (200, {"status": "ok", "checks": {"broker": "ok", "diretrix": "ok"}})


async def test_a_partner_that_is_away_degrades_and_no_more(state: State, ask: Ask) -> None:
    """Hits go on, so it stays ready with 200 and says what it does without; its health is untouched."""
    state.diretrix = "the breaker is open"
    checks = {"broker": "ok", "diretrix": "the breaker is open"}
    assert await ask("/readyz") == (200, {"status": "degraded", "checks": checks})
    assert (await ask("/healthz"))[1]["status"] == "ok"


async def test_what_a_worker_can_not_do_without(state: State, ask: Ask) -> None:
    """503, whatever else is degraded."""
    state.broker, state.diretrix, state.progress = "away", "asked us to wait", "webhooks wait"
    checks = {"broker": "away", "diretrix": "asked us to wait"}
    assert await ask("/readyz") == (503, {"status": "unavailable", "checks": checks})
    assert (await ask("/healthz"))[0] == 503
