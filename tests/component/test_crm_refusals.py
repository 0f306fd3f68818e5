"""How the CRM refuses, over real HTTP and a real database: one lead, everything, or us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
import stamina
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from stream.crm import pause as pausing
from stream.crm.client import C2S
from stream.crm.pause import Pause
from stream.crm.sync import CrmSync
from stream.crm.writes import CrmWrites
from stream.domain.errors import CredentialsRefusedError, DlqLimitError
from stream.domain.person import Candidate, Person, person_from_candidate
from stream.settings import load
from tests.component.test_crm_sync import DeadLetterQueue, event, eventually, google

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
MARIA = person_from_candidate(Candidate("MARIA LIMA", "52998224725"), NOW)
LIMIT = 20.0  # seconds


@dataclass
class Crm:
    """A C2S whose status the test decides by the lead's id ("" for a lead that is created), and the sync before it."""

    answer: Callable[[str], int] = lambda _: 201
    paths: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    letters: DeadLetterQueue = field(default_factory=DeadLetterQueue)
    base: str = ""
    session: aiohttp.ClientSession | None = None
    pool: asyncpg.Pool | None = None

    async def handle(self, request: web.Request) -> web.Response:
        """Any request."""
        self.paths.append(request.raw_path)
        self.bodies.append(await request.json())
        return web.json_response({"id": "new"}, status=self.answer(request.match_info.get("lead", "")))

    def sync(self, pause: Pause | None = None, **settings: str) -> CrmSync:
        """A CRM sync with settings of its own."""
        loaded = load({"C2S_BASE_URL": self.base, "C2S_TOKEN": "t0ken-of-c2s", "C2S_TIMEOUT": "2s", **settings})
        assert self.session is not None
        return CrmSync(C2S(self.session, loaded), CrmWrites(self.pool), self.letters, loaded, pause)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Tries follow each other at once."""
    with stamina.set_testing(testing=True, attempts=5):
        yield


@asynccontextmanager
async def served(crm: Crm) -> AsyncIterator[Crm]:
    app = web.Application()
    app.router.add_post("/integration/leads/{lead}/create_message", crm.handle)
    app.router.add_post("/integration/leads", crm.handle)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        crm.base, crm.session = str(server.make_url("")), session
        yield crm


@pytest.fixture
async def crm(pool: asyncpg.Pool) -> AsyncIterator[Crm]:
    async with served(Crm(pool=pool)) as made:
        yield made


@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 413, 415, 422])
async def test_leads_that_are_refused_between_others_stop_nothing(crm: Crm, status: int) -> None:
    """Each is a dead letter with its reason; however many they are, one write now and then is enough."""
    crm.answer = lambda lead: status if lead.startswith("gone") else 201
    sync = crm.sync(FUSE_IN_A_ROW="10", FUSE_MINIMUM="5", FUSE_SHARE="0.5")
    for number in range(60):
        await sync.handle(event(MARIA, lead=f"{'good' if number % 6 == 0 else 'gone'}-{number}"))
    assert [headers["dl-reason"] for _, _, headers in crm.letters.sent] == [b"c2s: status %d" % status] * 50
    assert {headers["dl-error"] for _, _, headers in crm.letters.sent} == {b"LeadRefusedError"}


async def test_events_that_need_no_write_prove_nothing(crm: Crm) -> None:
    """Of a wrong address nothing is learned from what is not sent: so many refusals in a row stop it all the same."""
    crm.answer = lambda _: 404
    sync = crm.sync(FUSE_IN_A_ROW="10")
    for number in range(9):
        await sync.handle(event(MARIA, lead=f"L{number}"))
        await sync.handle(event(outcome="not_found", lead=f"N{number}"))
    with pytest.raises(DlqLimitError, match=r"refused 10 leads and took no write.*C2S_BASE_URL") as caught:
        await sync.handle(event(MARIA, lead="L9"))
    assert caught.value.exit_code == 3
    assert len(crm.letters.sent) == 9


async def test_a_refused_lead_does_not_count_with_rubbish(crm: Crm) -> None:
    """Nine records that are no events and any number of refused leads are no ten in a row."""
    crm.answer = lambda lead: 201 if lead == "good" else 422
    sync = crm.sync(FUSE_IN_A_ROW="10")
    rubbish = event(MARIA)
    for number in range(9):
        await sync.handle(type(rubbish)(*(b"\xff" if one == rubbish.value else one for one in _fields(rubbish))))
        await sync.handle(event(MARIA, lead=f"L{number}"))
    assert len(crm.letters.sent) == 18


def _fields(record: Any) -> list[Any]:
    return [getattr(record, name) for name in record.__dataclass_fields__]


@pytest.mark.parametrize("status", [401, 402, 403, 407])
async def test_a_refusal_of_us_pauses_everything_and_loses_nothing(
    crm: Crm, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, one probe at a time, no dead letter; when the CRM accepts us again everything is written once."""
    monkeypatch.setattr(pausing, "PROBE_DELAYS_S", (0.05,))
    crm.answer = lambda _: status
    pause = Pause("c2s")
    sync = crm.sync(pause)
    with capture_logs() as logs:
        tasks = [asyncio.create_task(_until_ended(sync, pause, event(MARIA, lead=f"L{n}"))) for n in range(20)]
        await eventually(lambda: len(crm.paths) >= 25)
        assert pause.reason == f"c2s: status {status}: check C2S_TOKEN"
        crm.answer = lambda _: 201
        await asyncio.wait_for(asyncio.gather(*tasks), LIMIT)
    assert pause.reason == ""
    assert [one["event"] for one in logs if "refuses us" in one["event"]] == ["paused: the partner refuses us"]
    assert [one["event"] for one in logs if "accepts us again" in one["event"]] == [
        "resumed: the partner accepts us again"
    ]
    told = [path for path, body in zip(crm.paths, crm.bodies, strict=True) if body]
    assert {path.split("/")[3] for path in told} == {f"L{n}" for n in range(20)}
    assert crm.letters.sent == []
    assert await CrmWrites(crm.pool).unconfirmed() == []  # type: ignore[arg-type]


