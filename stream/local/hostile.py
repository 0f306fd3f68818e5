"""Answers of a hostile or broken partner. They must be a failure of that partner and of nothing else."""

from __future__ import annotations

import asyncio
import zlib
from functools import cache

import orjson
from aiohttp import web

MEBIBYTE = 1024 * 1024
BOMB_MIB = 256  # of zeros, compressed
JSON = "application/json"
BODIES: dict[str, bytes] = {
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "latin-1": '[{"nome": "JOSÉ", "cpf": "52998224725"}]'.encode("latin-1"),
    "utf-16": orjson.dumps([{"nome": "A", "cpf": "52998224725"}]).decode().encode("utf-16"),
    "NaN": b'[{"nome": NaN, "cpf": Infinity}]',
    "types": b'{"DadosBasicos": ["none"], "nome": {"a": 1}}',
    "large": b'["' + b"x" * 2 * MEBIBYTE + b'"]',
    "many values": b"[" + b"1," * 200_000 + b"1]",
}
KINDS = (*BODIES, "bomb", "brotli", "endless", "slow")


async def hostile(kind: str, request: web.Request) -> web.StreamResponse:
    """The answer of a kind, one of ``KINDS``. Raises KeyError for another kind."""
    match kind:
        case "bomb":
            return web.Response(body=_bomb(), content_type=JSON, headers={"Content-Encoding": "gzip"})
        case "brotli":
            return web.Response(body=b"\x0b\x02\x80[]\x03", content_type=JSON, headers={"Content-Encoding": "br"})
        case "endless":
            return await _endless(request, b" " * 65_536, 0.0)
        case "slow":
            return await _endless(request, b" ", 0.05)
        case _:
            return web.Response(body=BODIES[kind], content_type=JSON)


async def _endless(request: web.Request, chunk: bytes, pause: float) -> web.StreamResponse:
    """Write until the client closes the connection."""
    response = web.StreamResponse(headers={"Content-Type": JSON})
    await response.prepare(request)
    while request.transport is not None and not request.transport.is_closing():
        await response.write(chunk)
        await asyncio.sleep(pause)
    return response


@cache
def _bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(MEBIBYTE)) for _ in range(BOMB_MIB)) + packer.flush()
