"""The simulated partners speak the contracts, count what they are asked, and fail on command."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from stream.domain.identity import Cpf, Email, Phone, is_placeholder
from stream.domain.person import candidates_from_diretrix, person_from_work, work_answer
from stream.domain.sources.c2s import read_lead as lead_from_c2s
from stream.local.kafka import free_port
from stream.local.people import Someone, population, typed
from stream.local.simulators import Fault, Simulators, population_body, serving
from tests.support.waiting import LIMIT

BASIC = {"Authorization": aiohttp.encode_basic_auth("us", "secret")}
WITH_DATA = "DADOS DO CLIENTE\nCPF: 529.982.247-25"


@dataclass
class Partners:
    """The simulators over HTTP, as another process sees them."""

    session: aiohttp.ClientSession
    people: list[Someone]

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        """Status and JSON of a GET, with credentials."""
        async with self.session.get(path, headers=BASIC, **options) as response:
            return response.status, await response.json(content_type=None)

    async def phone(self, digits: str) -> tuple[int, Any]:
        """Ask Diretrix for a phone."""
        return await self.get(f"/Consultas/Pessoa/Telefone/{digits}")

    async def message(self, lead: str, body: str) -> int:
        """Write a message to the CRM."""
        path = f"/integration/leads/{lead}/create_message"
        async with self.session.post(path, json={"leadId": lead, "body": body}) as response:
            return response.status

    async def create(self, **attributes: Any) -> Any:
        """Create a lead in the CRM."""
        body = {"data": {"type": "lead", "attributes": attributes}}
        async with self.session.post("/integration/leads", json=body) as response:
            return await response.json()

    async def control(self, name: str, body: Any = None) -> None:
        """Steer the simulators."""
        data = body if isinstance(body, bytes) else None
        async with self.session.put(f"/_control/{name}", data=data, json=None if data else body) as response:
            assert response.status == 200

    async def counts(self) -> dict[str, int]:
        """The counters."""
        return dict((await self.get("/_control/counts"))[1]["counts"])


@pytest.fixture
async def partners() -> AsyncIterator[Partners]:
    people = population(3, seed=11)
    async with serving(Simulators(scale=0.0)) as base, aiohttp.ClientSession(base) as session:
        made = Partners(session, people)
        await made.control("people", population_body(people))
        yield made


def test_a_population_is_seeded_and_its_people_differ() -> None:
    """The same seed makes the same people; names, CPFs, phones and e-mails all differ."""
    people = population(500, seed=3)
    assert people == population(500, seed=3)
    assert people != population(500, seed=4)
    for values in zip(*((one.name, one.cpf, one.phone, one.email) for one in people), strict=True):
        assert len(set(values)) == 500


def test_a_large_population_has_enough_names() -> None:
    """More people than short names exist are made in little time."""
    people = population(3000, seed=3)
    assert len({one.name for one in people}) == 3000


def test_fictitious_people_are_readable_and_no_placeholders() -> None:
    """Each CPF is valid, and each phone and e-mail is read correctly in every spelling."""
    chance = random.Random(1)
    for one in population(300, seed=5):
        identity = (Cpf.parse(one.cpf), Phone.parse(one.phone), Email.parse(one.email))
        assert identity == (Cpf(one.cpf), Phone("+55" + one.phone), Email(one.email))
        assert not any(is_placeholder(value, frozenset()) for value in identity if value is not None)
        assert Phone.parse(typed(one.phone, chance)) == Phone("+55" + one.phone)


async def test_diretrix_knows_national_digits_and_emails(partners: Partners) -> None:
    """A person is found by the national digits of a phone and by an e-mail."""
    one = partners.people[0]
    for path in (f"/Consultas/Pessoa/Telefone/{one.phone}", f"/Consultas/Pessoa/Email/{one.email}"):
        status, body = await partners.get(path)
        assert status == 200
        assert [(found.name, found.cpf) for found in candidates_from_diretrix(body)] == [(one.name.upper(), one.cpf)]


async def test_diretrix_knows_no_country_code(partners: Partners) -> None:
    """A phone with ``55`` is unknown, as at the real Diretrix, and is not billed."""
    assert await partners.phone("55" + partners.people[0].phone) == (200, [])
    counts = await partners.counts()
    assert (counts["diretrix"], counts.get("diretrix_paid", 0)) == (1, 0)


async def test_diretrix_requires_credentials(partners: Partners) -> None:
    """Without HTTP Basic the answer is 401."""
    async with partners.session.get("/Consultas/Pessoa/Telefone/11987654321") as response:
        assert response.status == 401


async def test_the_work_api_completes_a_cpf(partners: Partners) -> None:
    """The project's reader reads every part of the answer that an event carries."""
    one = partners.people[0]
    _, body = await partners.get("/api", params={"token": "t", "modulo": "cpf", "consulta": one.cpf})
    raw = work_answer(body)
    assert raw is not None
    person = person_from_work(raw, one.cpf, datetime(2026, 1, 1))  # noqa: DTZ001 - no time is looked at
    assert (person.name, person.sex, person.complete) == (one.name.upper(), one.sex, True)
    assert None not in (person.birth_date, person.income, person.occupation, person.mother_name)
    assert [phone.number for phone in person.phones] == ["+55" + one.phone]
    assert person.emails == (one.email,)
    assert person.addresses[0].street == "RUA DAS FLORES"


