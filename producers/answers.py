"""What is answered: JSON, with nothing in its head that tells how we are built."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

import orjson
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter

JSON = "application/json"
SERVER = "lead-stream"  # all that we say of ourselves
OWN: dict[str, str] = {hdrs.SERVER: SERVER}  # aiohttp would name itself and its version to everybody


def answer(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer; bytes are JSON already."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    if headers is None:
        return _Short(status, content)
    return web.Response(body=content, status=status, content_type=JSON, headers={**headers, **OWN})


class _Short(web.Response):
    """An answer with no other headers than each has. To a client that stays it is written whole, at once.

    Only where something is special it becomes a response of aiohttp's, which costs more than all the rest of it.
    """

    def __init__(self, status: int, content: bytes) -> None:
        self._short = status, content
        self._is_written = False

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays; None is for aiohttp to decide."""
        return self._is_written or super().keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write all of it, where nothing is special."""
        status, content = self._short
        if not request.keep_alive or request.version != HttpVersion11 or request.method == hdrs.METH_HEAD:
            super().__init__(body=content, status=status, content_type=JSON, headers=OWN)
            return await super().prepare(request)
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._is_written = True
        transport.write(_head(status, len(content), int(time.time())) + content)
        if request.protocol.writing_paused:  # the client does not read: what is kept for it is bounded
            await request.writer.drain()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """End what is not written yet."""
        if not self._is_written:
            await super().write_eof(data)


@lru_cache(maxsize=64)
def _head(status: int, length: int, second: int) -> bytes:
    """The head of an answer; ``second``: of the epoch."""
    return (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {JSON}\r\nContent-Length: {length}\r\n"
        f"Date: {formatdate(second, usegmt=True)}\r\nServer: {SERVER}\r\n\r\n"
    ).encode()
