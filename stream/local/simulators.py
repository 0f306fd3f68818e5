"""Simulates Diretrix, the Work API and C2S as HTTP servers, with their real latencies and with faults on command.

All run in one process on one port, because their paths differ. ``/_control/...`` controls them:

- ``GET /_control/counts``: the calls by partner and kind (``diretrix_paid``: those that are billed; ``c2s_with_data``,
  ``c2s_without_data``, ``c2s_duplicates``: messages), by alias or CPF asked for, and by the CPF of the first person in
  the answer; and the seconds that each partner took for all its calls;
- ``GET /_control/crm``: the messages and leads in the CRM, in order;
- ``PUT /_control/people``: the population, as ``population_body`` makes it;
- ``PUT /_control/faults``: ``{"diretrix": {"status": 500, "times": 3}}`` replaces the previous faults; further fields
  are ``hang`` (seconds), ``reset``, ``garbage``, ``body`` (a kind of ``hostile``), ``retry_after`` (seconds) and
  ``latency`` (seconds instead of the usual ones, varied by at most ``spread``);
- ``PUT /_control/webhooks``: ``{"url": ..., "token": ...}``, to which the CRM sends a webhook after each write;
- ``PUT /_control/reset``: forget counts, faults, messages and leads; the population stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import aiohttp
import click
import orjson
from aiohttp import web

from stream.local.hostile import KINDS, hostile
from stream.local.people import Someone

PERSON_DATA = "CPF: "  # is in every message with data of a person
STOP_TIMEOUT_SECONDS = 0.1  # for calls that hang; 0 would wait without a limit
MAX_POPULATION_BYTES = 256 * 1024 * 1024
LATENCY_SECONDS = {"diretrix": (0.5, 2.0), "work": (2.0, 5.0), "c2s": (0.05, 0.2)}  # from, to


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next ``times`` calls of a partner; None: with all calls until it is replaced."""

    status: int | None = None
    hang: float = 0.0
    reset: bool = False
    garbage: bool = False
    body: str = ""
    retry_after: float | None = None
    latency: float | None = None
    spread: float = 0.0
    times: int | None = None