async def test_the_work_api_fails_inside_a_200(partners: Partners) -> None:
    """A missing token and an unknown CPF are answered with status 200."""
    status, body = await partners.get("/api", params={"consulta": partners.people[0].cpf})
    assert (status, body["status"]) == (200, 403)
    status, body = await partners.get("/api", params={"token": "t", "consulta": "0"})
    assert status == 200
    assert work_answer(body) is None


async def test_calls_are_counted_by_what_was_asked_and_by_person(partners: Partners) -> None:
    """A second call for a person is counted, whichever alias it used."""
    one, other, _ = partners.people
    await partners.phone(one.phone)
    await partners.get(f"/Consultas/Pessoa/Email/{one.email}")
    await partners.phone(other.phone)
    await partners.get("/api", params={"token": "t", "consulta": one.cpf})
    _, shown = await partners.get("/_control/counts")
    assert shown["asked"][f"diretrix/{one.phone}"] == 1
    assert shown["people"] == {f"diretrix/{one.cpf}": 2, f"diretrix/{other.cpf}": 1, f"work/{one.cpf}": 1}
    assert shown["counts"] == {
        "diretrix": 3,
        "diretrix_phone": 2,
        "diretrix_email": 1,
        "diretrix_paid": 3,
        "work": 1,
    }


async def test_the_crm_counts_duplicate_and_empty_messages(partners: Partners) -> None:
    """A repeated text for a lead and a message without data are counted."""
    assert await partners.message("L1", WITH_DATA) == 201
    await partners.message("L2", WITH_DATA)
    await partners.message("L1", WITH_DATA)
    await partners.message("L1", "nada")
    _, crm = await partners.get("/_control/crm")
    assert [message["lead"] for message in crm["messages"]] == ["L1", "L2", "L1", "L1"]
    counts = await partners.counts()
    assert (counts["c2s_with_data"], counts["c2s_without_data"], counts["c2s_duplicates"]) == (3, 1, 1)


async def test_the_crm_creates_leads(partners: Partners) -> None:
    """Each lead has its own id and is kept with its attributes."""
    ids = [(await partners.create(name=name))["data"]["id"] for name in ("Ana", "Bia")]
    assert len(set(ids)) == 2
    _, crm = await partners.get("/_control/crm")
    assert [(lead["id"], lead["name"]) for lead in crm["leads"]] == list(zip(ids, ("Ana", "Bia"), strict=True))


async def test_the_crm_sends_a_webhook_after_each_write(partners: Partners) -> None:
    """Each message and each created lead causes a webhook, with the token, that the producers can read."""
    received: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def webhook(request: web.Request) -> web.Response:
        await received.put((request.headers["X-Webhook-Token"], await request.json()))
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/hook", webhook)
    async with TestServer(app) as producers, asyncio.timeout(LIMIT):
        await partners.control("webhooks", {"url": str(producers.make_url("/hook")), "token": "t0ken"})
        await partners.message("L1", WITH_DATA)
        token, told = await received.get()
        await partners.message("L1", "outra")
        _, again = await received.get()
        created = await partners.create(name="Ana", phone="+5511987654321", description="Lead")
        _, new = await received.get()
    assert token == "t0ken"
    assert (told["id"], told["hook_action"]) == ("L1", "on_update_lead")
    assert told["attributes"]["messages"][0]["message"] == told["attributes"]["log"][0]["description"] == WITH_DATA
    first, second = lead_from_c2s(told).updated_at, lead_from_c2s(again).updated_at
    assert first is not None
    assert second is not None
    assert first < second
    assert (new["id"], new["hook_action"]) == (created["data"]["id"], "on_create_lead")
    assert lead_from_c2s(new).phone == "+5511987654321"


