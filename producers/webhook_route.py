"""The route of one webhook endpoint: verify the sender, read the body in bounds, publish, answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import assert_never

from aiohttp import hdrs, web
from pydantic import SecretStr

from producers.auth import SharedSecrets
from producers.body import BodyBudget, HeldBody, read_body
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

ORDINARY_FORM = 2 * KIB  # bytes; larger bodies of strangers are taken apart one in a turn of the loop
Route = Callable[[web.BaseRequest], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Shared:
    """What the routes of all endpoints share."""

    intake: Intake
    limits: Limits
    clients: Clients
    wrong_secrets: WrongSecrets
    strangers: Strangers

    def client(self, request: web.BaseRequest) -> str:
        """Who sent a request."""
        return self.clients.name(request.remote or UNKNOWN, request.headers.getall(hdrs.X_FORWARDED_FOR, ()))


class WebhookRoute:
    """Serves one endpoint."""

    def __init__(self, endpoint: Endpoint, secrets: tuple[SecretStr, ...], shared: Shared) -> None:
        """``secrets``: several are valid during a rotation; without any, everybody may post."""
        self._endpoint = endpoint
        self._shared = shared
        self._secrets = SharedSecrets(secrets)
        self._seconds = min(shared.limits.body, endpoint.answer_seconds or shared.limits.body)

    def handler(self) -> Route:
        """What answers a request."""
        how, limits = self._endpoint.presentation, self._shared.limits
        match how:
            case HeaderOrUrl() | BasicAuth():
                budget, in_head = BodyBudget(limits.events), how

                async def handle(request: web.BaseRequest) -> web.Response:
                    return await self._verify_then_read(request, in_head, budget)

            case BodyField():
                budget = BodyBudget(limits.forms)

                async def handle(request: web.BaseRequest) -> web.Response:
                    return await self._read_then_verify(request, budget)

            case _:
                assert_never(how)
        return handle

    async def _verify_then_read(self, request: web.BaseRequest, how: InHead, budget: BodyBudget) -> web.Response:
        """The secret is verified before the body is read."""
        until = self._until()
        if not self._secrets.verify(presented(how, request)):
            raise self._wrong(request)
        self._trust(request, self._shared.client(request))
        with budget.hold() as held:
            _, parts = self._endpoint.split(await self._body(request, held))
            receipt = await self._shared.intake.take(self._endpoint.source, parts, until)
            return answer(*self._endpoint.answer(receipt))

    async def _read_then_verify(self, request: web.BaseRequest, budget: BodyBudget) -> web.Response:
        """The secret is in the body: strangers have few requests under way at once."""
        until, connection = self._until(), connection_of(request)
        with budget.hold() as held:
            client = self._shared.client(request)
            with self._shared.strangers.hold(client):
                body = await self._body(request, held)
                if len(body) > ORDINARY_FORM and not connection.is_trusted:
                    await connection.turnstile.wait(client)
                started = time.perf_counter()
                try:
                    secret, parts = self._endpoint.split(body)
                finally:
                    connection.turnstile.charge(client, time.perf_counter() - started)
            if not self._secrets.verify(secret):
                raise self._wrong(request)
            self._trust(request, client)
            receipt = await self._shared.intake.take(self._endpoint.source, parts, until)
            return answer(*self._endpoint.answer(receipt))

    @staticmethod
    def _trust(request: web.BaseRequest, client: str) -> None:
        connection = connection_of(request)
        connection.is_authenticated = True
        connection.turnstile.favour(client)

    async def _body(self, request: web.BaseRequest, held: HeldBody) -> bytes:
        return await read_body(request, self._endpoint.largest_body, self._seconds, held)

    def _until(self) -> float | None:
        """When the sender must have its answer, on the loop's clock."""
        seconds = self._endpoint.answer_seconds
        return None if seconds is None else asyncio.get_running_loop().time() + seconds

    def _wrong(self, request: web.BaseRequest) -> HttpError:
        """A right secret never comes here: whatever a client has guessed, it is served."""
        seconds = self._shared.wrong_secrets.count(self._shared.client(request))
        if seconds:
            return HttpError(429, "too many wrong secrets", {hdrs.RETRY_AFTER: str(seconds)})
        return HttpError(401, *refusal(self._endpoint.presentation))
