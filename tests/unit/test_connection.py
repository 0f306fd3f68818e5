"""One connection between the event loop and aiohttp, without a socket."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from aiohttp import web

from producers.connection import READ_BYTES, STRANGER_READ_BYTES, Connection, ConnectionContext
from producers.fair_scheduler import FairScheduler
from producers.limits import DEFAULT
from producers.responses import answer

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


class MemoryTransport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        """Keep it."""
        self.written += bytes(data)

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.is_closed

    def close(self) -> None:
        """Close."""
        self.is_closed = True

    abort = close

    def pause_reading(self) -> None:
        """The kernel holds what comes."""

    resume_reading = pause_reading

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""


def connect(served: list[str], *, is_expired: bool = False) -> tuple[Connection, MemoryTransport]:
    async def handle(request: web.BaseRequest) -> web.Response:
        served.append(request.path)
        return answer(200, {})

    context = ConnectionContext(DEFAULT, bytearray(READ_BYTES), FairScheduler())
    connection = Connection(web.Server(handle)(), "127.0.0.1", "127.0.0.1", context, lambda _: None)
    transport = MemoryTransport()
    if is_expired:
        connection.expire()
    connection.connection_made(transport)
    return connection, transport


def receive(connection: Connection, data: bytes) -> None:
    buffer = connection.get_buffer(-1)
    buffer[: len(data)] = data
    connection.buffer_updated(len(data))


async def ticks(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("between", range(4))
async def test_a_connection_that_is_lost_during_a_request_raises_nothing(between: int) -> None:
    """No task ends with an error, whenever the client goes after its request was read."""
    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    connection, _ = connect([])
    receive(connection, REQUEST)
    await ticks(between)
    connection.connection_lost(None)
    await ticks(10)
    gc.collect()
    assert errors == []


async def test_a_connection_that_expired_before_its_setup_is_closed() -> None:
    """A connection may lose its place before its transport exists."""
    connection, transport = connect([], is_expired=True)
    assert transport.is_closed
    connection.connection_lost(None)
    await ticks(2)


async def test_a_stranger_is_read_in_small_pieces() -> None:
    """Until a client has shown a secret, few of its bytes are parsed in one tick."""
    connection, transport = connect(served := [])
    assert len(connection.get_buffer(-1)) == STRANGER_READ_BYTES
    receive(connection, REQUEST)
    await ticks(10)
    assert served == ["/healthz"]
    assert transport.written.startswith(b"HTTP/1.1 200")
    connection.is_authenticated = True
    assert len(connection.get_buffer(-1)) == READ_BYTES
    connection.connection_lost(None)
    await ticks(2)
