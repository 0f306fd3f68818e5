"""The Grupo OLX webhook over real HTTP: credentials first, an answer in time, and no lead lost."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
from aiokafka import ConsumerRecord

from producers.app import App
from producers.memory import MemoryPublisher
from producers.server import listen
from producers.sources.grupo_olx import ENDPOINT
from stream import metrics, topics
from stream.crm.client import C2S
from stream.crm.sync import CrmSync
from stream.crm.writes import CrmWrites
from stream.domain.dead_letters import read_dead_letter
from stream.domain.events import Answer, Outcome, encode_event, event_id
from stream.domain.identity import contact_of
from stream.domain.leads import decode_webhook
from stream.domain.redrive import redriven_record
from stream.domain.sources.grupo_olx import read_lead
from stream.local.simulators import Simulators, serving
from stream.logs import configure
from stream.settings import load

PATH = "/api/v1/webhooks/grupo-olx"
NOW = datetime(2026, 1, 31, 16, tzinfo=UTC)
GOLDEN = Path(__file__).parents[1] / "golden"
OLD, NEW = "olx:the-old-password-of-olx", "olx:the-new-password:of-olx"
IN_TIME = 4.5  # seconds; they wait 5


@dataclass
class Front:
    """A server, and the broker behind it."""

    session: aiohttp.ClientSession
    port: int
    broker: MemoryPublisher

    async def post(self, body: Any, secret: str | None = OLD) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers of a POST."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = {} if secret is None else authorization(secret)
        async with self.session.post(PATH, data=data, headers=headers) as response:
            return response.status, await response.json(), dict(response.headers)


def authorization(secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()}


def golden(name: str) -> dict[str, Any]:
    payload: dict[str, Any] = orjson.loads((GOLDEN / f"grupo_olx_{name}.json").read_bytes())
    return payload


@pytest.fixture
async def front(request: pytest.FixtureRequest) -> AsyncIterator[Front]:
    broker = MemoryPublisher()
    settings = load({"GRUPO_OLX_CREDENTIALS": f"{OLD}, {NEW}", **getattr(request, "param", {})})
    async with (
        listen(App(settings, broker, lambda: NOW).handle, "127.0.0.1", 0, 100, 2.0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield Front(session, port, broker)


@pytest.mark.parametrize("secret", [OLD, NEW])
async def test_a_lead_is_taken_with_the_credentials_of_a_rotation(front: Front, secret: str) -> None:
    """Old and new password are valid; the lead's bytes go on as they came, keyed by its contact."""
    status, body, headers = await front.post(golden("lead"), secret)
    (record,) = front.broker.webhooks
    assert (status, body, headers["X-Event-Id"]) == (200, {}, record.identity)
    assert record.identity == event_id(read_lead(golden("lead")))
    assert record.key == b"+5521998765432"
    assert orjson.dumps(golden("lead")) in record.value
    assert decode_webhook(record.value).source == "grupo_olx"


@pytest.mark.parametrize(
    "secret", [None, "", "olx", "olx:", ":the-old-password-of-olx", "olx:The-old-password-of-olx", f"{OLD}, {NEW}"]
)
async def test_wrong_credentials_are_refused(front: Front, secret: str | None) -> None:
    """401 with the challenge, and nothing is published."""
    status, body, headers = await front.post(golden("lead"), secret)
    assert (status, set(body)) == (401, {"message"})
    assert headers["WWW-Authenticate"].startswith("Basic realm=")
    assert front.broker.records == []


async def test_a_token_of_another_webhook_is_no_credential(front: Front) -> None:
    """Neither the header of C2S nor a field of the body is looked at."""
    headers = {"X-Webhook-Token": OLD}
    async with front.session.post(f"{PATH}?token={OLD}", json={"google_key": OLD}, headers=headers) as response:
        assert response.status == 401


async def test_credentials_are_verified_before_the_body_is_read(front: Front) -> None:
    """Who has none is refused while the body has not been sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode())
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.close()


@pytest.mark.parametrize("front", [{"GRUPO_OLX_CREDENTIALS": ""}], indirect=True, ids=["no credentials"])
async def test_without_credentials_the_webhook_is_not_served(front: Front) -> None:
    """A new source opens no door by itself."""
    assert (await front.post(golden("lead")))[0] == 404


@pytest.mark.parametrize("listing", ["missing", None, "", "  ", "\x00", [], {}, True])
async def test_a_lead_without_a_listing_is_refused_counted_and_kept(front: Front, listing: Any) -> None:
    """422, else the portal believes that it was matched; the dead letter has the payload and can be redriven."""
    lead = golden("lead") | {"clientListingId": listing}
    if listing == "missing":
        del lead["clientListingId"]
    rejected = metrics.RECEIVED.labels("grupo_olx", "rejected")._value.get()  # noqa: SLF001 - it has no other way
    for _ in range(3):
        status, body, _headers = await front.post(lead)
        assert status == 422
        assert body["message"].startswith("clientListingId: ")
    assert metrics.RECEIVED.labels("grupo_olx", "rejected")._value.get() == rejected + 3  # noqa: SLF001
    assert front.broker.webhooks == []
    (dead,) = front.broker.dead
    assert dead.value == orjson.dumps(lead)
    headers = [(name, value or b"") for name, value in dead.headers]
    letter = read_dead_letter(0, dead.key, dead.value, headers, NOW)
    assert letter.reason.startswith("clientListingId: ")
    redriven = redriven_record(letter, dead.value, frozenset())
    again = decode_webhook(redriven.value).lead
    assert (redriven.topic, event_id(again)) == (topics.WEBHOOKS.name, event_id(read_lead(golden("lead"))))
    assert again.answers == tuple(
        one for one in read_lead(golden("lead")).answers if one.question != "Código do imóvel"
    )


@pytest.mark.parametrize("number", [12, "12"])
async def test_a_listing_may_be_a_number(front: Front, number: Any) -> None:
    """A code that is a number names a property as well."""
    assert (await front.post(golden("lead") | {"clientListingId": number}))[0] == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"42", b"null", b"\xff", b"[" * 60_000])
async def test_what_is_no_object_is_refused(front: Front, body: bytes) -> None:
    """400, and it is nobody's dead letter."""
    assert (await front.post(body))[0] == 400
    assert front.broker.records == []


