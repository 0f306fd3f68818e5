"""What went wrong in the service that this one replaces, one test each, in the order of the contracts."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import orjson
import pytest
import structlog

from producers.app import App
from producers.memory import MemoryPublisher
from producers.server import listen
from stream.domain.events import Outcome, Tier
from stream.local.people import population
from stream.logs import configure, masked
from stream.settings import load
from tests.support.agent_rig import PARTITION, Worker
from tests.support.fakes import NOW, c2s_webhook
from tests.support.real_rig import RealRig, real_rig

C2S = "/api/v1/webhooks/c2s"
GOOGLE = "/api/v1/webhooks/google-ads"
SOMEONE, OTHER = population(2, seed=23)
LOCAL = f"({SOMEONE.phone[:2]}) {SOMEONE.phone[2:7]}-{SOMEONE.phone[7:]}"
INTERNATIONAL = f"+55{SOMEONE.phone}"
Party = Callable[..., Awaitable[UUID]]


@pytest.fixture
async def rig(pool: asyncpg.Pool) -> AsyncIterator[RealRig]:
    async with real_rig(pool) as made:
        yield made


@pytest.fixture
def worker(rig: RealRig) -> Worker:
    return Worker(rig)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    settings = load({"C2S_WEBHOOK_TOKEN": "c2s-secret", "GOOGLE_ADS_KEY": "google-secret"})
    async with (
        listen(App(settings, MemoryPublisher(), lambda: NOW).handle, "127.0.0.1", 0, 100, 2.0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


@pytest.fixture
def _log_restored() -> Iterator[None]:
    root, secrets = logging.getLogger(), set(masked._secrets)  # noqa: SLF001 - what configure changes is put back
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, masked._secrets = handlers, secrets  # noqa: SLF001
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    masked._mask_cached.cache_clear()  # noqa: SLF001
    structlog.reset_defaults()


async def test_1_a_party_that_was_never_enriched_answers_with_no_empty_person(
    rig: RealRig, worker: Worker, party: Party
) -> None:
    """A phone that matches a party without enrichment is completed first: the event carries the person's data."""
    rig.know(SOMEONE)
    await party(SOMEONE.cpf, SOMEONE.name, (("phone", SOMEONE.phone),), enriched=False)
    (event,) = await worker.receive(c2s_webhook(name=SOMEONE.name, phone=LOCAL))
    assert event.person is not None
    assert event.person.complete
    assert (rig.calls("diretrix"), rig.calls("work")) == (0, 1)


async def test_2_two_spellings_of_one_phone_are_one_contact(rig: RealRig, worker: Worker) -> None:
    """The number as typed and the number with its country code have one key and cost one call."""
    rig.know(SOMEONE)
    await worker.receive(c2s_webhook("a", name=SOMEONE.name, phone=LOCAL))
    events = await worker.receive(c2s_webhook("b", name=SOMEONE.name, phone=INTERNATIONAL))
    assert [event.tier for event in events] == [Tier.DIRETRIX, Tier.CACHE]
    assert {event.contact.key for event in events} == {INTERNATIONAL}
    assert rig.calls("diretrix") == 1


@pytest.mark.parametrize("stored", [SOMEONE.phone, f"55{SOMEONE.phone}"])
@pytest.mark.parametrize("typed", [LOCAL, f"55{SOMEONE.phone}"])
async def test_3_whatever_spelling_is_stored_tier_2_finds_it(
    rig: RealRig, worker: Worker, party: Party, stored: str, typed: str
) -> None:
    """A contact of the database answers in every spelling, without a call."""
    await party(SOMEONE.cpf, SOMEONE.name, (("phone", stored),), raw=SOMEONE.work())
    rig.clock.at = await _database_now(rig)
    (event,) = await worker.receive(c2s_webhook(name=SOMEONE.name, phone=typed))
    assert (event.outcome, event.tier) == (Outcome.ENRICHED, Tier.POSTGRES)
    assert (rig.calls("diretrix"), rig.calls("work")) == (0, 0)


