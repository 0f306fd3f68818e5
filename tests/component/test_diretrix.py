"""The Diretrix client over real HTTP: what it sends, and what each answer and each failure means."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import stamina
from aiohttp import web
from aiohttp.test_utils import TestServer

from stream.domain.errors import PartnerUnavailableError, RefusedError
from stream.domain.identity import Email, Phone
from stream.domain.person import Candidate
from stream.local.kafka import free_port
from stream.local.people import Someone, population
from stream.local.simulators import Fault, Simulators, serving
from stream.providers import http
from stream.providers.diretrix import Diretrix
from stream.providers.guard import MAX_ATTEMPTS, Guard
from stream.settings import load
from tests.support.fakes import no_reservation
from tests.support.waiting import LIMIT

PASSWORD = "not-to-be-seen"
MARIA = {"nome": "MARIA LIMA", "cpf": "52998224725"}
PHONE = Phone("+5511987654321")
EMAIL = Email("maria@example.com")


@dataclass
class Seen:
    """A server that answers everything alike and keeps what it was sent."""

    answer: Callable[[], Awaitable[web.StreamResponse]]
    paths: list[str] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.paths.append(request.raw_path)
        self.headers.append(request.headers)
        return await self.answer()


@asynccontextmanager
async def client(base: str, *, timeout: str = "10s", **limits: Any) -> AsyncIterator[Diretrix]:  # noqa: ASYNC109
    settings = load(
        {
            "DIRETRIX_BASE_URL": base,
            "DIRETRIX_USER": "us",
            "DIRETRIX_PASSWORD": PASSWORD,
            "DIRETRIX_TIMEOUT": timeout,
        }
    )
    async with aiohttp.ClientSession(**limits) as session:
        yield Diretrix(session, settings, Guard("diretrix", at_once=64, rate=None, workers=1))


@asynccontextmanager
async def answering(status: int, body: Any) -> AsyncIterator[tuple[Seen, Diretrix]]:
    async def answer() -> web.StreamResponse:
        if isinstance(body, bytes):
            return web.Response(body=body, status=status)
        return web.json_response(body, status=status)

    seen = Seen(answer)
    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", seen.handle)
    async with TestServer(app) as server, client(str(server.make_url("/"))) as diretrix:
        yield seen, diretrix


@pytest.fixture
def someone() -> Someone:
    return population(1, seed=7)[0]


@pytest.fixture
async def simulators(someone: Someone) -> Simulators:
    made = Simulators(scale=0.0)
    made.know(someone)
    return made


@pytest.fixture
async def diretrix(simulators: Simulators) -> AsyncIterator[Diretrix]:
    async with serving(simulators) as base, client(base, timeout="2s") as made:
        yield made


@pytest.fixture
def without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=MAX_ATTEMPTS):
        yield


@pytest.mark.parametrize("e164", ["+5511987654321", "+551133334444"])
async def test_a_phone_is_sent_as_national_digits(e164: str) -> None:
    """Diretrix knows no country code: eleven digits of a mobile, ten of a landline; with HTTP Basic."""
    async with answering(200, [MARIA]) as (seen, diretrix):
        assert await diretrix.by_phone(Phone(e164), no_reservation) == (Candidate("MARIA LIMA", "52998224725"),)
    assert seen.paths == [f"/Consultas/Pessoa/Telefone/{e164[3:]}"]
    assert seen.headers[0]["Authorization"] == aiohttp.encode_basic_auth("us", PASSWORD)


@pytest.mark.parametrize(
    ("address", "segment"),
    [
        ("maria@example.com", "maria%40example.com"),
        ("maria+casa@example.com", "maria%2Bcasa%40example.com"),
        ("maria/casa@example.com", "maria%2Fcasa%40example.com"),
        ("100%maria@example.com", "100%25maria%40example.com"),
        ("maria%2fcasa@example.com", "maria%252fcasa%40example.com"),
        ("josé?a#b@example.com", "jos%C3%A9%3Fa%23b%40example.com"),
    ],
)
async def test_an_email_is_one_percent_encoded_segment(address: str, segment: str) -> None:
    """Whatever stands in an address, it stays one segment, and the server reads what was meant."""
    async with answering(200, []) as (seen, diretrix):
        await diretrix.by_email(Email(address), no_reservation)
    assert seen.paths == [f"/Consultas/Pessoa/Email/{segment}"]


async def test_candidates_come_best_first_and_only_with_usable_cpfs() -> None:
    """A ``cpf`` that is not eleven digits occurs and is left out; the order is the partner's."""
    people = [{"nome": "SEM", "cpf": "123"}, {"nome": "B", "cpf": "11144477735"}, {"nome": "X", "cpf": None}, MARIA]
    async with answering(200, people) as (_, diretrix):
        found = await diretrix.by_phone(PHONE, no_reservation)
    assert [candidate.cpf for candidate in found] == ["11144477735", "52998224725"]


