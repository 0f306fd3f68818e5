"""Refusals of the CRM over real HTTP and a real database: of one lead, of every lead, of our credentials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from stream.crm import pause as pause_module
from stream.crm.client import C2S
from stream.crm.pause import Pause
from stream.crm.sync import CrmSync
from stream.crm.writes import CrmWrites
from stream.domain.errors import CredentialsRefusedError, DlqLimitError
from stream.domain.person import Candidate, Person, person_from_candidate
from stream.settings import load
from tests.support.crm_rig import RecordingProducer, event, eventually, google

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
MARIA = person_from_candidate(Candidate("MARIA LIMA", "52998224725"), NOW)
LIMIT = 20.0  # seconds


@dataclass
class Crm:
    """A C2S that answers with ``answer`` of the lead's id ("" for a lead that is created), and its CRM sync."""

    answer: Callable[[str], int] = lambda _: 201
    paths: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    dead_letters: RecordingProducer = field(default_factory=RecordingProducer)
    base: str = ""
    session: aiohttp.ClientSession | None = None
    pool: asyncpg.Pool | None = None

    async def handle(self, request: web.Request) -> web.Response:
        """Answer any request."""
        self.paths.append(request.raw_path)
        self.bodies.append(await request.json())
        return web.json_response({"id": "new"}, status=self.answer(request.match_info.get("lead", "")))

    def sync(self, pause: Pause | None = None, **settings: str) -> CrmSync:
        """A new CRM sync with these settings."""
        loaded = load({"C2S_BASE_URL": self.base, "C2S_TOKEN": "t0ken-of-c2s", "C2S_TIMEOUT": "2s", **settings})
        assert self.session is not None
        return CrmSync(C2S(self.session, loaded), CrmWrites(self.pool), self.dead_letters, loaded, pause)  # type: ignore[arg-type]


pytestmark = pytest.mark.usefixtures("no_retry_pauses")


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
    """Each refused lead is a dead letter with its reason; an occasional write keeps the limit from stopping it."""
    crm.answer = lambda lead: status if lead.startswith("gone") else 201
    sync = crm.sync(FUSE_IN_A_ROW="10", FUSE_MINIMUM="5", FUSE_SHARE="0.5")
    for number in range(60):
        await sync.handle(event(MARIA, lead=f"{'good' if number % 6 == 0 else 'gone'}-{number}"))
    assert [headers["dl-reason"] for _, _, headers in crm.dead_letters.sent] == [b"c2s: status %d" % status] * 50
    assert {headers["dl-error"] for _, _, headers in crm.dead_letters.sent} == {b"LeadRefusedError"}


async def test_events_without_a_write_do_not_reset_the_limit(crm: Crm) -> None:
    """Events that cause no call do not interrupt a row of refusals: the tenth refusal stops the process."""
    crm.answer = lambda _: 404
    sync = crm.sync(FUSE_IN_A_ROW="10")
    for number in range(9):
        await sync.handle(event(MARIA, lead=f"L{number}"))
        await sync.handle(event(outcome="not_found", lead=f"N{number}"))
    with pytest.raises(DlqLimitError, match=r"refused 10 leads and took no write.*C2S_BASE_URL") as caught:
        await sync.handle(event(MARIA, lead="L9"))
    assert caught.value.exit_code == 3
    assert len(crm.dead_letters.sent) == 9


async def test_refused_leads_and_invalid_records_are_counted_apart(crm: Crm) -> None:
    """Nine invalid records between refused leads are not ten in a row."""
    crm.answer = lambda lead: 201 if lead == "good" else 422
    sync = crm.sync(FUSE_IN_A_ROW="10")
    no_event = event(MARIA)
    for number in range(9):
        await sync.handle(type(no_event)(*(b"\xff" if one == no_event.value else one for one in _fields(no_event))))
        await sync.handle(event(MARIA, lead=f"L{number}"))
    assert len(crm.dead_letters.sent) == 18


def _fields(record: Any) -> list[Any]:
    return [getattr(record, name) for name in record.__dataclass_fields__]


@pytest.mark.parametrize("status", [401, 402, 403, 407])
async def test_refused_credentials_pause_all_writes_and_lose_none(
    crm: Crm, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause logs one line, sends single probes and writes no dead letter; after it each event is written once."""
    monkeypatch.setattr(pause_module, "PROBE_DELAYS_S", (0.05,))
    crm.answer = lambda _: status
    pause = Pause("c2s")
    sync = crm.sync(pause)
    with capture_logs() as logs:
        tasks = [asyncio.create_task(_until_handled(sync, pause, event(MARIA, lead=f"L{n}"))) for n in range(20)]
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
    assert crm.dead_letters.sent == []
    assert await CrmWrites(crm.pool).unconfirmed() == []  # type: ignore[arg-type]


async def test_a_pause_is_logged_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two minutes of probes are three log lines."""
    monkeypatch.setattr(pause_module, "PROBE_DELAYS_S", (1.0,))
    now = 0.0
    pause = Pause("c2s", lambda: now)
    with capture_logs() as logs:
        for second in range(121):
            now = float(second)
            pause.refused("status 401")
    assert [one["since"] for one in logs] == ["0 s", "60 s", "120 s"]


async def test_a_probe_without_a_call_lets_the_next_one_go(monkeypatch: pytest.MonkeyPatch, crm: Crm) -> None:
    """An event that needs no write does not delay the next probe."""
    monkeypatch.setattr(pause_module, "PROBE_DELAYS_S", (0.05, 3600.0))
    crm.answer = lambda _: 401
    pause = Pause("c2s")
    sync = crm.sync(pause)
    with pytest.raises(CredentialsRefusedError):
        await sync.handle(event(MARIA, lead="L0"))
    crm.answer = lambda _: 201
    records = [*(event(outcome="not_found", lead=f"N{n}") for n in range(5)), event(MARIA, lead="L1")]
    await asyncio.wait_for(asyncio.gather(*(_until_handled(sync, pause, record) for record in records)), LIMIT)
    assert pause.reason == ""


@pytest.mark.parametrize("lead", [".", "..", "%2e%2e", "a/../b", "a\nb"])
async def test_an_id_that_is_no_path_segment_causes_no_call(crm: Crm, lead: str) -> None:
    """An event whose lead id can't be in a path is a dead letter without a call."""
    await crm.sync().handle(event(MARIA, lead=lead))
    assert crm.paths == []
    assert [headers["dl-stage"] for _, _, headers in crm.dead_letters.sent] == [b"crm"]


async def test_text_in_the_crm_has_no_control_characters(crm: Crm) -> None:
    """Names and products add no line to the description and contain no invisible characters."""
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


async def test_every_log_line_names_the_lead_and_the_event(crm: Crm) -> None:
    """The log lines of written, created, refused and unconfirmed events name the lead and the event."""
    crm.answer = lambda lead: {"gone": 404, "odd": 500}.get(lead, 201)
    with capture_logs() as logs:
        for record in (event(MARIA, lead="good"), event(MARIA, lead="gone"), event(MARIA, lead="odd"), google(MARIA)):
            await crm.sync().handle(record)
    assert [one["lead"] for one in logs] == ["good", "gone", "odd", "G1"]
    assert all(len(one["event_id"]) == 36 for one in logs)


async def _until_handled(sync: CrmSync, pause: Pause, record: Any) -> None:
    """Handle a record as the consumer loop does."""
    while True:
        await pause.wait()
        try:
            return await sync.handle(record)
        except CredentialsRefusedError:
            continue