@dataclass
class Simulators:
    """The state behind the three servers."""

    scale: float = 1.0
    seed: int = 1
    people_by_alias: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    work_by_cpf: dict[str, dict[str, Any]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    people_asked: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    messages: list[dict[str, str]] = field(default_factory=list)
    leads: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, Fault] = field(default_factory=dict)
    customers: dict[str, dict[str, Any]] = field(default_factory=dict)
    webhook_url: str = ""
    webhook_token: str = ""
    at_once: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._echoes: set[asyncio.Task[None]] = set()
        self._told: set[tuple[str, str]] = set()

    def know(self, someone: Someone) -> None:
        """Add a person to what Diretrix and the Work API know."""
        for alias in [*someone.phones, *someone.emails]:
            self.people_by_alias.setdefault(alias, []).append(someone.candidate())
        self.work_by_cpf[someone.cpf] = someone.work()

    def app(self) -> web.Application:
        """All three servers and the control pages."""
        app = web.Application(client_max_size=MAX_POPULATION_BYTES)
        app.router.add_get("/Consultas/Pessoa/Telefone/{phone}", self._diretrix_phone)
        app.router.add_get("/Consultas/Pessoa/Email/{email}", self._diretrix_email)
        app.router.add_get("/api", self._work)
        app.router.add_post("/integration/leads/{lead}/create_message", self._message)
        app.router.add_post("/integration/leads", self._lead)
        app.router.add_get("/_control/counts", self._show_counts)
        app.router.add_get("/_control/crm", self._show_crm)
        app.router.add_put("/_control/people", self._take_people)
        app.router.add_put("/_control/faults", self._take_faults)
        app.router.add_put("/_control/webhooks", self._take_webhooks)
        app.router.add_put("/_control/reset", self._reset)
        app.on_shutdown.append(self._stop_echoes)
        return app

    async def _diretrix_phone(self, request: web.Request) -> web.StreamResponse:
        return await self._diretrix(request, "phone", request.match_info["phone"])

    async def _diretrix_email(self, request: web.Request) -> web.StreamResponse:
        return await self._diretrix(request, "email", request.match_info["email"].lower())

    async def _diretrix(self, request: web.Request, kind: str, asked: str) -> web.StreamResponse:
        self.counts["diretrix"] += 1
        self.counts[f"diretrix_{kind}"] += 1
        self.asked[f"diretrix/{asked}"] += 1
        fault = await self._misbehave("diretrix", request)
        if fault is not None:
            return fault
        if "Authorization" not in request.headers:
            return web.Response(status=401)
        found = self.people_by_alias.get(asked)
        if found:  # assumption: Diretrix bills answers with people, and "not known" is free
            self.counts["diretrix_paid"] += 1
            self.people_asked[f"diretrix/{found[0]['cpf']}"] += 1
        return web.json_response(found or [])

    async def _work(self, request: web.Request) -> web.StreamResponse:
        cpf = request.query.get("consulta", "")
        self.counts["work"] += 1
        self.asked[f"work/{cpf}"] += 1
        fault = await self._misbehave("work", request)
        if fault is not None:
            return fault
        if not request.query.get("token"):
            return web.json_response({"status": 403, "statusMsg": "token invalido"})
        if cpf in self.work_by_cpf:
            self.people_asked[f"work/{cpf}"] += 1
        return web.json_response(self.work_by_cpf.get(cpf) or {"status": 404, "reason": "nao encontrado"})

    async def _message(self, request: web.Request) -> web.StreamResponse:
        self.counts["c2s_message"] += 1
        fault = await self._misbehave("c2s", request)
        if fault is not None:
            return fault
        body = await request.json()
        lead = request.match_info["lead"]
        message = {"lead": lead, "body": body["body"]}
        self.counts["c2s_with_data" if PERSON_DATA in message["body"] else "c2s_without_data"] += 1
        self.counts["c2s_duplicates"] += (lead, message["body"]) in self._told
        self._told.add((lead, message["body"]))
        self.messages.append(message)
        self._echo(lead, "on_update_lead", body["body"])
        return web.json_response({"ok": True}, status=201)

    async def _lead(self, request: web.Request) -> web.StreamResponse:
        self.counts["c2s_lead"] += 1
        fault = await self._misbehave("c2s", request)
        if fault is not None:
            return fault
        attributes = (await request.json())["data"]["attributes"]
        lead = f"crm-{len(self.leads) + 1}"
        self.leads.append({"id": lead, **attributes})
        self._echo(lead, "on_create_lead", attributes.get("description", ""), attributes)
        return web.json_response({"data": {"id": lead, "type": "lead"}}, status=201)

    async def _misbehave(self, partner: str, request: web.Request) -> web.StreamResponse | None:
        """Wait for the partner's latency, then answer as its fault says; None: there is no fault."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            fault = self._take_fault(partner)
            latency = self._latency(partner, fault)
            self.seconds[partner] = self.seconds.get(partner, 0.0) + latency
            await asyncio.sleep(latency)
            return None if fault is None else await _answer_of(fault, request)
        finally:
            self.at_once -= 1

    def _latency(self, partner: str, fault: Fault | None) -> float:
        """The seconds that this call takes, from the seeded generator."""
        usual = self._chance.uniform(*LATENCY_SECONDS[partner]) * self.scale
        if fault is None or fault.latency is None:
            return usual
        return fault.latency + self._chance.uniform(-fault.spread, fault.spread)

    def _take_fault(self, partner: str) -> Fault | None:
        """The fault of this call, if any. Uses up one of its ``times``, before anything is awaited."""
        fault = self.faults.get(partner)
        if fault is not None and fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                del self.faults[partner]
        return fault

    def _echo(self, lead: str, action: str, text: str, attributes: dict[str, Any] | None = None) -> None:
        """Send a webhook after a write, as C2S does. Assumption: it does so after every write."""
        if self.webhook_url:
            customer = {key: (attributes or {}).get(key) for key in ("name", "email", "phone")}
            echo = asyncio.create_task(self._send_echo(lead, action, text, customer))
            self._echoes.add(echo)
            echo.add_done_callback(self._echoes.discard)

    async def _send_echo(self, lead: str, action: str, text: str, customer: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat()
        event = {
            "id": lead,
            "hook_action": action,
            "attributes": {
                "updated_at": now,
                "customer": self.customers.get(lead) or customer,
                "log": [{"created_at": now, "description": text}],
                "messages": [{"created_at": now, "message": text, "sender": "api"}],
            },
        }
        headers = {"X-Webhook-Token": self.webhook_token}
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with aiohttp.ClientSession() as session, session.post(self.webhook_url, json=event, headers=headers):
                self.counts["echoes"] += 1

    async def _stop_echoes(self, app: web.Application) -> None:
        del app
        for echo in self._echoes:
            echo.cancel()
        await asyncio.gather(*self._echoes, return_exceptions=True)

    async def _show_counts(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(
            {
                "counts": dict(self.counts),
                "asked": dict(self.asked),
                "people": dict(self.people_asked),
                "seconds": self.seconds,
                "most_at_once": self.most_at_once,
            }
        )

    async def _show_crm(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"messages": self.messages, "leads": self.leads})

    async def _take_people(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.people_by_alias = body["by_alias"]
        self.work_by_cpf = body["work"]
        self.customers = body.get("customers", {})
        return web.json_response({})

    async def _take_faults(self, request: web.Request) -> web.Response:
        body = await request.json()
        known = {one.name for one in fields(Fault)}
        unknown = any(set(fault or ()) - known for fault in body.values())
        if (
            unknown
            or not set(body) <= set(LATENCY_SECONDS)
            or {(fault or {}).get("body", "") for fault in body.values()} - {"", *KINDS}
        ):
            raise web.HTTPBadRequest(text=f"faults of {sorted(LATENCY_SECONDS)}, each with some of {sorted(known)}")
        self.faults = {partner: Fault(**fault) for partner, fault in body.items() if fault}
        return web.json_response({})

    async def _take_webhooks(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.webhook_url, self.webhook_token = body["url"], body["token"]
        return web.json_response({})

    async def _reset(self, request: web.Request) -> web.Response:
        del request
        for kept in (
            self.counts,
            self.asked,
            self.people_asked,
            self.seconds,
            self.messages,
            self.leads,
            self.faults,
            self._told,
        ):
            kept.clear()
        self.most_at_once = self.at_once
        return web.json_response({})


async def _answer_of(fault: Fault, request: web.Request) -> web.StreamResponse | None:
    if fault.hang:
        await asyncio.sleep(fault.hang)
    if fault.reset:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)
    if fault.body:
        return await hostile(fault.body, request)
    if fault.garbage:
        return web.Response(body=b"\xff<html>", content_type="text/html")
    if fault.status is not None:
        headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
        return web.json_response({"erro": "simulated"}, status=fault.status, headers=headers)
    return None


@contextlib.asynccontextmanager
async def serving(simulators: Simulators) -> AsyncIterator[str]:
    """Serve within this process on a free port. Yields the base URL of all three partners."""
    runner = web.AppRunner(simulators.app(), access_log=None, shutdown_timeout=STOP_TIMEOUT_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@click.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=int, default=0, help="Port to listen on; 0 takes a free one.")
@click.option("--scale", type=float, default=1.0, help="Factor on the partners' latencies.")
@click.option("--seed", type=int, default=1, help="Seed of the latencies.")
def main(host: str, port: int, scale: float, seed: int) -> None:
    """Serve the simulated partners until stopped.

    Example: python -m stream.local.simulators --port 9100 --scale 0.1
    """
    app = Simulators(scale, seed).app()
    web.run_app(app, host=host, port=port, access_log=None, print=click.echo, shutdown_timeout=STOP_TIMEOUT_SECONDS)


def population_body(people: Sequence[Someone]) -> bytes:
    """The body of ``PUT /_control/people`` for a list of people."""
    state = Simulators()
    for someone in people:
        if someone.known:
            state.know(someone)
    return orjson.dumps({"by_alias": state.people_by_alias, "work": state.work_by_cpf})


if __name__ == "__main__":
    main()
