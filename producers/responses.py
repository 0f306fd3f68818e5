"""What is answered: JSON, with nothing in its head that tells how we are built."""

from __future__ import annotations

import orjson
from aiohttp import hdrs, web
from multidict import CIMultiDict

JSON = "application/json"
SERVER = "lead-stream"  # all that we say of ourselves
OWN: dict[str, str] = {hdrs.SERVER: SERVER}  # aiohttp would name itself and its version to everybody
JSON_HEADERS: CIMultiDict[str] = CIMultiDict({**OWN, hdrs.CONTENT_TYPE: JSON})  # aiohttp copies these fastest


def answer(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer; bytes are JSON already."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return web.Response(body=content, status=status, headers={**headers, **JSON_HEADERS} if headers else JSON_HEADERS)


def plain_answer(status: int, reason: str, message: str, *headers: str) -> bytes:
    """The bytes of an answer that ends its connection, where no request was read that a response could belong to."""
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
