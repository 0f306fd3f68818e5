"""The routes: two webhooks and health in public, the operator's pages inside. No 200 before the acknowledgement."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from importlib import resources

from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from producers import c2s, google_ads
from producers.auth import SharedSecrets
from producers.body import BodyBudget, read_body
from producers.clients import UNKNOWN, Clients
from producers.connection import connection_of
from producers.intake import Intake
from producers.limits import DEFAULT, KIB, MIB, Limits
from producers.publisher import BrokerUnavailableError, Publisher
from producers.refusal import RefusalError
from producers.responses import OWN, answer
from producers.sampled import SampledLog
from producers.strangers import Strangers
from producers.turnstile import Turnstile
from producers.wrong_secrets import WrongSecrets
from stream import metrics
from stream.domain.identity import denylist
from stream.domain.leads import Source
from stream.logs import get_logger
from stream.settings import Settings

log = get_logger(__name__)

LARGEST_EVENTS = MIB  # bytes of a body of C2S, which is read from an authenticated sender only
LARGEST_FORM = 64 * KIB  # bytes of a body of Google, whose key is in the body
ORDINARY_FORM = 2 * KIB  # bytes; larger ones are taken apart one in a turn of the loop
RETRY_AFTER = "5"  # seconds
Route = Callable[[web.BaseRequest], Awaitable[web.Response]]
Routes = Mapping[str, Mapping[str, Route]]
SOURCES = {c2s.PATH: Source.C2S, google_ads.PATH: Source.GOOGLE_ADS}


class App:
    """All routes, and what they share."""

    def __init__(
        self, settings: Settings, publisher: Publisher, now: Callable[[], datetime], limits: Limits = DEFAULT
    ) -> None:
        """``now``: the time of day, aware."""
        self._publisher = publisher
        self._intake = Intake(
            publisher,
            settings.producer_duplicate_window,
            denylist(settings.contact_denylist),
            now,
            settings.default_area_code,
        )
        self._limits = limits
        self._c2s_secrets = SharedSecrets(settings.c2s_webhook_token)
        self._google_secrets = SharedSecrets(settings.google_ads_key)
        self._events = BodyBudget(limits.events)
        self._forms = BodyBudget(limits.forms)
        self._clients = Clients(settings.trusted_proxies)
        self._wrong_secrets = WrongSecrets(limits.wrong_secrets)
        self._strangers = Strangers(limits.per_address)
        self._large_forms = Turnstile()
        self._lines = SampledLog()
        self._openapi = resources.files("producers").joinpath("openapi.json").read_bytes()
        self._public: Routes = {
            c2s.PATH: {"POST": self._c2s},
            google_ads.PATH: {"POST": self._google_ads},
            "/healthz": {"GET": self._healthz},
        }
        self._internal: Routes = {
            "/healthz": {"GET": self._healthz},
            "/readyz": {"GET": self._readyz},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._document},
        }

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer a request from outside."""
        return await self._answer(self._public, request)

    async def handle_internal(self, request: web.BaseRequest) -> web.Response:
        """Answer a request of the operator."""
        return await self._answer(self._internal, request)

    async def _answer(self, routes: Routes, request: web.BaseRequest) -> web.Response:
        """Every failure has an answer, and none says how we are built."""
        try:
            return await _route(routes, request)(request)
        except RefusalError as error:
            return self._refused(request, error)
        except BrokerUnavailableError:
            message = "not accepted, the broker does not answer: send it again"
            return self._refused(request, RefusalError(503, message, {"Retry-After": RETRY_AFTER}))
        except ConnectionError:
            return answer(400, {"message": "the connection broke off"})  # which nobody reads
        except Exception:
            log.exception("a route failed in a way nobody foresaw", path=request.path)
            return answer(500, {"message": "internal server error"})

    def _refused(self, request: web.BaseRequest, error: RefusalError) -> web.Response:
        source = SOURCES.get(request.path)
        if source is not None:
            metrics.RECEIVED.labels(source, str(error.status)).inc()
            # The path without its query, which may hold the token.
            self._lines.warning(
                "request refused",
                kind=(source, error.status),
                path=request.path,
                status=error.status,
                reason=error.message,
                client=self._client(request),
            )
        return answer(error.status, {"message": error.message}, error.headers)

    async def _c2s(self, request: web.BaseRequest) -> web.Response:
        """The token comes in a header, or in the subscribed URL; it is looked at before the body is read."""
        token = request.headers.get(c2s.TOKEN_HEADER)
        if not self._c2s_secrets.verify(request.query.get(c2s.TOKEN_PARAMETER) if token is None else token):
            raise self._wrong(request, f"wrong or missing secret; header {c2s.TOKEN_HEADER}, or token in the URL")
        connection_of(request).is_authenticated = True
        with self._events.hold() as held:
            body = await read_body(request, LARGEST_EVENTS, self._limits.body, held)
            return answer(*c2s.answer(await self._intake.take(Source.C2S, c2s.parts(body))))

    async def _google_ads(self, request: web.BaseRequest) -> web.Response:
        """The key comes in the body: Google does not sign."""
        with self._forms.hold() as held:
            with self._strangers.hold(self._client(request)):
                body = await read_body(request, LARGEST_FORM, self._limits.body, held)
                if len(body) > ORDINARY_FORM:
                    await self._large_forms.wait()
                form = google_ads.form(body)
            if not self._google_secrets.verify(form.key):
                raise self._wrong(request, "wrong or missing google_key")
            return answer(*google_ads.answer(await self._intake.take(Source.GOOGLE_ADS, iter((form.part,)))))

    def _wrong(self, request: web.BaseRequest, message: str) -> RefusalError:
        """A right secret never comes here: whatever a client has guessed, it is served."""
        seconds = self._wrong_secrets.count(self._client(request))
        if seconds:
            return RefusalError(429, "too many wrong secrets", {hdrs.RETRY_AFTER: str(seconds)})
        return RefusalError(401, message)

    def _client(self, request: web.BaseRequest) -> str:
        return self._clients.name(request.remote or UNKNOWN, request.headers.getall(hdrs.X_FORWARDED_FOR, ()))

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


def _route(routes: Routes, request: web.BaseRequest) -> Route:
    # As it was typed nearly always; without its query, and decoded, where it was not.
    methods = routes.get(request.raw_path) or routes.get(request.path)
    if methods is None:
        raise RefusalError(404, "no such path")
    route = methods.get("GET" if request.method == "HEAD" else request.method)
    if route is None:
        raise RefusalError(405, "method not allowed", {"Allow": ", ".join(methods)})
    return route
