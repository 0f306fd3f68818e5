"""aiohttp and ``send_and_wait``, with nothing else.

Promises: 200 after ``acks=all``, idempotent producer. No secret, lead, contact key, duplicates or dead letters.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import orjson
import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer

TOPIC = "webhooks"
PRODUCER = web.AppKey("producer", AIOKafkaProducer)


async def connected(app: web.Application) -> AsyncIterator[None]:
    """Keep a producer open while the application runs."""
    producer = AIOKafkaProducer(
        bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"], acks="all", enable_idempotence=True
    )
    await producer.start()
    app[PRODUCER] = producer
    yield
    await producer.stop()


async def receive(request: web.Request) -> web.Response:
    """Accept a webhook, or an array of webhooks."""
    body = orjson.loads(await request.read())
    producer = request.app[PRODUCER]
    if isinstance(body, list):
        sent = [await producer.send(TOPIC, orjson.dumps(one), key=one["id"].encode()) for one in body]
        await asyncio.gather(*sent)
    else:
        await producer.send_and_wait(TOPIC, orjson.dumps(body), key=body["id"].encode())
    return web.json_response({"status": "received"}, dumps=lambda body: orjson.dumps(body).decode())


if __name__ == "__main__":
    app = web.Application()
    app.cleanup_ctx.append(connected)
    app.router.add_post("/api/v1/webhooks/c2s", receive)
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(os.environ["PRODUCER_PORT"]),
        loop=uvloop.new_event_loop(),
        print=lambda *_: None,
    )
