"""One connection: a protocol around aiohttp's own protocol. It limits bytes and time, and does not parse.

Rule 1: In one tick, at most READ_BYTES of a connection reach aiohttp. While a request is being answered, nothing more
is read: early bytes stay in the kernel, not in this process. A stranger's bytes wait for the fair scheduler.
Rule 2: Every state has a deadline. The server checks the deadlines of all connections several times a second.
Rule 3: Every answer is written by this project. aiohttp answers invalid HTTP itself, and such an answer repeats the
request and names aiohttp's internals. The connection replaces it.

uvloop's transports are not instances of ``asyncio.Transport``, so only their methods are used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from aiohttp import web

from producers.fair_scheduler import FairScheduler
from producers.limits import Limits
from producers.responses import SERVER, raw_answer

READ_BYTES = 16_384  # at most, in one tick
STRANGER_READ_BYTES = 2_048  # at most, in one tick, of a client that has not shown a secret
WRITE_BUFFER_BYTES = 4_096  # above this, the connection waits until its client reads
MAX_PIPELINED_IN_A_ROW = 4  # requests; a client that sends more before their answers may lose its connection
HANDLING_SECONDS = 0.00015  # processor time of a small request after its parsing
HALF_CLOSED_TICKS = 8  # aiohttp needs two to begin with a request that it has parsed
MAX_HEAD_BYTES = 2 * READ_BYTES
NEVER = float("inf")
SERVER_HEADER_WITHIN_BYTES = 512  # our answers have their Server header within so many bytes
SERVER_HEADER = f"\r\nServer: {SERVER}\r\n".encode()
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NOT_HTTP = raw_answer(400, "Bad Request", "this is not HTTP")
FAILED = raw_answer(500, "Internal Server Error", "internal server error")


# Reasons to pause reading: bits, because changing an IntFlag is slow and every connection does it.
BUFFERS_FULL = 1  # aiohttp's buffers are full
YIELDING = 2  # the connection has read its share of this tick
PIPELINED = 4  # the client sends before its request is answered
SCHEDULED = 8  # what was read waits for the fair scheduler


@dataclass(frozen=True, slots=True)
class ConnectionContext:
    """What all connections of a server share: limits, the buffer that they read into, the scheduler of strangers."""

    limits: Limits
    buffer: bytearray
    scheduler: FairScheduler


class Connection(asyncio.BufferedProtocol):
    """One admitted connection, from ``connection_made`` to ``connection_lost``."""

    def __init__(
        self,
        inner: asyncio.Protocol,
        address: str,
        client: str,
        context: ConnectionContext,
        on_lost: Callable[[Connection], None],
    ) -> None:
        """``inner``: aiohttp's protocol; ``address``: the remote address; ``client``: its name for the scheduler."""
        self.address = address
        self.client = client
        self.deadline = NEVER  # loop time by which the client must have sent what comes next
        self.write_deadline = NEVER  # loop time by which the client must have read its answers
        self.body_timer: asyncio.Timeout | None = None  # while the handler reads a body
        self.is_half_closed = False
        self.is_authenticated = False  # the current request has shown a secret
        self._showed_secret_before = False  # the previous request has shown one
        self._inner = inner
        self._limits = context.limits
        self._buffer = memoryview(context.buffer)
        self.scheduler = context.scheduler
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.pause_reasons = 0
        self._is_idle = True  # no byte has come since the last answer, or at all
        self._is_answering = False
        self._is_muted = False  # aiohttp's answer was replaced: the rest of it is dropped
        self.is_lost = False
        self._is_expired = False
        self._requests_begun = 0
        self._reads = 0
        self._head_bytes = 0.0  # received of a head that is not complete
        self._reads_at_last_request = -1
        self._is_pipelined = False
        self._pipelined_in_a_row = 0

    # Called by the event loop.
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect aiohttp's protocol. The client must send its first byte in time."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.deadline = self._loop.time() + self._limits.first_byte
        self._inner.connection_made(AiohttpTransport(self, self._transport))
        if self._is_expired:  # the server gave its place away before the transport was ready
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        """The shared buffer: what is read into it is copied before another connection reads."""
        del sizehint
        return self._buffer if self.has_shown_secret else self._buffer[:STRANGER_READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """Feed bytes to aiohttp, now or when the scheduler allows it. The first bytes of a head start its deadline."""
        self._reads += 1
        if self._is_idle:
            self._is_idle = False
            self.deadline = self._loop.time() + self._limits.head
        elif self._is_answering and self.body_timer is None:
            self._is_pipelined = True
            self.pause(PIPELINED)
        self._head_bytes += nbytes
        data = bytes(self._buffer[:nbytes])
        if self.has_shown_secret:
            self._feed(data, READ_BYTES)
        elif self.scheduler.can_run_now():
            self._feed_charged(data)
        else:
            self.pause(SCHEDULED)
            self.scheduler.schedule(self.client, partial(self._feed_scheduled, data))

    def eof_received(self) -> bool:
        """Keep the connection until its requests are answered: the client has only ended its own side."""
        self.is_half_closed = True
        self._end_half_closed(self._requests_begun, HALF_CLOSED_TICKS)
        return True

    def pause_writing(self) -> None:
        """Start the deadline for reading: the client does not read its answers."""
        self.write_deadline = self._loop.time() + self._limits.unread
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Stop the deadline for reading: the client has read its answers."""
        self.write_deadline = NEVER
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection's place and tell aiohttp."""
        self.is_lost = True
        self.deadline = self.write_deadline = NEVER
        self._on_lost(self)
        # aiohttp begins with a parsed request in the next tick, and raises if the connection is lost by then.
        self._loop.call_soon(self._inner.connection_lost, exc)

    # Called by the server.

    @property
    def has_shown_secret(self) -> bool:
        """Whether the client has shown a secret with this request or with the previous one."""
        return self.is_authenticated or self._showed_secret_before

    @property
    def is_misbehaving(self) -> bool:
        """Whether the client does not read its answers, or keeps sending requests before their answers."""
        return self.write_deadline < NEVER or self._pipelined_in_a_row >= MAX_PIPELINED_IN_A_ROW

    def begin_answer(self) -> bool:
        """Begin with a request whose head is complete. True: it is pipelined, sent before the previous answer."""
        self._requests_begun += 1
        is_pipelined = self._is_pipelined or self._reads == self._reads_at_last_request
        self._is_pipelined = False
        self._pipelined_in_a_row = self._pipelined_in_a_row + 1 if is_pipelined else 0
        self._reads_at_last_request = self._reads
        self._is_answering = True
        self._head_bytes = 0
        self._is_idle = False
        self.deadline = NEVER  # the handler has its own limits
        return is_pipelined

    def end_answer(self, *, is_read: bool) -> None:
        """The handler has returned; aiohttp writes its answer next. ``is_read``: the request's body is complete.

        Otherwise aiohttp discards the rest of the body, which must not count as the next head.
        """
        self._showed_secret_before = self.is_authenticated
        self._is_answering = self.is_authenticated = False
        self._head_bytes = 0 if is_read else -NEVER
        self.deadline = self._loop.time() + self._limits.unread

    def expire(self) -> None:
        """Abort the connection."""
        self.deadline = self.write_deadline = NEVER
        self._is_expired = True
        if self._transport is not None:
            self._transport.abort()

    # Called by aiohttp, through AiohttpTransport.

    def send(self, data: bytes) -> None:
        """Write an answer or a part of it. What is written after ``end_answer`` is the last part."""
        assert self._transport is not None
        if self._is_muted or self.is_lost:
            return
        if data.startswith(b"HTTP/1.") and data.find(SERVER_HEADER, 0, SERVER_HEADER_WITHIN_BYTES) < 0:
            data = NOT_HTTP if data[9:10] == b"4" else FAILED
            self._is_muted = True
        self._transport.write(data)
        if not self._is_answering:
            self._answer_sent()

    def send_continue(self) -> None:
        """Tell the client, which sent ``Expect: 100-continue``, to send its body."""
        if self._transport is not None:
            self._transport.write(CONTINUE)

    def begin_close(self) -> None:
        """Start the deadline for what is written but not read yet."""
        self.write_deadline = min(self.write_deadline, self._loop.time() + self._limits.unread)

    def _answer_sent(self) -> None:
        self._is_idle = True
        self.deadline = self._loop.time() + self._limits.idle
        self.resume(PIPELINED)
        if self.is_half_closed:
            self._end_half_closed(self._requests_begun, HALF_CLOSED_TICKS)

    def _feed(self, data: bytes, yield_after_bytes: int) -> None:
        """Give bytes to aiohttp. ``yield_after_bytes``: from this size on, pause until the next tick."""
        self._inner.data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self._is_answering:
            self.expire()
        elif len(data) >= yield_after_bytes:
            self.pause(YIELDING)
            self._loop.call_soon(self.resume, YIELDING)

    def _feed_charged(self, data: bytes) -> None:
        started = time.perf_counter()
        self._feed(data, STRANGER_READ_BYTES)
        self.scheduler.charge(self.client, time.perf_counter() - started + HANDLING_SECONDS)

    def _feed_scheduled(self, data: bytes) -> None:
        if not self.is_lost:
            self._feed_charged(data)
            self.resume(SCHEDULED)

    def _end_half_closed(self, requests_begun: int, ticks_left: int) -> None:
        """Close when nothing is left to answer. A body that is incomplete now stays incomplete.

        aiohttp may have parsed requests that it has not begun with. It begins with them one after the other without a
        pause, so when none begins within ``ticks_left`` ticks there is none.
        """
        if self.is_lost or requests_begun != self._requests_begun or (self._is_answering and self.body_timer is None):
            return  # this is called again after the answer
        if self.body_timer is not None:
            self.body_timer.reschedule(self._loop.time())
        elif ticks_left:
            self._loop.call_soon(self._end_half_closed, requests_begun, ticks_left - 1)
        elif self._transport is not None:
            self._transport.close()

    def pause(self, reason: int) -> None:
        """Stop reading, for ``reason``."""
        assert self._transport is not None
        if not self.pause_reasons and not self._transport.is_closing():
            self._transport.pause_reading()
        self.pause_reasons |= reason

    def resume(self, reason: int) -> None:
        """Take ``reason`` away; read on when no other reason is left."""
        if not self.pause_reasons & reason:
            return
        self.pause_reasons &= ~reason
        assert self._transport is not None
        if not (self.pause_reasons or self.is_half_closed or self.is_lost or self._transport.is_closing()):
            self._transport.resume_reading()


class AiohttpTransport(asyncio.Transport):
    """The transport that aiohttp gets: its writes and its pauses go through the connection."""

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        super().__init__()
        self.connection = connection
        self._transport = transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write bytes."""
        self.connection.send(data if isinstance(data, bytes) else bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write in one piece."""
        self.connection.send(b"".join(list_of_data))

    def pause_reading(self) -> None:
        """Stop reading: aiohttp's buffers are full."""
        self.connection.pause(BUFFERS_FULL)

    def resume_reading(self) -> None:
        """Read on: aiohttp's buffers have room."""
        if self.connection.pause_reasons:
            self.connection.resume(BUFFERS_FULL)

    def close(self) -> None:
        """Close after everything is written."""
        if not self._transport.is_closing():
            self.connection.begin_close()
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed or closing."""
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Information about the socket."""
        return self._transport.get_extra_info(name, default)


def connection_of(request: web.BaseRequest) -> Connection:
    """The connection of a request. Raises ConnectionResetError when its client has gone."""
    transport = request.transport
    if not isinstance(transport, AiohttpTransport) or transport.connection.is_lost:
        raise ConnectionResetError("the client has gone")
    return transport.connection
