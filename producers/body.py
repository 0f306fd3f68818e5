"""Reads the body of a request: bounded in size, in time and, over all requests, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

from aiohttp import HttpVersion11, hdrs, web

from producers.connection import Connection, connection_of
from producers.http_error import HttpError

Read = Callable[[], Awaitable[bytes]]
CLOSE: dict[str, str] = {hdrs.CONNECTION: "close"}


class BodyBudget:
    """Bytes that the unfinished requests of one route may hold together."""

    def __init__(self, most: int) -> None:
        self.left = most

    def hold(self) -> HeldBody:
        """The bytes of one request, given back at the end of the ``with``."""
        return HeldBody(self)


class HeldBody:
    """What one request holds of a budget."""

    __slots__ = ("_budget", "_held")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._held = 0

    def grow(self, count: int) -> None:
        """Take ``count`` bytes more. Raises HttpError when they are not there."""
        if count > self._budget.left:
            raise HttpError(503, "too much is being received: send it again", {"Retry-After": "1"})
        self._budget.left -= count
        self._held += count

    def __enter__(self) -> HeldBody:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.left += self._held
        self._held = 0


async def read_body(request: web.BaseRequest, most: int, seconds: float, held: HeldBody) -> bytes:
    """The body, at most ``most`` bytes within ``seconds``.

    Raises HttpError when it is too large (by its announced length, before it is read), too slow, broken off or
    compressed.
    """
    headers, content = request.headers, request.content
    if (request.content_length or 0) > most:
        raise _too_large(most)
    if headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise HttpError(415, "send it uncompressed")
    connection = connection_of(request)
    if hdrs.EXPECT in headers:
        _continue(request, connection)
    if content.is_eof():  # all of it came with the head
        body = content.read_nowait()
        if len(body) > most:
            raise _too_large(most)
        held.grow(len(body))
        return body
    try:
        # What a client has sent before it ended its side has come by now.
        async with asyncio.timeout(0 if connection.is_half_closed else seconds) as connection.body_timer:
            return await _collect(content.readany, most, held)
    except TimeoutError:
        if connection.is_half_closed:
            raise _broken_off() from None
        raise HttpError(408, f"the whole body within {seconds:.0f} s", CLOSE) from None
    except (web.RequestPayloadError, ConnectionError):
        raise _broken_off() from None
    finally:
        connection.body_timer = None


async def _collect(read: Read, most: int, held: HeldBody) -> bytes:
    chunks = bytearray()
    while chunk := await read():
        held.grow(len(chunk))
        chunks += chunk
        if len(chunks) > most:
            raise _too_large(most)
    return bytes(chunks)


def _too_large(most: int) -> HttpError:
    return HttpError(413, f"at most {most} bytes")


def _broken_off() -> HttpError:
    return HttpError(400, "the body broke off", CLOSE)


def _continue(request: web.BaseRequest, connection: Connection) -> None:
    """Tell a client that asks first (curl does, for large bodies) to go on."""
    if request.version < HttpVersion11:
        return
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        raise HttpError(417, "only 100-continue may be expected")
    connection.ask_for_body()
