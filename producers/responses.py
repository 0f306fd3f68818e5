"""Makes answers: JSON, with headers that reveal nothing of the server's software."""

from __future__ import annotations

import orjson
from aiohttp import hdrs, web
from multidict import CIMultiDict

JSON = "application/json"
SERVER = "lead-stream"
SERVER_HEADERS: dict[str, str] = {hdrs.SERVER: SERVER}  # aiohttp would name itself and its version to everybody
JSON_HEADERS: CIMultiDict[str] = CIMultiDict(
    {**SERVER_HEADERS, hdrs.CONTENT_TYPE: JSON}
)  # aiohttp copies these fastest


def answer(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer. A ``body`` of bytes is JSON already."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return web.Response(body=content, status=status, headers={**headers, **JSON_HEADERS} if headers else JSON_HEADERS)


def raw_answer(status: int, reason: str, message: str, *headers: str) -> bytes:
    """The bytes of an answer that closes its connection, for clients whose request was not read."""
    body = orjson.dumps({"message": message})
    lines = (
        f"HTTP/1.1 {status} {reason}",
        f"Content-Type: {JSON}",
        f"Content-Length: {len(body)}",
        f"Server: {SERVER}",
        "Connection: close",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
