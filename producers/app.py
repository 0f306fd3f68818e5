"""The routes: webhooks and health in public, the operator's pages on the internal port.

Rule: a webhook is answered 200 only after the broker has acknowledged it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from importlib import resources

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from producers.clients import Clients
from producers.http_error import HttpError
from producers.intake import Intake
from producers.limits import DEFAULT, Limits
from producers.publisher import BrokerUnavailableError, Publisher
from producers.responses import SERVER_HEADERS, answer
from producers.sampled import SampledLog
from producers.sources import ENDPOINTS
from producers.sources.endpoint import Endpoint
from producers.strangers import Strangers
from producers.webhook_route import Route, RouteContext, WebhookRoute
from producers.wrong_secrets import WrongSecrets
from stream import metrics
from stream.domain.identity import parse_denylist
from stream.domain.sources.lead import Source
from stream.logs import get_logger
from stream.settings import Settings

log = get_logger(__name__)

NOT_ACCEPTED = HttpError(503, "not accepted, the broker does not answer: send it again", {"Retry-After": "5"})
Routes = Mapping[str, Mapping[str, Route]]


class App:
    """All routes and what they share."""

    def __init__(
        self, settings: Settings, publisher: Publisher, now: Callable[[], datetime], limits: Limits = DEFAULT
    ) -> None:
        """``now``: the current time, with a time zone."""
        self._publisher = publisher
        self._context = RouteContext(
            Intake(
                publisher,
                settings.producer_duplicate_window,
                parse_denylist(settings.contact_denylist),
                now,
                settings.default_area_code,
            ),
            limits,
            Clients(settings.trusted_proxies),
            WrongSecrets(limits.wrong_secrets),
            Strangers(limits.connections_per_address),
        )
        self._sampled_log = SampledLog()
        self._openapi = resources.files("producers").joinpath("openapi.json").read_bytes()
        self._endpoints = {endpoint.path: endpoint for endpoint in served_endpoints(ENDPOINTS.values(), settings)}
        self._public: Routes = {
            **{path: {"POST": self._webhook(one, settings)} for path, one in self._endpoints.items()},
            "/healthz": {"GET": self._healthz},
        }
        self._internal: Routes = {
            "/healthz": {"GET": self._healthz},
            "/readyz": {"GET": self._readyz},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._openapi_document},
        }

    def _webhook(self, endpoint: Endpoint, settings: Settings) -> Route:
        return WebhookRoute(endpoint, getattr(settings, endpoint.setting), self._context).handler()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer a request from outside."""
        return await self._answer(self._public, request)

    async def handle_internal(self, request: web.BaseRequest) -> web.Response:
        """Answer a request of the operator."""
        return await self._answer(self._internal, request)

    async def _answer(self, routes: Routes, request: web.BaseRequest) -> web.Response:
        """Answer every request, failures included. No answer reveals internals."""
        try:
            return await _find_route(routes, request)(request)
        except HttpError as error:
            return self._refuse(request, error)
        except BrokerUnavailableError:
            self._count_refused(request, NOT_ACCEPTED)  # the intake and the publisher log the reason
            return answer(NOT_ACCEPTED.status, {"message": NOT_ACCEPTED.message}, NOT_ACCEPTED.headers)
        except ConnectionError:
            return answer(400, {"message": "the connection is closed"})  # the client has gone: nobody reads this
        except Exception:
            log.exception("unexpected error in a route", path=request.path)
            return answer(500, {"message": "internal server error"})

    def _refuse(self, request: web.BaseRequest, error: HttpError) -> web.Response:
        source = self._count_refused(request, error)
        if source is not None:
            # The path without its query: the query may hold the token.
            self._sampled_log.warning(
                "request refused",
                kind=(source, error.status),
                path=request.path,
                status=error.status,
                reason=error.message,
                client=self._context.client(request),
            )
        return answer(error.status, {"message": error.message}, error.headers)

    def _count_refused(self, request: web.BaseRequest, error: HttpError) -> Source | None:
        """Count a webhook that was refused. Returns its source; None for a request to another path."""
        endpoint = self._endpoints.get(request.path)
        if endpoint is None:
            return None
        metrics.RECEIVED.labels(endpoint.source, str(error.status)).inc()
        return endpoint.source

    async def _healthz(self, request: web.BaseRequest) -> web.Response:
        """Answer 200 as long as the event loop runs. The broker is a check of /readyz: a restart would not help it."""
        del request
        return answer(200, {"status": "ok"})

    async def _readyz(self, request: web.BaseRequest) -> web.Response:
        del request
        trouble = await self._publisher.trouble()
        body = {"status": "unavailable" if trouble else "ok", "checks": {"broker": trouble or "ok"}}
        return answer(503 if trouble else 200, body)

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        del request
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST, **SERVER_HEADERS})

    async def _openapi_document(self, request: web.BaseRequest) -> web.Response:
        del request
        return answer(200, self._openapi)


def served_endpoints(endpoints: Iterable[Endpoint], settings: Settings) -> list[Endpoint]:
    """The endpoints that have a secret or may be served without one."""
    return [
        one for one in endpoints if one.is_required or settings.allow_unauthenticated or getattr(settings, one.setting)
    ]


def _find_route(routes: Routes, request: web.BaseRequest) -> Route:
    # The raw path nearly always matches, and looking it up is cheap. The other one is decoded and has no query.
    methods = routes.get(request.raw_path) or routes.get(request.path)
    if methods is None:
        raise HttpError(404, "no such path")
    route = methods.get("GET" if request.method == "HEAD" else request.method)
    if route is None:
        raise HttpError(405, "method not allowed", {"Allow": ", ".join(methods)})
    return route
