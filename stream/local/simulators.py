"""Diretrix, the Work API and C2S as real HTTP servers, at their real latencies, with faults on command.

One process, one port: the paths do not meet. ``/_control/...`` steers it and reads its counts:

- ``GET /_control/counts``: calls by partner and kind (``diretrix_paid``: those it bills; ``c2s_with_data``,
  ``c2s_without_data``, ``c2s_duplicates``: messages), by what was asked for, by the CPF that was answered first, and
  the seconds that each partner took for all its calls;
- ``GET /_control/crm``: messages and leads that the CRM holds, in order;
- ``PUT /_control/people``: the population, as ``population_body`` makes it;
- ``PUT /_control/faults``: ``{"diretrix": {"status": 500, "times": 3}}`` instead of the faults before; also
  ``hang`` (seconds), ``reset``, ``garbage``, ``body`` (a kind of ``hostile``), ``retry_after`` (seconds), ``latency``
  (seconds instead of the usual, at most ``spread`` more or less);
- ``PUT /_control/webhooks``: ``{"url": ..., "token": ...}``: where the CRM answers our writing with webhooks;
- ``PUT /_control/reset``: forget counts, faults and what the CRM holds; the population stays.
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

DATA = "CPF: "  # what a message that tells of a person has in it
STOP_WITHIN = 0.1  # seconds for calls that hang; 0 would wait for them
LARGEST_POPULATION = 256 * 1024 * 1024  # bytes of JSON
LATENCY = {"diretrix": (0.5, 2.0), "work": (2.0, 5.0), "c2s": (0.05, 0.2)}  # seconds, from..to


@dataclass(slots=True)
class Fault:
    """What goes wrong with a partner's next calls; ``times`` None: until told otherwise."""

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
        app = web.Application(client_max_size=LARGEST_POPULATION)
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
        if found:  # billed are answers with people; "not known" is free, until an invoice says otherwise
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
        self.counts["c2s_with_data" if DATA in message["body"] else "c2s_without_data"] += 1
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
        """Take the partner's time, then do what its fault says."""
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
        """Seconds that this call takes, by the seeded chance."""
        usual = self._chance.uniform(*LATENCY[partner]) * self.scale
        if fault is None or fault.latency is None:
            return usual
        return fault.latency + self._chance.uniform(-fault.spread, fault.spread)

    def _take_fault(self, partner: str) -> Fault | None:
        """What goes wrong with this call; one of its ``times`` is used up before others ask."""
        fault = self.faults.get(partner)
        if fault is not None and fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                del self.faults[partner]
        return fault

    def _echo(self, lead: str, action: str, text: str, attributes: dict[str, Any] | None = None) -> None:
        """C2S answers our writing with a webhook of its own; assume that it always does."""
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
            or not set(body) <= set(LATENCY)
            or {(fault or {}).get("body", "") for fault in body.values()} - {"", *KINDS}
        ):
            raise web.HTTPBadRequest(text=f"faults of {sorted(LATENCY)}, each with some of {sorted(known)}")
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
    """Serve within this process on a free port; gives the base URL of all three partners."""
    runner = web.AppRunner(simulators.app(), access_log=None, shutdown_timeout=STOP_WITHIN)
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
    web.run_app(app, host=host, port=port, access_log=None, print=click.echo, shutdown_timeout=STOP_WITHIN)


def population_body(people: Sequence[Someone]) -> bytes:
    """What ``PUT /_control/people`` takes, for a list of people."""
    state = Simulators()
    for someone in people:
        if someone.known:
            state.know(someone)
    return orjson.dumps({"by_alias": state.people_by_alias, "work": state.work_by_cpf})


if __name__ == "__main__":
    main()
