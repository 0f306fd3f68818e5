"""The receiver under test, in this process or in one of its own, with clients on real sockets."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import psutil

from producers.app import App
from producers.limits import Limits
from producers.memory import MemoryPublisher
from producers.server import listen
from stream.settings import load
from tests.support import waiting

C2S, GOOGLE = "/api/v1/webhooks/c2s", "/api/v1/webhooks/google-ads"
TOKEN, KEY = "a-token-of-the-tests", "a-google-key-of-the-tests"
SECRETS = {"C2S_WEBHOOK_TOKEN": TOKEN, "GOOGLE_ADS_KEY": KEY}
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
EVENT = b'{"id":"L1","attributes":{"updated_at":"2026-01-31T12:00:00Z"}}'
TIMEOUT_SECONDS = 15.0  # far above what the server needs on a busy machine
HUGE = 10_000


@dataclass
class Receiver:
    """A running server: its port, and the broker behind it."""

    port: int
    broker: MemoryPublisher

    async def connect(self, source: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect from one of this machine's addresses."""
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))

    async def ask(self, data: bytes, source: str = "127.0.0.1") -> Answer:
        """Send a request and read its answer."""
        reader, writer = await self.connect(source)
        try:
            writer.write(data)
            return await read_answer(reader)
        finally:
            writer.close()

    async def read_until_closed(self, data: bytes, *, half_close: bool = False) -> list[Answer]:
        """Send bytes, end this side if ``half_close``, and read answers until the server closes the connection."""
        reader, writer = await self.connect()
        answers = []
        try:
            writer.write(data)
            if half_close:
                writer.write_eof()
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while True:
                    try:
                        answers.append(await read_answer(reader))
                    except asyncio.IncompleteReadError as error:
                        rest = error.partial
                        break
            assert rest == b""
            return answers
        finally:
            writer.close()


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one HTTP answer."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(status.split()[1]), headers, body)


@asynccontextmanager
async def serving(
    max_connections: int = HUGE, settings: dict[str, str] | None = None, **limits: Any
) -> AsyncIterator[Receiver]:
    """Serve in this process, with ``limits`` instead of the defaults."""
    broker, all_limits = MemoryPublisher(), Limits(**{"connections_per_address": HUGE, **limits})
    configuration = load({**SECRETS, **(settings or {})})
    app, trusted = App(configuration, broker, lambda: datetime.now(UTC), all_limits), configuration.trusted_proxies
    async with listen(app.handle, "127.0.0.1", 0, max_connections, 1.0, limits=all_limits, trusted=trusted) as port:
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        yield Receiver(port, broker)


@contextmanager
def process(**limits: Any) -> Iterator[tuple[Receiver, psutil.Process]]:
    """Serve in a process of its own, so that its memory and its time can be measured."""
    arguments = [orjson.dumps({"connections_per_address": HUGE, **limits}).decode(), orjson.dumps(SECRETS).decode()]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.receiver_front", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert child.stdout is not None
        yield Receiver(int(child.stdout.readline()), MemoryPublisher()), psutil.Process(child.pid)
    finally:
        child.kill()
        child.communicate()


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def event(token: str = TOKEN, *headers: str) -> bytes:
    return post(C2S, EVENT, f"X-Webhook-Token: {token}", *headers)


def form(key: str = KEY, *headers: str) -> bytes:
    return post(GOOGLE, orjson.dumps({"google_key": key, "lead_id": "g1"}), *headers)


# Requests that need no right secret.
CHEAP = {
    "health": HEALTH,
    "no such path": b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
    "method": b"PUT /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "no secret": post(C2S, b""),
    "no key": post(GOOGLE, b"{}"),
}


async def is_served(receiver: Receiver) -> bool:
    """Whether the server answers a request on a new connection."""
    return (await receiver.ask(HEALTH)).status == 200


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition of the server, at most TIMEOUT_SECONDS."""
    await waiting.until(holds, limit=TIMEOUT_SECONDS)
