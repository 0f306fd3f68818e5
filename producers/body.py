"""Reads the body of a request: limited in size, in time and, over all requests, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

from aiohttp import HttpVersion11, hdrs, web

from producers.connection import Connection, connection_of
from producers.http_error import HttpError

Read = Callable[[], Awaitable[bytes]]
CLOSE_CONNECTION: dict[str, str] = {hdrs.CONNECTION: "close"}


class BodyBudget:
    """The bytes that the unfinished requests of one route may hold together."""

    def __init__(self, max_bytes: int) -> None:
        self.free_bytes = max_bytes

    def reservation(self) -> BodyReservation:
        """The bytes of one request, returned at the end of the ``with``."""
        return BodyReservation(self)


class BodyReservation:
    """The bytes of a budget that one request holds."""

    __slots__ = ("_budget", "_reserved")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._reserved = 0

    def reserve(self, count: int) -> None:
        """Take ``count`` more bytes. Raises HttpError when the budget does not have them."""
        if count > self._budget.free_bytes:
            raise HttpError(503, "too many bytes are being received: send it again", {"Retry-After": "1"})
        self._budget.free_bytes -= count
        self._reserved += count

    def __enter__(self) -> BodyReservation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.free_bytes += self._reserved
        self._reserved = 0


async def read_body(request: web.BaseRequest, max_bytes: int, seconds: float, reservation: BodyReservation) -> bytes:
    """The body, at most ``max_bytes`` within ``seconds``.

    Raises HttpError when the body is too large, too slow, incomplete or compressed. A body that announces a larger
    length is refused before it is read.
    """
    headers, content = request.headers, request.content
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    if headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise HttpError(415, "send it uncompressed")
    connection = connection_of(request)
    if hdrs.EXPECT in headers:
        _send_continue(request, connection)
    if content.is_eof():  # the whole body came with the head
        body = content.read_nowait()
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        reservation.reserve(len(body))
        return body
    try:
        # A client that has ended its side sends nothing more: its body is here or incomplete.
        async with asyncio.timeout(0 if connection.is_half_closed else seconds) as connection.body_timer:
            return await _collect(content.readany, max_bytes, reservation)
    except TimeoutError:
        if connection.is_half_closed:
            raise _incomplete() from None
        raise HttpError(408, f"the body did not arrive within {seconds:.0f} s", CLOSE_CONNECTION) from None
    except (web.RequestPayloadError, ConnectionError):
        raise _incomplete() from None
    finally:
        connection.body_timer = None


async def _collect(read: Read, max_bytes: int, reservation: BodyReservation) -> bytes:
    chunks = bytearray()
    while chunk := await read():
        reservation.reserve(len(chunk))
        chunks += chunk
        if len(chunks) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(chunks)


def _too_large(max_bytes: int) -> HttpError:
    return HttpError(413, f"at most {max_bytes} bytes")


def _incomplete() -> HttpError:
    return HttpError(400, "the body is incomplete", CLOSE_CONNECTION)


def _send_continue(request: web.BaseRequest, connection: Connection) -> None:
    """Tell a client that sent ``Expect: 100-continue``, as curl does for large bodies, to send the body."""
    if request.version < HttpVersion11:
        return
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        raise HttpError(417, "the only supported expectation is 100-continue")
    connection.send_continue()
