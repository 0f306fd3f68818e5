"""One connection: a protocol around aiohttp's own, which limits it by bytes and by time and does not parse.

Rule 1: at most READ_SIZE bytes reach aiohttp in a turn of the loop, and none are read on while a request is answered:
the kernel holds what comes too early, not we. A stranger's bytes reach aiohttp through the turnstile.
Rule 2: in every state there is a deadline. The server looks at the deadlines of all connections now and then.
Rule 3: nothing leaves that is not ours. What aiohttp answers by itself (to what is not HTTP) is replaced: it repeats
what was sent and names its insides.

uvloop's transports are not instances of ``asyncio.Transport``: they are used by their methods only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from aiohttp import web

from producers.limits import Limits
from producers.responses import SERVER, plain_answer
from producers.turnstile import Turnstile

READ_SIZE = 16_384  # bytes
STRANGERS_READ = 2_048  # bytes: the most that is parsed in one piece for who has not shown a secret
WRITE_HIGH = 4_096  # bytes that wait in the process for a client to read
HOARD = 4  # requests in a row that were sent ahead
HANDLING = 0.00015  # seconds that a small request costs after it was parsed
LOOKS = 8  # turns of the loop; aiohttp begins with a request that it has read in two
LONGEST_HEAD = 2 * READ_SIZE  # bytes of a request before it is known what it asks for
NEVER = float("inf")
HEAD_START = 512  # bytes of an answer in which its Server header stands
MARK = f"\r\nServer: {SERVER}\r\n".encode()
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NOT_HTTP = plain_answer(400, "Bad Request", "this is not HTTP")
FAILED = plain_answer(500, "Internal Server Error", "internal server error")


# Why nothing is read. Reading goes on when no reason is left. (Changes of an IntFlag are slow: this is done for all.)
FULL = 1  # aiohttp's buffers are full
BREATH = 2  # a whole READ_SIZE was read: the others have their turn
AHEAD = 4  # the client sends while its request is answered
TURN = 8  # what was read waits at the turnstile


@dataclass(frozen=True, slots=True)
class Shared:
    """What all connections of a server share. ``buffer``: they read into it; ``turnstile``: strangers read on there."""

    limits: Limits
    buffer: bytearray
    turnstile: Turnstile


class Connection(asyncio.BufferedProtocol):
    """The life of one connection that was admitted."""

    def __init__(
        self,
        inner: asyncio.Protocol,
        address: str,
        client: str,
        shared: Shared,
        on_lost: Callable[[Connection], None],
    ) -> None:
        """``inner``: aiohttp's protocol; ``address``: the remote one; ``client``: who takes turns with others."""
        self.address = address
        self.client = client
        self.deadline = NEVER  # of the loop's clock: of what the client has to do next
        self.write_deadline = NEVER  # the same: until when it has to read
        self.body_timer: asyncio.Timeout | None = None  # while the handler reads a body
        self.is_half_closed = False
        self.is_authenticated = False  # the request that is being read has shown a secret
        self._is_known = False  # the one before it has
        self._inner = inner
        self._limits = shared.limits
        self._buffer = memoryview(shared.buffer)
        self.turnstile = shared.turnstile
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.held = 0
        self._is_quiet = True  # no byte came since the last answer, or ever
        self._is_answering = False
        self._is_cut = False
        self.is_over = False
        self._is_expired = False
        self._begun = 0  # requests
        self._reads = 0
        self._head_bytes = 0.0  # that have come of a head that is not whole
        self._reads_at_request = -1
        self._is_ahead = False
        self._ahead_in_a_row = 0

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the first byte has its time."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self.deadline = self._loop.time() + self._limits.first_byte
        self._inner.connection_made(Outgoing(self, self._transport))
        if self._is_expired:  # its place was given away before it was set up
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go; they are passed on before anybody else reads."""
        del sizehint
        return self._buffer if self.is_trusted else self._buffer[:STRANGERS_READ]

    def buffer_updated(self, nbytes: int) -> None:
        """Pass bytes on; the first of a request start the time of its head."""
        self._reads += 1
        if self._is_quiet:
            self._is_quiet = False
            self.deadline = self._loop.time() + self._limits.head
        elif self._is_answering and self.body_timer is None:
            self._is_ahead = True
            self.hold(AHEAD)
        self._head_bytes += nbytes
        data = bytes(self._buffer[:nbytes])
        if self.is_trusted:
            self._pass_on(data, READ_SIZE)
        elif self.turnstile.pass_now():
            self._pass_on_charged(data)
        else:
            self.hold(TURN)
            self.turnstile.enter(self.client, partial(self._pass_on_held, data))

    def eof_received(self) -> bool:
        """Keep the connection of a client that has ended its side, until what it had sent before is answered."""
        self.is_half_closed = True
        self._end_half_closed(self._begun, LOOKS)
        return True

    def pause_writing(self) -> None:
        """The client does not read: it has some time to do so."""
        self.write_deadline = self._loop.time() + self._limits.unread
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """It has read."""
        self.write_deadline = NEVER
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.is_over = True
        self.deadline = self.write_deadline = NEVER
        self._on_lost(self)
        # aiohttp begins in the next turn with a request that it has read, and fails if it has heard of the end by then.
        self._loop.call_soon(self._inner.connection_lost, exc)

    # What the server calls.

    @property
    def is_trusted(self) -> bool:
        """Whether its client has shown a secret, with this request or with the one before it."""
        return self.is_authenticated or self._is_known

    @property
    def is_hoarding(self) -> bool:
        """Whether its client does not read its answers, or keeps sending ahead of them."""
        return self.write_deadline < NEVER or self._ahead_in_a_row >= HOARD

    def begin_answer(self) -> bool:
        """A request's head is whole. True: the client has sent it ahead, before it had its answers."""
        self._begun += 1
        is_ahead = self._is_ahead or self._reads == self._reads_at_request
        self._is_ahead = False
        self._ahead_in_a_row = self._ahead_in_a_row + 1 if is_ahead else 0
        self._reads_at_request = self._reads
        self._is_answering = True
        self._head_bytes = 0
        self._is_quiet = False
        self.deadline = NEVER  # the handler has limits of its own
        return is_ahead

    def end_answer(self, *, is_read: bool) -> None:
        """The handler is done; aiohttp writes what it has returned. ``is_read``: the request's body has come whole.

        Otherwise aiohttp reads the rest away, which is no head.
        """
        self._is_known = self.is_authenticated
        self._is_answering = self.is_authenticated = False
        self._head_bytes = 0 if is_read else -NEVER
        self.deadline = self._loop.time() + self._limits.unread

    def expire(self) -> None:
        """End a connection whose deadline has passed."""
        self.deadline = self.write_deadline = NEVER
        self._is_expired = True
        if self._transport is not None:
            self._transport.abort()

    # What aiohttp calls, through Outgoing.

    def send(self, data: bytes) -> None:
        """Write an answer, or a part of one; the last one in a row ends the request."""
        assert self._transport is not None
        if self._is_cut or self.is_over:
            return
        if data.startswith(b"HTTP/1.") and data.find(MARK, 0, HEAD_START) < 0:
            data = NOT_HTTP if data[9:10] == b"4" else FAILED
            self._is_cut = True
        self._transport.write(data)
        if not self._is_answering:
            self._answered()

    def ask_for_body(self) -> None:
        """Tell a client that asks first to send its body."""
        if self._transport is not None:
            self._transport.write(CONTINUE)

    def closing(self) -> None:
        """What is written has a limited time to leave."""
        self.write_deadline = min(self.write_deadline, self._loop.time() + self._limits.unread)

    def _answered(self) -> None:
        self._is_quiet = True
        self.deadline = self._loop.time() + self._limits.idle
        self.release(AHEAD)
        if self.is_half_closed:
            self._end_half_closed(self._begun, LOOKS)

    def _pass_on(self, data: bytes, most: int) -> None:
        """Give bytes to aiohttp; ``most``: the bytes after which the others have their turn."""
        self._inner.data_received(data)
        if self._head_bytes > LONGEST_HEAD and not self._is_answering:
            self.expire()
        elif len(data) >= most:
            self.hold(BREATH)
            self._loop.call_soon(self.release, BREATH)

    def _pass_on_charged(self, data: bytes) -> None:
        started = time.perf_counter()
        self._pass_on(data, STRANGERS_READ)
        self.turnstile.charge(self.client, time.perf_counter() - started + HANDLING)

    def _pass_on_held(self, data: bytes) -> None:
        if not self.is_over:
            self._pass_on_charged(data)
            self.release(TURN)

    def _end_half_closed(self, begun: int, looks: int) -> None:
        """Close when nothing is left to answer; a body that is not whole by now never will be.

        aiohttp may have read more requests than it has begun with. They are ``begun`` one after the other, without a
        wait in between: when none has in ``looks`` turns of the loop, there is none.
        """
        if self.is_over or begun != self._begun or (self._is_answering and self.body_timer is None):
            return  # the end of an answer looks again
        if self.body_timer is not None:
            self.body_timer.reschedule(self._loop.time())
        elif looks:
            self._loop.call_soon(self._end_half_closed, begun, looks - 1)
        elif self._transport is not None:
            self._transport.close()

    def hold(self, reason: int) -> None:
        """Read nothing for ``reason``."""
        assert self._transport is not None
        if not self.held and not self._transport.is_closing():
            self._transport.pause_reading()
        self.held |= reason

    def release(self, reason: int) -> None:
        """Read on, unless there is another reason not to."""
        if not self.held & reason:
            return
        self.held &= ~reason
        assert self._transport is not None
        if not (self.held or self.is_half_closed or self.is_over or self._transport.is_closing()):
            self._transport.resume_reading()


class Outgoing(asyncio.Transport):
    """The transport as aiohttp sees it: what it writes and when it reads goes through the connection."""

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        super().__init__()
        self.connection = connection
        self._to = transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write."""
        self.connection.send(data if isinstance(data, bytes) else bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Write in one piece."""
        self.connection.send(b"".join(list_of_data))

    def pause_reading(self) -> None:
        """Read nothing for now."""
        self.connection.hold(FULL)

    def resume_reading(self) -> None:
        """Read on."""
        if self.connection.held:
            self.connection.release(FULL)

    def close(self) -> None:
        """Close when everything is written."""
        if not self._to.is_closing():
            self.connection.closing()
            self._to.close()

    def abort(self) -> None:
        """Close at once."""
        self._to.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._to.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the socket."""
        return self._to.get_extra_info(name, default)


def connection_of(request: web.BaseRequest) -> Connection:
    """The connection that a request has come on. Raises ConnectionResetError when its client has gone."""
    transport = request.transport
    if not isinstance(transport, Outgoing) or transport.connection.is_over:
        raise ConnectionResetError("the client has gone")
    return transport.connection
