"""The worker's pages: /healthz, /readyz, /metrics. None of them holds an identifier."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

# Names of checks with what is wrong, "" where all is well.
Checks = Callable[[], Awaitable[dict[str, str]]]


def pages(
    healthy: Checks,
    ready: Checks,
    degraded: Callable[[], dict[str, str]],
    waits: Callable[[], dict[str, str]] = dict,
) -> web.Application:
    """Build the application of the three pages.

    ``degraded``: what is done without, while hits go on; ``waits``: what a healthy worker waits for.
    """
    app = web.Application()
    app.on_response_prepare.append(_anonymous)
    app.router.add_get("/healthz", _page(healthy, waits))
    app.router.add_get("/readyz", _page(ready, degraded))
    app.router.add_get("/metrics", _metrics)
    return app


def _page(checks: Checks, degraded: Callable[[], dict[str, str]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def page(request: web.Request) -> web.Response:
        del request
        found = await checks()
        without = degraded()
        bad = any(found.values())
        body = {
            "status": "unavailable" if bad else "degraded" if any(without.values()) else "ok",
            "checks": {name: reason or "ok" for name, reason in {**found, **without}.items()},
        }
        return web.Response(body=orjson.dumps(body), content_type="application/json", status=503 if bad else 200)

    return page


async def _anonymous(request: web.Request, response: web.StreamResponse) -> None:
    """Keep aiohttp from naming itself and its version."""
    del request
    response.headers["Server"] = "lead-stream"


async def _metrics(request: web.Request) -> web.Response:
    del request
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Serve ``app``; returns the runner, whose ``cleanup`` stops it. ``port`` 0 takes a free one."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
