"""The C2S client over real HTTP: its requests, and whether a failed call may have been carried out."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from stream.crm.client import C2S, created_id
from stream.domain.errors import PartnerUnavailableError, PoisonError
from stream.local.kafka import free_port
from stream.local.simulators import Fault, Simulators, serving
from stream.settings import load

TOKEN = "crm-t0ken"
TEXT = "DADOS DO CLIENTE\nCPF: 529.982.247-25"


@asynccontextmanager
async def client(base: str) -> AsyncIterator[C2S]:
    settings = load({"C2S_BASE_URL": base, "C2S_TOKEN": TOKEN, "C2S_TIMEOUT": "300ms"})
    async with aiohttp.ClientSession() as session:
        yield C2S(session, settings)


@asynccontextmanager
async def answering(body: Any, status: int = 201) -> AsyncIterator[tuple[list[tuple[web.Request, Any]], C2S]]:
    """A server that gives every request the same answer; yields what it received."""
    seen: list[tuple[web.Request, Any]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request, await request.json()))
        return (
            web.Response(body=body, status=status)
            if isinstance(body, bytes)
            else web.json_response(body, status=status)
        )

    app = web.Application()
    app.router.add_post("/{anything:.*}", handle)
    async with TestServer(app) as server, client(str(server.make_url("/"))) as c2s:
        yield seen, c2s


@pytest.fixture
def simulators() -> Simulators:
    return Simulators(scale=0.0)


@pytest.fixture
async def c2s(simulators: Simulators) -> AsyncIterator[C2S]:
    async with serving(simulators) as base, client(base) as made:
        yield made


async def test_a_message_is_written_as_the_contract_says() -> None:
    """A message has the path, bearer token and body of the contract."""
    async with answering({}) as (seen, c2s):
        await c2s.create_message("L1", TEXT)
    request, body = seen[0]
    assert request.raw_path == "/integration/leads/L1/create_message"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert body == {"leadId": "L1", "body": TEXT}


@pytest.mark.parametrize(
    ("lead", "segment"), [("a/b", "a%2Fb"), ("a?b", "a%3Fb"), ("é 1", "%C3%A9%201"), ("50%", "50%25")]
)
async def test_a_lead_id_is_one_segment(lead: str, segment: str) -> None:
    """A lead id that comes from outside can't lead to another path."""
    async with answering({}) as (seen, c2s):
        await c2s.create_message(lead, TEXT)
    assert seen[0][0].raw_path == f"/integration/leads/{segment}/create_message"


async def test_a_lead_is_created_as_the_contract_says() -> None:
    """A creation is JSON:API, and returns the id."""
    attributes = {"name": "Maria", "description": TEXT, "source": "Google Ads", "type_negotiation": "Compra"}
    async with answering({"data": {"id": "77"}}) as (seen, c2s):
        assert await c2s.create_lead(attributes) == "77"
    request, body = seen[0]
    assert request.raw_path == "/integration/leads"
    assert body == {"data": {"type": "lead", "attributes": attributes}}


@pytest.mark.parametrize(
    ("answer", "lead"),
    [
        ({"data": {"id": "a1"}}, "a1"),
        ({"data": {"id": 12}}, "12"),
        ({"id": 12}, "12"),
        ({"lead_id": "x"}, "x"),
        ({"data": {}, "lead_id": 3}, "3"),
        ({"data": [], "id": ""}, None),
        ({"id": True}, None),
        ([], None),
        (None, None),
    ],
)
def test_the_id_of_a_created_lead_is_found_in_three_places(answer: Any, lead: str | None) -> None:
    """The id is in ``data.id``, ``id`` or ``lead_id``, a string or an integer."""
    assert created_id(answer) == lead


@pytest.mark.parametrize("body", [b"", b"Created", b"<html>", b"[]"])
async def test_an_accepted_message_succeeds_whatever_the_body(body: bytes) -> None:
    """The status decides: an unreadable body does not make a message unconfirmed."""
    async with answering(body) as (seen, c2s):
        await c2s.create_message("L1", TEXT)
    assert len(seen) == 1


@pytest.mark.parametrize("body", [b"", b"Created", {"data": {}}])
async def test_a_lead_created_without_an_id_is_unconfirmed(body: Any) -> None:
    """A lead without an id in the answer may exist, so it must not be created again by itself."""
    async with answering(body) as (seen, c2s):
        with pytest.raises(PartnerUnavailableError) as caught:
            await c2s.create_lead({"name": "Maria"})
    assert caught.value.billed == "unsure"
    assert len(seen) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 410, 422])
async def test_a_lead_that_the_crm_refuses_is_poison(status: int) -> None:
    """A refused write raises a permanent error whose reason is the status, not C2S's text."""
    async with answering({"erro": "maria@example.com"}, status) as (_, c2s):
        with pytest.raises(PoisonError) as caught:
            await c2s.create_message("L1", TEXT)
    assert caught.value.reason == f"c2s: status {status}"


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_are_no_fault_of_the_message(status: int) -> None:
    """Refused credentials mean that nothing was written; the message may be written with a correct token."""
    async with answering({}, status) as (_, c2s):
        with pytest.raises(PartnerUnavailableError, match="check C2S_TOKEN") as caught:
            await c2s.create_message("L1", TEXT)
    assert caught.value.billed == "no"


async def test_a_429_was_not_carried_out(simulators: Simulators, c2s: C2S) -> None:
    """A 429 is transient and has C2S's Retry-After."""
    simulators.faults["c2s"] = Fault(status=429, retry_after=7)
    with pytest.raises(PartnerUnavailableError) as caught:
        await c2s.create_message("L1", TEXT)
    assert (caught.value.billed, caught.value.retry_after) == ("no", 7)


async def test_a_refused_connection_was_not_carried_out() -> None:
    """A refused connection means that nothing was sent."""
    async with client(f"http://127.0.0.1:{free_port()}") as c2s:
        with pytest.raises(PartnerUnavailableError) as caught:
            await c2s.create_message("L1", TEXT)
    assert caught.value.billed == "no"


@pytest.mark.parametrize(
    "fault",
    [Fault(status=500), Fault(status=408), Fault(status=302), Fault(hang=5), Fault(reset=True)],
    ids=["500", "408", "302", "hang", "reset"],
)
async def test_a_call_that_may_have_been_carried_out_is_not_retried(
    simulators: Simulators, c2s: C2S, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a call is sent once, and its text is neither in the error nor in the log."""
    caplog.set_level(logging.DEBUG)
    simulators.faults["c2s"] = fault
    with pytest.raises(PartnerUnavailableError) as caught:
        await c2s.create_message("L1", TEXT)
    assert caught.value.billed == "unsure"
    assert simulators.counts["c2s_message"] == 1
    told = "".join([*traceback.format_exception(caught.value), caplog.text])
    assert TOKEN not in told
    assert "529" not in told


@pytest.mark.parametrize("lead", ["..", " ", "a\x00b", "a\r\nCPF: 1", "x" * 257, ""])
def test_an_unusable_id_counts_as_none(lead: str) -> None:
    """A created lead whose id can't be stored or used in a path is unconfirmed."""
    assert created_id({"id": lead}) is None
