"""The Work API's client over real HTTP. Its failures may come inside a 200, and its token is in the URL."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import stamina
from aiohttp import web
from aiohttp.test_utils import TestServer

from stream.domain.errors import PartnerUnavailableError, RefusedError
from stream.domain.identity import Cpf
from stream.local.kafka import free_port
from stream.local.people import Someone, population
from stream.local.simulators import Fault, Simulators, serving
from stream.providers.guard import MAX_ATTEMPTS, Guard
from stream.providers.work_api import WorkApi
from stream.settings import load
from tests.support.fakes import no_reservation

TOKEN = "t0ken+of/nobody"
CPF = Cpf("52998224725")


@asynccontextmanager
async def client(base: str) -> AsyncIterator[WorkApi]:
    settings = load({"WORK_API_BASE_URL": base, "WORK_API_TOKEN": TOKEN, "WORK_API_TIMEOUT": "300ms"})
    async with aiohttp.ClientSession() as session:
        yield WorkApi(session, settings, Guard("work", at_once=64, rate=None, workers=1))


@asynccontextmanager
async def answering(body: Any, status: int = 200, **headers: str) -> AsyncIterator[tuple[list[web.Request], WorkApi]]:
    seen: list[web.Request] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request)
        if isinstance(body, bytes):
            return web.Response(body=body, status=status, headers=headers)
        return web.json_response(body, status=status, headers=headers)

    app = web.Application()
    app.router.add_get("/api", handle)
    async with TestServer(app) as server, client(str(server.make_url("/"))) as work:
        yield seen, work


@pytest.fixture
def someone() -> Someone:
    return population(1, seed=7)[0]


@pytest.fixture
def simulators(someone: Someone) -> Simulators:
    made = Simulators(scale=0.0)
    made.know(someone)
    return made


@pytest.fixture
async def work(simulators: Simulators) -> AsyncIterator[WorkApi]:
    async with serving(simulators) as base, client(base) as made:
        yield made


@pytest.fixture
def without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=MAX_ATTEMPTS):
        yield


async def test_a_cpf_is_asked_for_with_token_and_module() -> None:
    """The query is the contract's, whatever characters the token has."""
    async with answering({"DadosBasicos": {"nome": "MARIA"}}) as (seen, work):
        await work.by_cpf(CPF, no_reservation)
    assert dict(seen[0].query) == {"token": TOKEN, "modulo": "cpf", "consulta": CPF.digits}


async def test_the_answer_comes_as_it_was_received(work: WorkApi, someone: Someone) -> None:
    """The client removes nothing: the raw answer is stored."""
    assert await work.by_cpf(Cpf(someone.cpf), no_reservation) == someone.work()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b""),
        (200, {}),
        (200, {"status": 404, "reason": "nao encontrado"}),
        (200, {"DadosEconomicos": {}}),
        (200, {"DadosBasicos": None}),
    ],
)
async def test_a_cpf_that_is_not_known_is_none(status: int, body: Any) -> None:
    """404, and a body without ``DadosBasicos``, are answers."""
    async with answering(body, status) as (_, work):
        assert await work.by_cpf(CPF, no_reservation) is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"status": 403, "statusMsg": "token invalido"}),
        (200, {"status": 403, "reason": "quota"}),
        (200, {"erro": "limite"}),
        (401, {}),
        (403, {}),
    ],
)
async def test_after_a_refusal_no_call_is_made(status: int, body: Any) -> None:
    """Whether it is a status or comes inside a 200."""
    async with answering(body, status) as (seen, work):
        for _ in range(3):
            with pytest.raises(RefusedError) as caught:
                await work.by_cpf(CPF, no_reservation)
            assert (caught.value.partner, caught.value.billed) == ("work", "no")
    assert len(seen) == 1


async def test_a_429_is_retried(simulators: Simulators, work: WorkApi, someone: Someone) -> None:
    """The request was certainly not billed."""
    simulators.faults["work"] = Fault(status=429, retry_after=0.01, times=1)
    assert await work.by_cpf(Cpf(someone.cpf), no_reservation) is not None
    assert simulators.counts["work"] == 2


@pytest.mark.parametrize(
    "fault",
    [Fault(status=500), Fault(hang=5), Fault(reset=True), Fault(garbage=True)],
    ids=["500", "hang", "reset", "garbage"],
)
async def test_a_call_that_may_be_billed_is_sent_once(simulators: Simulators, work: WorkApi, fault: Fault) -> None:
    """Its failure is not a "not known"."""
    simulators.faults["work"] = fault
    with pytest.raises(PartnerUnavailableError) as caught:
        await work.by_cpf(CPF, no_reservation)
    assert caught.value.billed == "unsure"
    assert simulators.counts["work"] == 1


@pytest.mark.parametrize("body", [b"", b"{", [], "text", 5])
async def test_a_200_that_is_no_object_is_a_failure(body: Any) -> None:
    """An unreadable body must not be stored as "not known"."""
    async with answering(body) as (_, work):
        with pytest.raises(PartnerUnavailableError):
            await work.by_cpf(CPF, no_reservation)


@pytest.mark.usefixtures("without_waiting")
@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault(status=500),
        Fault(status=401),
        Fault(status=429),
        Fault(hang=5),
        Fault(reset=True),
        Fault(garbage=True),
    ],
    ids=["refused connection", "500", "401", "429", "hang", "reset", "garbage"],
)
async def test_the_token_is_in_no_error_and_no_log(
    simulators: Simulators, fault: Fault | None, caplog: pytest.LogCaptureFixture
) -> None:
    """No text, repr, traceback or library's DEBUG line of a failed call has token, CPF or URL."""
    caplog.set_level(logging.DEBUG)
    if fault is not None:
        simulators.faults["work"] = fault
    async with serving(simulators) as base, client(base if fault else f"http://127.0.0.1:{free_port()}") as work:
        with pytest.raises((PartnerUnavailableError, RefusedError)) as caught:
            await work.by_cpf(CPF, no_reservation)
    error = caught.value
    assert error.__cause__ is None
    told = "".join([str(error), repr(error), repr(vars(error)), *traceback.format_exception(error), caplog.text])
    for secret in (TOKEN, "t0ken", "token=", CPF.digits, "consulta"):
        assert secret not in told


async def test_a_redirect_is_not_followed() -> None:
    """It is a failure, so the token does not leave."""
    async with answering(b"", 302, Location="http://127.0.0.1:9/elsewhere") as (seen, work):
        with pytest.raises(PartnerUnavailableError, match="status 302"):
            await work.by_cpf(CPF, no_reservation)
    assert len(seen) == 1


async def test_the_client_does_not_show_its_token(work: WorkApi) -> None:
    """Its repr does not contain it."""
    assert "t0ken" not in repr(work) + repr(vars(work))