@pytest.mark.parametrize(("status", "body"), [(404, b""), (400, {"erro": "x"}), (200, [])])
async def test_three_answers_mean_not_known(status: int, body: Any) -> None:
    """404, 400 and an empty list are answers, no failures."""
    async with answering(status, body) as (seen, diretrix):
        assert await diretrix.by_email(EMAIL, no_reservation) == ()
    assert len(seen.paths) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_after_refused_credentials_no_call_is_made(status: int) -> None:
    """The refusal is an error that costs nothing."""
    async with answering(status, {}) as (seen, diretrix):
        for _ in range(3):
            with pytest.raises(RefusedError, match=f"status {status}: check DIRETRIX_USER") as caught:
                await diretrix.by_phone(PHONE, no_reservation)
            assert caught.value.billed == "no"
    assert len(seen.paths) == 1


async def test_a_429_is_retried_after_the_time_it_names(
    simulators: Simulators, diretrix: Diretrix, someone: Someone
) -> None:
    """The request was certainly not billed, and the caller gets the answer."""
    simulators.faults["diretrix"] = Fault(status=429, retry_after=0.05, times=1)
    assert await diretrix.by_phone(Phone("+55" + someone.phone), no_reservation) == (
        Candidate(someone.name.upper(), someone.cpf),
    )
    assert simulators.counts["diretrix"] == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503, retry_after=1),
        Fault(status=302),
        Fault(status=418),
        Fault(hang=60),
        Fault(reset=True),
        Fault(garbage=True),
    ],
    ids=["500", "503", "302", "418", "hang", "reset", "garbage"],
)
async def test_a_call_that_may_be_billed_is_sent_once_and_unsure(
    simulators: Simulators, diretrix: Diretrix, fault: Fault
) -> None:
    """After a time-out, a reset or a 5xx no library resends the request."""
    simulators.faults["diretrix"] = fault
    with pytest.raises(PartnerUnavailableError) as caught:
        await diretrix.by_phone(PHONE, no_reservation)
    assert caught.value.billed == "unsure"
    assert simulators.counts["diretrix"] == 1


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", {"erro": "limite"}, "text", 5])
async def test_a_200_that_is_no_answer_is_never_an_unknown_contact(body: Any) -> None:
    """An unreadable body and an error inside a 200 are failures: they must not be stored as "not known"."""
    async with answering(200, body) as (seen, diretrix):
        with pytest.raises(PartnerUnavailableError) as caught:
            await diretrix.by_phone(PHONE, no_reservation)
    assert caught.value.billed == "unsure"
    assert len(seen.paths) == 1


@pytest.mark.usefixtures("without_waiting")
async def test_a_refused_connection_was_not_billed() -> None:
    """Nothing was sent, so the call is retried."""
    async with client(f"http://127.0.0.1:{free_port()}") as diretrix:
        with pytest.raises(PartnerUnavailableError, match="ClientConnectorError") as caught:
            await diretrix.by_phone(PHONE, no_reservation)
    assert caught.value.billed == "no"


async def test_only_the_guard_limits_concurrent_calls(simulators: Simulators) -> None:
    """A limit of the session would make calls wait that hold a slot."""
    many = 120  # above what aiohttp's own sessions allow
    simulators.faults["diretrix"] = Fault(hang=60)
    async with serving(simulators) as base, http.partner_session() as session:
        diretrix = Diretrix(
            session, load({"DIRETRIX_BASE_URL": base}), Guard("diretrix", at_once=many, rate=None, workers=1)
        )
        calls = [asyncio.create_task(diretrix.by_phone(PHONE, no_reservation)) for _ in range(many)]
        async with asyncio.timeout(LIMIT):
            while simulators.at_once < many:  # noqa: ASYNC110 - the simulators set no event
                await asyncio.sleep(0.001)
        assert simulators.at_once == many
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.usefixtures("without_waiting")
async def test_a_call_that_got_no_connection_was_not_billed(
    simulators: Simulators, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for a connection ends before anything is sent."""
    monkeypatch.setattr(http, "CONNECT_TIMEOUT_S", 0.05)
    simulators.faults["work"] = Fault(hang=60)
    async with serving(simulators) as base, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        settings = load({"DIRETRIX_BASE_URL": base})
        holder = asyncio.create_task(session.get(f"{base}/api"))  # takes the only connection, and hangs
        async with asyncio.timeout(LIMIT):
            while not simulators.counts["work"]:  # noqa: ASYNC110 - the simulators set no event
                await asyncio.sleep(0.001)
        with pytest.raises(PartnerUnavailableError, match="ConnectionTimeoutError") as caught:
            await Diretrix(session, settings, Guard("diretrix", at_once=64, rate=None, workers=1)).by_phone(
                PHONE, no_reservation
            )
        holder.cancel()
    assert caught.value.billed == "no"
    assert simulators.counts["diretrix"] == 0


@pytest.mark.parametrize(
    "fault",
    [Fault(status=500), Fault(hang=60), Fault(reset=True), Fault(garbage=True), Fault(status=401)],
    ids=["500", "hang", "reset", "garbage", "401"],
)
async def test_no_failure_contains_personal_data(
    simulators: Simulators, diretrix: Diretrix, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the error, its traceback nor a library's log line has the address or the password."""
    caplog.set_level(logging.DEBUG)
    simulators.faults["diretrix"] = fault
    with pytest.raises((PartnerUnavailableError, RefusedError)) as caught:
        await diretrix.by_email(EMAIL, no_reservation)
    told = "".join([*traceback.format_exception(caught.value), repr(caught.value), caplog.text])
    for secret in (EMAIL.address, "maria%40", PASSWORD):
        assert secret not in told