async def test_a_pause_is_said_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two minutes of probes are three lines."""
    monkeypatch.setattr(pausing, "PROBE_DELAYS_S", (1.0,))
    now = 0.0
    pause = Pause("c2s", lambda: now)
    with capture_logs() as logs:
        for second in range(121):
            now = float(second)
            pause.refused("status 401")
    assert [one["since"] for one in logs] == ["0 s", "60 s", "120 s"]


async def test_a_probe_that_asks_nothing_lets_the_next_one_go(monkeypatch: pytest.MonkeyPatch, crm: Crm) -> None:
    """Events that need no write do not use up the time of the probes."""
    monkeypatch.setattr(pausing, "PROBE_DELAYS_S", (0.05, 3600.0))
    crm.answer = lambda _: 401
    pause = Pause("c2s")
    sync = crm.sync(pause)
    with pytest.raises(CredentialsRefusedError):
        await sync.handle(event(MARIA, lead="L0"))
    crm.answer = lambda _: 201
    records = [*(event(outcome="not_found", lead=f"N{n}") for n in range(5)), event(MARIA, lead="L1")]
    await asyncio.wait_for(asyncio.gather(*(_until_ended(sync, pause, record) for record in records)), LIMIT)
    assert pause.reason == ""


@pytest.mark.parametrize("lead", [".", "..", "%2e%2e", "a/../b", "a\nb"])
async def test_an_id_that_is_no_segment_of_a_path_is_never_asked_for(crm: Crm, lead: str) -> None:
    """An event may come from anybody: it is a dead letter without a call."""
    await crm.sync().handle(event(MARIA, lead=lead))
    assert crm.paths == []
    assert [headers["dl-stage"] for _, _, headers in crm.letters.sent] == [b"crm"]


async def test_what_a_person_reads_in_the_crm_is_clean(crm: Crm) -> None:
    """A lead's name, its product and what sources say have no line of their own, and nothing that is not seen."""
    nasty = "Ana\nCPF: 111.222.333-44\u202e\x1b[2J\u200b\r\nRenda: R$ 1"
    person = Person(
        "52998224725",
        nasty + "x" * 300,
        None,
        None,
        nasty,
        None,
        nasty,
        None,
        (),
        (),
        (nasty,),
        complete=True,
        source="work",
        fetched_at=NOW,
    )
    await crm.sync().handle(_named(google(person), nasty))
    (body,) = crm.bodies
    attributes = body["data"]["attributes"]
    assert attributes["name"] == "Ana CPF: 111.222.333-44 Renda: R$ 1"
    assert attributes["product"] == attributes["name"]
    lines = attributes["description"].split("\n")
    assert [line for line in lines if line.startswith("CPF:")] == ["CPF: 529.982.247-25"]
    assert [line for line in lines if line.startswith("Renda")] == []
    assert max(map(len, (line for line in lines if line.startswith("Nome")))) <= 110
    assert all(line.isprintable() for line in lines)


def _named(record: Any, name: str) -> Any:
    body = orjson.loads(record.value)
    body["lead"] |= {"name": name, "product": name}
    value = orjson.dumps(body)
    return type(record)(*(value if one == record.value else one for one in _fields(record)))


async def test_every_line_says_whose_event_it_is(crm: Crm) -> None:
    """Written, created, refused and unconfirmed: each with the lead and the event."""
    crm.answer = lambda lead: {"gone": 404, "odd": 500}.get(lead, 201)
    with capture_logs() as logs:
        for record in (event(MARIA, lead="good"), event(MARIA, lead="gone"), event(MARIA, lead="odd"), google(MARIA)):
            await crm.sync().handle(record)
    assert [one["lead"] for one in logs] == ["good", "gone", "odd", "G1"]
    assert all(len(one["event_id"]) == 36 for one in logs)


async def _until_ended(sync: CrmSync, pause: Pause, record: Any) -> None:
    """As the loop around it does."""
    while True:
        await pause.wait()
        try:
            return await sync.handle(record)
        except CredentialsRefusedError:
            continue