async def test_4_a_miss_is_replaced_by_the_result_of_its_call(rig: RealRig, worker: Worker) -> None:
    """A call that failed leaves no "unknown" behind, and what was paid for answers the next webhook."""
    rig.know(SOMEONE)
    rig.fail_once("diretrix")
    webhooks = [c2s_webhook(lead, name=SOMEONE.name, phone=LOCAL) for lead in "abc"]
    outcomes = [(await worker.receive(webhook))[-1].outcome for webhook in webhooks]
    assert outcomes == [Outcome.PENDING, Outcome.ENRICHED, Outcome.ENRICHED]
    assert rig.calls("diretrix") == 2  # the one that failed, the one that was paid for


async def test_4_what_was_paid_before_a_failure_is_counted_in_the_parked_event(rig: RealRig, worker: Worker) -> None:
    """Diretrix was paid and the Work API failed: the parked event says so, and the one after it pays no Diretrix."""
    rig.know(SOMEONE)
    rig.fail_once("work")
    webhook = c2s_webhook(name=SOMEONE.name, phone=LOCAL)
    await worker.receive(webhook)
    pending, enriched = await worker.receive(webhook)
    assert (pending.outcome, pending.calls.diretrix, pending.calls.work) == (Outcome.PENDING, 1, 1)  # work is unsure
    assert (enriched.outcome, enriched.calls.diretrix, enriched.calls.work) == (Outcome.ENRICHED, 0, 1)


async def test_5_an_enrichment_in_the_raw_payload_is_read(rig: RealRig, worker: Worker, party: Party) -> None:
    """What stands in raw_payload, with {} in normalized_data, comes out with its data."""
    await party(SOMEONE.cpf, SOMEONE.name, (("phone", SOMEONE.phone),), raw=SOMEONE.work(), normalised={})
    rig.clock.at = await _database_now(rig)
    (event,) = await worker.receive(c2s_webhook(name=SOMEONE.name, phone=LOCAL))
    assert event.person is not None
    assert (event.person.cpf, event.person.mother_name is None) == (SOMEONE.cpf, False)
    assert event.person.income is not None


async def test_6_the_e_mail_is_tried_when_the_phone_is_not_known(rig: RealRig, worker: Worker) -> None:
    """With a new phone beside a known e-mail, the e-mail answers: in PostgreSQL, then from the table."""
    rig.know(SOMEONE)
    await worker.receive(c2s_webhook("a", name=SOMEONE.name, email=SOMEONE.email))
    again = c2s_webhook("b", name=SOMEONE.name, phone=OTHER.phone, email=SOMEONE.email)
    assert (await worker.receive(again))[-1].tier == Tier.POSTGRES, "nobody knows whose the new phone is"
    assert (await worker.receive(again))[-1].tier == Tier.CACHE
    (fresh,) = await Worker(rig).receive(again)
    assert fresh.tier == Tier.POSTGRES
    assert rig.calls("diretrix") == 1


async def test_7_diretrix_is_asked_without_the_country_code(rig: RealRig, worker: Worker) -> None:
    """Whatever was typed, Diretrix sees the national digits."""
    rig.know(SOMEONE)
    await worker.receive(c2s_webhook(name=SOMEONE.name, phone=INTERNATIONAL))
    assert [asked for asked in rig.simulators.asked if asked.startswith("diretrix/")] == [f"diretrix/{SOMEONE.phone}"]


async def test_8_an_offset_is_not_committable_before_its_event_is_delivered(rig: RealRig, worker: Worker) -> None:
    """What a restart would lose is read again: the watermark waits for the broker to have the event."""
    rig.know(SOMEONE)
    await worker.receive(c2s_webhook("a", name=SOMEONE.name, phone=LOCAL), c2s_webhook("b"), b"no webhook")
    assert worker.trackers.committable() == {PARTITION: 0}
    assert worker.trackers.unfinished == 3
    worker.producer.acknowledge()
    assert worker.trackers.committable() == {PARTITION: 3}


