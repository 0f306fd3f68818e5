"""The producers over real HTTP, with a broker in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson

from producers.app import App
from producers.memory import MemoryPublisher
from producers.server import listen
from stream.settings import load
from tests.support import waiting

C2S = "/api/v1/webhooks/c2s"
GOOGLE = "/api/v1/webhooks/google-ads"
NOW = datetime(2026, 1, 31, 15, 0, tzinfo=UTC)
SECRETS = {
    "C2S_WEBHOOK_TOKEN": "c2s-secret,c2s-next",
    "GOOGLE_ADS_KEY": "google-secret,google-next",
    "GRUPO_OLX_CREDENTIALS": "olx:olx-secret",
}


@dataclass
class Client:
    """An HTTP client of the producers, and the broker behind them."""

    session: aiohttp.ClientSession
    internal_session: aiohttp.ClientSession
    broker: MemoryPublisher

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Status and JSON of a POST. A body of bytes is sent unchanged."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.session.post(path, data=data, headers=headers) as response:
            return response.status, await response.json()

    async def c2s(self, body: Any) -> tuple[int, Any]:
        """POST as C2S, with its token."""
        return await self.post(C2S, body, **{"X-Webhook-Token": "c2s-secret"})

    async def google(self, **fields: Any) -> tuple[int, Any]:
        """POST as Google, with its key."""
        return await self.post(GOOGLE, {"google_key": "google-secret", **fields})

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text of a GET on the public port."""
        async with self.session.get(path) as response:
            return response.status, await response.text()

    async def get_internal(self, path: str) -> tuple[int, str]:
        """Status and text of a GET on the internal port."""
        async with self.internal_session.get(path) as response:
            return response.status, await response.text()


@asynccontextmanager
async def producers_client(overrides: dict[str, str]) -> AsyncIterator[Client]:
    """Serve both ports. ``overrides``: environment variables."""
    broker = MemoryPublisher()
    app = App(load({**SECRETS, **overrides}), broker, lambda: NOW)
    async with (
        listen(app.handle, "127.0.0.1", 0, 100, 2.0) as port,
        listen(app.handle_internal, "127.0.0.1", 0, 100, 2.0) as internal_port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        aiohttp.ClientSession(f"http://127.0.0.1:{internal_port}") as internal_session,
    ):
        yield Client(session, internal_session, broker)


def event(lead: str = "L1", **customer: Any) -> dict[str, Any]:
    """A C2S event."""
    return {
        "id": lead,
        "hook_action": "on_create_lead",
        "attributes": {"updated_at": "2026-01-31T12:00:00Z", "customer": customer or {"phone": "(11) 98765-4321"}},
    }


def headers_of(record: Any) -> dict[str, str]:
    """The headers of a record, as text."""
    return {name: value.decode() for name, value in record.headers}


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition, at most 60 s."""
    await waiting.until_true(holds, limit=60)