async def test_a_fault_lasts_for_its_number_of_calls(partners: Partners) -> None:
    """``times`` calls fail, the next one succeeds, and other partners are untouched."""
    await partners.control("faults", {"diretrix": {"status": 503, "retry_after": 9, "times": 2}})
    phone = partners.people[0].phone
    async with partners.session.get(f"/Consultas/Pessoa/Telefone/{phone}", headers=BASIC) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "9")
    assert await partners.message("L1", "x") == 201
    assert [(await partners.phone(phone))[0] for _ in range(2)] == [503, 200]


async def test_faults_reset_hang_and_answer_garbage(partners: Partners) -> None:
    """Reset, hang, garbage and latency take effect, and an empty command ends them all."""
    phone = partners.people[0].phone
    await partners.control("faults", {"diretrix": {"reset": True}})
    with pytest.raises(aiohttp.ClientError):
        await partners.phone(phone)
    await partners.control("faults", {"diretrix": {"hang": 30}})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await partners.phone(phone)
    await partners.control("faults", {"diretrix": {"garbage": True}})
    with pytest.raises(ValueError, match="decode"):
        await partners.phone(phone)
    await partners.control("faults", {"diretrix": {"latency": 0.1}})
    began = time.monotonic()
    assert (await partners.phone(phone))[0] == 200
    assert time.monotonic() - began >= 0.1
    await partners.control("faults", {})
    assert (await partners.phone(phone))[0] == 200


async def test_an_unknown_fault_is_refused(partners: Partners) -> None:
    """A misspelt fault is answered 400."""
    for slip in ({"diretrix": {"stauts": 500}}, {"direttrix": {"status": 500}}):
        async with partners.session.put("/_control/faults", json=slip) as response:
            assert response.status == 400


async def test_reset_forgets_everything_but_the_people(partners: Partners) -> None:
    """After a reset the counts and the CRM are empty."""
    one = partners.people[0]
    await partners.phone(one.phone)
    await partners.message("L1", WITH_DATA)
    await partners.create(name="Ana")
    await partners.control("faults", {"work": {"status": 500}})
    await partners.control("reset")
    _, shown = await partners.get("/_control/counts")
    assert (shown["counts"], shown["asked"], shown["people"]) == ({}, {}, {})
    assert (await partners.get("/_control/crm"))[1] == {"messages": [], "leads": []}
    assert (await partners.get("/api", params={"token": "t", "consulta": one.cpf}))[0] == 200


async def test_latencies_are_the_real_ones_times_the_scale() -> None:
    """At a scale of 0.1, Diretrix takes 50 to 200 ms."""
    simulators = Simulators(scale=0.1)
    async with serving(simulators) as base, aiohttp.ClientSession(base) as session:
        began = time.monotonic()
        async with session.get("/Consultas/Pessoa/Telefone/11987654321", headers=BASIC) as response:
            assert response.status == 200
        assert time.monotonic() - began >= 0.05
    assert 0.05 <= simulators.seconds["diretrix"] <= 0.2


async def test_a_latency_on_command_varies_by_its_spread() -> None:
    """Calls take the latency, varied by at most the spread, the same for the same seed; their seconds are counted."""
    told = []
    for _ in range(2):
        simulators = Simulators(seed=3)
        simulators.faults["diretrix"] = Fault(latency=0.02, spread=0.01)
        async with serving(simulators) as base, aiohttp.ClientSession(base) as session:
            for _ in range(3):
                async with session.get("/Consultas/Pessoa/Telefone/11987654321", headers=BASIC) as response:
                    assert response.status == 200
            async with session.get("/_control/counts") as response:
                told.append((await response.json())["seconds"]["diretrix"])
    assert told[0] == told[1]
    assert 0.03 <= told[0] <= 0.09


async def test_it_is_a_process_of_its_own_and_ends_on_sigterm() -> None:
    """The module serves on its port and ends on SIGTERM, also while a call hangs."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "stream.local.simulators", "--port", str(port), "--scale", "0"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(LIMIT), aiohttp.ClientSession(base) as session:
            while not await _answers(session):  # noqa: ASYNC110 - another process sets no event
                await asyncio.sleep(0.05)
            async with session.put("/_control/faults", json={"work": {"hang": 60}}) as response:
                assert response.status == 200
            hanging = asyncio.create_task(session.get("/api").__aenter__())
            while (await _counts(session)).get("work") != 1:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.01)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            assert time.monotonic() - began < 30  # far below what the call would take
            with pytest.raises(aiohttp.ClientError):
                await hanging
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _answers(session: aiohttp.ClientSession) -> bool:
    try:
        await _counts(session)
    except aiohttp.ClientError:
        return False
    return True


async def _counts(session: aiohttp.ClientSession) -> dict[str, int]:
    async with session.get("/_control/counts") as response:
        return dict((await response.json())["counts"])
