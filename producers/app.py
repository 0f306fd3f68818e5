"""The routes: two webhooks, health, metrics, the OpenAPI document. Never a 200 before the broker has acknowledged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from importlib import resources

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from producers import c2s, google_ads
from producers.answers import OWN, answer
from producers.auth import Lock
from producers.intake import Intake
from producers.publisher import BrokerUnavailableError, Publisher
from producers.refusal import RefusalError
from producers.server import read_body
from stream import metrics
from stream.domain.identity import denylist
from stream.domain.leads import Source
from stream.logs import get_logger
from stream.settings import Settings

log = get_logger(__name__)

RETRY_AFTER = "5"  # seconds
Route = Callable[[web.BaseRequest], Awaitable[web.Response]]


class App:
    """All routes, and what they share."""

    def __init__(self, settings: Settings, publisher: Publisher, now: Callable[[], datetime]) -> None:
        """``now``: the time of day, aware."""
        self._publisher = publisher
        self._intake = Intake(
            publisher,
            settings.producer_duplicate_window,
            denylist(settings.contact_denylist),
            now,
            settings.default_area_code,
        )
        self._c2s_lock = Lock(settings.c2s_webhook_token)
        self._google_lock = Lock(settings.google_ads_key)
        self._openapi = resources.files("producers").joinpath("openapi.json").read_bytes()
        self._routes: dict[str, dict[str, Route]] = {
            c2s.PATH: {"POST": self._c2s},
            google_ads.PATH: {"POST": self._google_ads},
            "/healthz": {"GET": self._healthz},
            "/readyz": {"GET": self._readyz},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._document},
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; every failure has an answer, and none says how we are built."""
        try:
            return await self._route(request)(request)
        except RefusalError as error:
            return self._refused(request, error)
        except BrokerUnavailableError as error:
            return self._refused(request, _unavailable(error))
        except Exception:
            log.exception("a route failed in a way nobody foresaw", path=request.path)
            return answer(500, {"message": "an error of ours"})

    def _route(self, request: web.BaseRequest) -> Route:
        # As it was typed nearly always; without its query, and decoded, where it was not.
        methods = self._routes.get(request.raw_path) or self._routes.get(request.path)
        if methods is None:
            raise RefusalError(404, "no such path")
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            raise RefusalError(405, "no such method here", {"Allow": ", ".join(methods)})
        return route

    def _refused(self, request: web.BaseRequest, error: RefusalError) -> web.Response:
        source = {c2s.PATH: Source.C2S, google_ads.PATH: Source.GOOGLE_ADS}.get(request.path)
        if source is not None:
            metrics.RECEIVED.labels(source, str(error.status)).inc()
            reason = str(error.__cause__ or error)
            # The path without its query, which may hold the token.
            log.warning("refused", path=request.path, status=error.status, reason=reason, remote=request.remote)
        return answer(error.status, {"message": error.message}, error.headers)

    async def _c2s(self, request: web.BaseRequest) -> web.Response:
        """The token comes in a header, or in the subscribed URL; it is looked at before the body is read."""
        token = request.headers.get(c2s.TOKEN_HEADER)
        if not self._c2s_lock.admits(request.query.get(c2s.TOKEN_PARAMETER) if token is None else token):
            raise RefusalError(401, f"wrong or missing secret; header {c2s.TOKEN_HEADER}, or token in the URL")
        body = await read_body(request)
        return answer(*c2s.answer(await self._intake.take(Source.C2S, c2s.parts(body))))

    async def _google_ads(self, request: web.BaseRequest) -> web.Response:
        """The key comes in the body: Google does not sign."""
        form = google_ads.form(await read_body(request))
        if not self._google_lock.admits(form.key):
            raise RefusalError(401, "wrong or missing google_key")
        return answer(*google_ads.answer(await self._intake.take(Source.GOOGLE_ADS, iter((form.part,)))))

    async def _healthz(self, request: web.BaseRequest) -> web.Response:
        """The loop turns: that is all there is to be healthy of. A broker that is away is not our illness."""
        del request
        return answer(200, {"status": "ok"})

    async def _readyz(self, request: web.BaseRequest) -> web.Response:
        del request
        trouble = await self._publisher.trouble()
        body = {"status": "unavailable" if trouble else "ok", "checks": {"broker": trouble or "ok"}}
        return answer(503 if trouble else 200, body)

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        del request
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST, **OWN})

    async def _document(self, request: web.BaseRequest) -> web.Response:
        del request
        return answer(200, self._openapi)


def _unavailable(error: BrokerUnavailableError) -> RefusalError:
    message = "not accepted, the broker does not answer: send it again"
    refusal = RefusalError(503, message, {"Retry-After": RETRY_AFTER})
    refusal.__cause__ = error
    return refusal