async def test_9_deliveries_at_once_are_each_counted(http: aiohttp.ClientSession) -> None:
    """Of equal deliveries at once one is processed, and every other one is told that it is a duplicate."""
    body = _c2s_body()

    async def post() -> tuple[int, int]:
        async with http.post(C2S, data=body, headers={"X-Webhook-Token": "c2s-secret"}) as response:
            answer = await response.json()
            return answer["processed"], answer["duplicates"]

    answers = await asyncio.gather(*(post() for _ in range(10)))
    assert sorted(answers) == [(0, 1)] * 9 + [(1, 0)]


@pytest.mark.parametrize("headers", [{}, {"X-Webhook-Token": ""}, {"X-Webhook-Token": "c2s-secre"}])
async def test_10_without_the_right_secret_nobody_is_let_in(
    http: aiohttp.ClientSession, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing, empty or wrong secret is a 401 on both routes, and each is compared in constant time."""
    compared: list[int] = []
    compare = hmac.compare_digest

    def watched(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    async with http.post(C2S, data=_c2s_body(), headers=headers) as response:
        assert response.status == 401
    google = {"lead_id": "g1", **({"google_key": headers["X-Webhook-Token"]} if headers else {})}
    async with http.post(GOOGLE, json=google) as response:
        assert response.status == 401
    assert len(compared) == 2
    assert len(set(compared)) == 1


async def test_11_two_webhooks_of_one_new_contact_at_once_pay_once(rig: RealRig, worker: Worker) -> None:
    """The second waits for the first's result: two events, one call of each partner."""
    rig.know(SOMEONE)
    events = await worker.receive(
        c2s_webhook("a", name=SOMEONE.name, phone=LOCAL), c2s_webhook("b", name=SOMEONE.name, phone=INTERNATIONAL)
    )
    assert [event.outcome for event in events] == [Outcome.ENRICHED] * 2
    assert sum(event.calls.diretrix for event in events) == 1
    assert (rig.calls("diretrix"), rig.calls("work")) == (1, 1)


@pytest.mark.usefixtures("_log_restored")
async def test_12_no_identifier_stands_in_the_log(
    rig: RealRig, worker: Worker, http: aiohttp.ClientSession, capfd: pytest.CaptureFixture[str]
) -> None:
    """Answered, parked, dead or posted: no phone, e-mail or CPF is written in clear, nor a token."""
    configure(load({"LOG_LEVEL": "DEBUG"}), "worker")
    rig.know(SOMEONE)
    webhook = c2s_webhook("a", name=SOMEONE.name, phone=LOCAL, email=SOMEONE.email)
    rig.fail_once("work")
    await worker.receive(webhook)
    await worker.receive(webhook, b"no webhook")
    async with http.post(f"{C2S}?token=c2s-secret", data=_c2s_body()) as response:
        assert response.status == 200
    log = capfd.readouterr().err
    assert "parked" in log
    assert "DIRETRIX API" in log or "DB HIT" in log or "Found existing enrichment" in log
    for secret in (SOMEONE.phone, SOMEONE.phone[2:], LOCAL, SOMEONE.email, SOMEONE.cpf, "c2s-secret", "token=token"):
        assert secret not in log, secret


def _c2s_body() -> bytes:
    customer = {"name": SOMEONE.name, "phone": LOCAL, "email": SOMEONE.email}
    attributes = {"updated_at": "2026-01-31T12:00:00Z", "customer": customer}
    return orjson.dumps({"id": "L1", "hook_action": "on_create_lead", "attributes": attributes})


async def _database_now(rig: RealRig) -> Any:
    """The database's time: rows of the replaced service are dated by it."""
    return await rig.pool.fetchval("SELECT now()")
