"""Bare aiohttp: reads the body and answers. It promises nothing: the floor of a request's cost."""

from __future__ import annotations

import os

import orjson
import uvloop
from aiohttp import web


async def receive(request: web.Request) -> web.Response:
    """Accept a webhook, or an array of webhooks."""
    orjson.loads(await request.read())
    return web.json_response({"status": "received"}, dumps=lambda body: orjson.dumps(body).decode())


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/api/v1/webhooks/c2s", receive)
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(os.environ["PRODUCER_PORT"]),
        loop=uvloop.new_event_loop(),
        print=lambda *_: None,
    )
