"""The HTTP server below the routes: limits on connections, heads, bodies and time; no stack trace to anybody.

aiohttp's low-level server: six fixed paths need no router. aiohttp itself closes what is silent for IDLE
seconds; that is above the usual idle time of a load balancer, so that the balancer is the one to close.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

from aiohttp import HttpVersion11, hdrs, web

from producers.answers import answer
from producers.refusal import RefusalError
from stream.domain.errors import StopError
from stream.logs import get_logger

log = get_logger(__name__)

LARGEST_BODY = 1_048_576  # bytes
LARGEST_LINE = 8_190  # bytes of the request line, and of one header
MOST_HEADERS = 64
IDLE = 75.0  # seconds of silence
HEAD_LIMIT = 15.0  # seconds for a head, from its first byte
BODY_LIMIT = 15.0  # seconds for a body, from its head
LINGER = 2.0  # seconds for what a refused client is still sending
BACKLOG = 1_024  # connections that the kernel keeps for us

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
TURNED_AWAY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


async def read_body(request: web.BaseRequest) -> bytes:
    """The body. Raises RefusalError when it is too large, too slow, broken off or compressed."""
    headers, content = request.headers, request.content
    is_whole = content.is_eof()  # all of it came with the head
    if not is_whole and (request.content_length or 0) > LARGEST_BODY:
        raise RefusalError(413, f"at most {LARGEST_BODY} bytes")
    if headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise RefusalError(415, "send it uncompressed")
    if hdrs.EXPECT in headers:
        await _continue(request)
    if is_whole:
        body = content.read_nowait()
        _not_too_large(body)
        return body
    try:
        async with asyncio.timeout(BODY_LIMIT):
            return await _collect(content.readany)
    except TimeoutError:
        raise RefusalError(408, f"the whole body within {BODY_LIMIT:.0f} s", {"Connection": "close"}) from None
    except (web.RequestPayloadError, ConnectionError):
        raise RefusalError(400, "the body broke off", {"Connection": "close"}) from None


async def _collect(read: Callable[[], Awaitable[bytes]]) -> bytes:
    chunks = bytearray()
    while chunk := await read():
        chunks += chunk
        _not_too_large(chunks)
    return bytes(chunks)


def _not_too_large(body: bytes | bytearray) -> None:
    if len(body) > LARGEST_BODY:
        raise RefusalError(413, f"at most {LARGEST_BODY} bytes")


async def _continue(request: web.BaseRequest) -> None:
    """Tell a client that asks first (curl does, for large bodies) to go on."""
    if request.version < HttpVersion11:
        return
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        raise RefusalError(417, "only 100-continue may be expected")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # the answer proper has not begun


class _Inline:
    """The loop for a connection's own task, with requests run in that task.

    aiohttp makes a task for each; from Python 3.12 on it begins it at once, before that in the next turn of the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.time, self.call_at, self.create_future = loop.time, loop.call_at, loop.create_future  # what is asked for
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    @staticmethod
    def create_task(request: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """What is awaited in place of a task."""
        return request


class _Connection(web.RequestHandler):
    """One connection: its heads in bounded time, its errors answered and logged without an echo of what was sent."""

    __slots__ = ("_head_timer", "_is_simple")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._is_simple = True  # so far each request came in one piece, and after the answer before it
        self._head_timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first of a head start its time, where the rest of it has not come with them."""
        is_answering = self._current_request is not None
        if self._head_timer is None and not is_answering and not _is_whole_head(data):
            self._head_timer = asyncio.get_running_loop().call_later(HEAD_LIMIT, self.force_close)
        if is_answering or self._messages:
            self._is_simple = False
        super().data_received(data)
        if self._messages:
            self._stop_timer()  # a head is whole
            if len(self._messages) > 1:
                self._is_simple = False

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's own
        """Go on reading. aiohttp says so twice a request, and looks for another one in what lies unread.

        From a client that waits for its answers nothing does, unless reading was paused.
        """
        if not self._is_simple or self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    async def start(self) -> None:
        """Take requests until the end of the connection."""
        if sys.version_info < (3, 12):
            self._loop = cast("asyncio.AbstractEventLoop", _Inline(self._loop))
        await super().start()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read as HTTP, or what failed below the routes."""
        del message
        log.warning("a request failed below the routes", status=status, error=type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("half an answer is sent already")
        text = "this is not HTTP" if status == 400 else "an error of ours"  # noqa: PLR2004
        response = answer(status, {"message": text}, {})
        response.force_close()
        return response


def _is_whole_head(data: bytes) -> bool:
    """Whether a head begins with the first byte of ``data`` (empty lines before it are not one) and ends in it."""
    return data[:1].isalpha() and b"\r\n\r\n" in data


class _TurnedAway(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(TURNED_AWAY)
        transport.close()


class Server(web.Server):
    """The server, with a bound on its connections."""

    def __init__(self, handler: Handler, most_connections: int) -> None:
        super().__init__(handler)
        self._most = most_connections

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]
        """The protocol of a new connection."""
        if len(self.connections) >= self._most:
            return _TurnedAway()
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # it would hold the token of the URL
            keepalive_timeout=IDLE,
            lingering_time=LINGER,
            max_line_size=LARGEST_LINE,
            max_field_size=LARGEST_LINE,
            max_headers=MOST_HEADERS,
            auto_decompress=False,
        )


@asynccontextmanager
async def listen(handler: Handler, host: str, port: int, most_connections: int, grace: float) -> AsyncIterator[int]:
    """Serve; gives the port (0 takes a free one). At the end: stop accepting, let requests end within ``grace`` s.

    Raises StopError when the address can't be had.
    """
    # aiohttp waits its time-out twice: for the handlers, and for what they left after they were told to go.
    runner = web.ServerRunner(Server(handler, most_connections), shutdown_timeout=grace / 2)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=BACKLOG)
    try:
        try:
            await site.start()
        except OSError as error:
            raise StopError(f"can't listen on {host} port {port}: {error.strerror}") from error
        yield site.port
    finally:
        await runner.cleanup()
