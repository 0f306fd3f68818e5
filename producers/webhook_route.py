"""The route of one webhook endpoint: verify the sender, read the body within limits, publish, answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import assert_never

from aiohttp import hdrs, web
from pydantic import SecretStr

from producers.auth import SharedSecrets
from producers.body import BodyBudget, BodyReservation, read_body
from producers.clients import UNKNOWN, Clients
from producers.connection import connection_of
from producers.http_error import HttpError
from producers.intake import Intake
from producers.limits import KIB, Limits
from producers.presentation import BasicAuth, BodyField, HeaderOrUrl, InHead, presented, refusal
from producers.responses import answer
from producers.sources.endpoint import Endpoint
from producers.strangers import Strangers
from producers.wrong_secrets import WrongSecrets

ORDINARY_FORM_BYTES = 2 * KIB  # larger bodies of strangers wait for the fair scheduler before they are parsed
Route = Callable[[web.BaseRequest], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class RouteContext:
    """What the routes of all endpoints share."""

    intake: Intake
    limits: Limits
    clients: Clients
    wrong_secrets: WrongSecrets
    strangers: Strangers

    def client(self, request: web.BaseRequest) -> str:
        """The name of the client that sent a request."""
        return self.clients.name(request.remote or UNKNOWN, request.headers.getall(hdrs.X_FORWARDED_FOR, ()))


class WebhookRoute:
    """Serves one endpoint."""

    def __init__(self, endpoint: Endpoint, secrets: tuple[SecretStr, ...], context: RouteContext) -> None:
        """``secrets``: all of them are valid; without any, everybody may post."""
        self._endpoint = endpoint
        self._context = context
        self._secrets = SharedSecrets(secrets)
        self._body_seconds = min(context.limits.body, endpoint.answer_seconds or context.limits.body)

    def handler(self) -> Route:
        """The function that answers a request."""
        presentation, limits = self._endpoint.presentation, self._context.limits
        match presentation:
            case HeaderOrUrl() | BasicAuth():
                budget, in_head = BodyBudget(limits.event_bytes), presentation

                async def handle(request: web.BaseRequest) -> web.Response:
                    return await self._verify_then_read(request, in_head, budget)

            case BodyField():
                budget = BodyBudget(limits.form_bytes)

                async def handle(request: web.BaseRequest) -> web.Response:
                    return await self._read_then_verify(request, budget)

            case _:
                assert_never(presentation)
        return handle

    async def _verify_then_read(
        self, request: web.BaseRequest, presentation: InHead, budget: BodyBudget
    ) -> web.Response:
        """Answer a request whose secret is in its head: verify it before the body is read."""
        deadline = self._deadline()
        if not self._secrets.verify(presented(presentation, request)):
            raise self._wrong_secret(request)
        self._mark_authenticated(request, self._context.client(request))
        with budget.reservation() as reservation:
            _, raw_webhooks = self._endpoint.split(await self._body(request, reservation))
            receipt = await self._context.intake.take(self._endpoint.source, raw_webhooks, deadline)
            return answer(*self._endpoint.answer(receipt))

    async def _read_then_verify(self, request: web.BaseRequest, budget: BodyBudget) -> web.Response:
        """Answer a request whose secret is in its body: each stranger may have few such requests at once."""
        deadline, connection = self._deadline(), connection_of(request)
        with budget.reservation() as reservation:
            client = self._context.client(request)
            with self._context.strangers.admit(client):
                body = await self._body(request, reservation)
                if len(body) > ORDINARY_FORM_BYTES and not connection.has_shown_secret:
                    await connection.scheduler.wait(client)
                started = time.perf_counter()
                try:
                    secret, raw_webhooks = self._endpoint.split(body)
                finally:
                    connection.scheduler.charge(client, time.perf_counter() - started)
            if not self._secrets.verify(secret):
                raise self._wrong_secret(request)
            self._mark_authenticated(request, client)
            receipt = await self._context.intake.take(self._endpoint.source, raw_webhooks, deadline)
            return answer(*self._endpoint.answer(receipt))

    @staticmethod
    def _mark_authenticated(request: web.BaseRequest, client: str) -> None:
        connection = connection_of(request)
        connection.is_authenticated = True
        connection.scheduler.favour(client)

    async def _body(self, request: web.BaseRequest, reservation: BodyReservation) -> bytes:
        return await read_body(request, self._endpoint.max_body_bytes, self._body_seconds, reservation)

    def _deadline(self) -> float | None:
        """Loop time by which the sender must have its answer; None: the source sets no limit."""
        seconds = self._endpoint.answer_seconds
        return None if seconds is None else asyncio.get_running_loop().time() + seconds

    def _wrong_secret(self, request: web.BaseRequest) -> HttpError:
        """Count a wrong secret and make its answer. A right secret is served however many wrong ones came before."""
        seconds = self._context.wrong_secrets.count(self._context.client(request))
        if seconds:
            return HttpError(429, "too many wrong secrets", {hdrs.RETRY_AFTER: str(seconds)})
        return HttpError(401, *refusal(self._endpoint.presentation))