async def test_a_lead_that_json_can_say_and_nobody_can_hold_is_kept(front: Front) -> None:
    """A name cut in the middle of an emoji: 422 and a dead letter."""
    body = b'{"originLeadId":"o1","clientListingId":"A","name":"\\ud83d"}'
    assert (await front.post(body))[0] == 422
    assert front.broker.dead[0].value == body


async def test_a_body_has_at_most_64_kib(front: Front) -> None:
    """One lead is small."""
    lead = golden("lead")
    room = ENDPOINT.max_body_bytes - len(orjson.dumps(lead | {"pad": ""}))
    assert (await front.post(lead | {"pad": "x" * room}))[0] == 200
    assert (await front.post(lead | {"pad": "x" * (room + 1)}))[0] == 413


async def test_the_answer_comes_in_time_although_the_broker_is_slow(front: Front) -> None:
    """503 with Retry-After before they give up; the second try is a duplicate of what reached the topic."""
    front.broker.gate.clear()
    started = asyncio.get_running_loop().time()
    status, _, headers = await front.post(golden("lead"))
    assert asyncio.get_running_loop().time() - started < IN_TIME
    assert (status, int(headers["Retry-After"]) > 0) == (503, True)
    front.broker.gate.set()
    assert (await front.post(golden("lead")))[0] == 200
    first = front.broker.webhooks[0].identity
    assert (await front.post(golden("lead")))[0] == 200
    assert {record.identity for record in front.broker.webhooks} == {first}


async def test_a_slow_body_is_answered_in_time(front: Front) -> None:
    """The time for the body is part of the time for the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nAuthorization: {authorization(OLD)['Authorization']}"
    )
    started = asyncio.get_running_loop().time()
    writer.write(f"{head}\r\n\r\n".encode())
    async with asyncio.timeout(30):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    assert asyncio.get_running_loop().time() - started < IN_TIME
    writer.close()


async def test_what_waits_behind_a_slow_answer_has_its_own_time(front: Front) -> None:
    """Many leads at once are all answered before the portal gives up."""
    front.broker.gate.clear()
    started = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*(front.post(golden("lead") | {"originLeadId": f"o{n}"}) for n in range(30)))
    assert {status for status, _, _ in answers} == {503}
    assert asyncio.get_running_loop().time() - started < IN_TIME


async def test_guesses_are_counted_and_the_right_password_is_served(front: Front) -> None:
    """429 after ten wrong ones in a minute; a right one is never held up."""
    answers = [(await front.post(b"{}", "olx:guess"))[0] for _ in range(12)]
    assert answers == [401] * 10 + [429] * 2
    assert (await front.post(golden("lead")))[0] == 200


async def test_neither_credentials_nor_the_person_are_logged(
    front: Front, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever happens to a lead, its contact, its message and the password stay out of the log."""
    configure(load({"GRUPO_OLX_CREDENTIALS": f"{OLD}, {NEW}", "LOG_LEVEL": "DEBUG"}), "producers")
    await front.post(golden("lead") | {"clientListingId": ""})
    await front.post(golden("lead") | {"originLeadId": "11987654321", "clientListingId": None})
    await front.post(golden("lead"), "olx:almost-the-old-password")
    front.broker.failures = 1
    await front.post(golden("lead"))
    written = capsys.readouterr().err + caplog.text
    assert "clientListingId" in written
    for said in ("password", "98765", "Ana", "interesse", authorization(OLD)["Authorization"][6:]):
        assert said not in written


class NoLetters:
    """Stands in for the producer of dead letters: there must be none."""

    async def send_and_wait(self, *args: Any, **kwargs: Any) -> None:
        """Fail."""
        raise AssertionError(args, kwargs)


async def test_the_lead_is_created_in_the_crm(front: Front, pool: asyncpg.Pool) -> None:
    """With the portal as its source and all that was said in its description, once."""
    crm = Simulators(scale=0.0)
    await front.post(golden("lead") | {"leadOrigin": "VivaReal"})
    webhook = decode_webhook(front.broker.webhooks[0].value)
    contact = contact_of(webhook.lead, frozenset())
    value = encode_event(webhook, contact, Answer(Outcome.PENDING), NOW)
    async with serving(crm) as base, aiohttp.ClientSession() as outgoing:
        settings = load({"C2S_BASE_URL": base})
        sync = CrmSync(C2S(outgoing, settings), CrmWrites(pool), NoLetters(), settings)  # type: ignore[arg-type]
        for _ in range(2):
            await sync.handle(
                ConsumerRecord(topics.ENRICHED.name, 0, 0, 0, 0, contact.record_key, value, None, 0, len(value), ())
            )
    (lead,) = crm.leads
    said = lead["data"]["attributes"] if "data" in lead else lead
    assert (said["source"], said["name"], said["phone"]) == ("VivaReal", "Ana Paula Souza", "+5521998765432")
    assert "Mensagem do lead: Olá, tenho interesse neste imóvel. Aguardo o contato." in said["description"]
    assert "DADOS DO ANÚNCIO\n- Portal: VivaReal\n- Código do imóvel: AP0171" in said["description"]
