"""Every line about a webhook names its lead and its event; every webhook's end has a line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import orjson
import pytest

from stream import topics
from stream.domain.events import event_id
from stream.domain.leads import decode_webhook, lead_id_in, source_in
from stream.local.people import population
from stream.logs import configure
from stream.settings import load
from tests.support.agent_rig import Worker
from tests.support.fake_rig import FakeRig
from tests.support.fakes import c2s_webhook
from tests.unit.test_logs import _restored  # noqa: F401 - a fixture

SOMEONE, STRANGER = population(2, seed=31)
Read = Callable[[], list[dict[str, object]]]


@pytest.fixture
def read(_restored: None, capsys: pytest.CaptureFixture[str]) -> Iterator[Read]:  # noqa: F811 - the fixture
    """The log of a worker as JSON, read so far."""
    configure(load({"LOG_JSON": "true"}), "worker")
    return lambda: [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]  # type: ignore[return-value]


def known(lead: str, someone: object = SOMEONE) -> bytes:
    return c2s_webhook(lead, name=someone.name, phone=someone.phone)  # type: ignore[attr-defined]


def identity(value: bytes) -> dict[str, str]:
    lead = decode_webhook(value).lead
    return {"lead": lead.id, "event_id": event_id(lead)}


async def test_every_answer_has_one_line_with_lead_and_event(read: Read) -> None:
    """The tiers' lines as they were; who was not asked for has a line too."""
    rig = FakeRig()
    rig.know(SOMEONE)
    worker = Worker(rig)
    values = [known("l-1"), known("l-2"), known("l-3", STRANGER), c2s_webhook("l-4")]
    for value in values:
        await worker.receive(value)
    await asyncio.sleep(0)  # lines leave with the turn of the loop
    lines = read()
    assert [(line["event"], line["outcome"]) for line in lines] == [
        ("DIRETRIX API", "enriched"),
        ("Found existing enrichment", "enriched"),
        ("DIRETRIX API", "not_found"),
        ("NO CONTACT", "no_contact"),
    ]
    for line, value in zip(lines, values, strict=True):
        assert line.items() >= identity(value).items()
        assert line["contact"]


async def test_what_is_parked_moved_or_dead_names_lead_and_event(read: Read) -> None:
    """An operator finds a webhook by either, wherever it went."""
    rig = FakeRig()
    rig.fail_once("diretrix")
    worker = Worker(rig)
    value = known("l-1")
    await worker.receive(value)
    await worker.receive(value, headers=[])  # moved to its contact's own partition, unless it is there
    bad = orjson.dumps({"source": "c2s", "received_at": "2026-01-31T12:00:00Z", "payload": {"id": "l-9"}})
    await worker.receive(bad, headers=[("ce_id", b"5f0c8a8e-2f43-5d0b-9d0e-3a1f5a7c9b21")])
    await asyncio.sleep(0)  # lines leave with the turn of the loop
    lines = {line["event"]: line for line in read()}
    assert lines["parked"].items() >= identity(value).items()
    if worker.producer.of(topics.WEBHOOKS.name):
        assert lines["rerouted"].items() >= identity(value).items()
    dead = {"lead": "l-9", "event_id": "5f0c8a8e-2f43-5d0b-9d0e-3a1f5a7c9b21"}
    assert lines["dead letter"].items() >= dead.items()


@pytest.mark.parametrize(
    ("value", "lead"),
    [
        (None, ""),
        (b"", ""),
        (b"\xff", ""),
        (b"[1]", ""),
        (b'{"payload": 3}', ""),
        (b'{"payload": {"id": ["x"]}}', ""),
        (b'{"payload": {"id": "a"}}', "a"),
        (b'{"payload": {"id": 7}}', "7"),
        (b'{"payload": {"lead_id": "g"}}', "g"),
        (b'{"payload": {"originLeadId": "o"}}', "o"),
        (b'{"normalised": {"lead": "n"}, "payload": {"id": "a"}}', "n"),
        (b'{"payload": ' + b"[" * 100_000, ""),
    ],
)
def test_the_lead_of_what_can_not_be_read_is_shown_where_it_can(value: bytes | None, lead: str) -> None:
    """Whatever lies in the topic, nothing is raised."""
    assert lead_id_in(value) == lead


@pytest.mark.parametrize(
    ("value", "source"),
    [
        (b'{"payload":{"source":"x"},"source":"c2s"}', "c2s"),
        (b'{"source":"of a later release"}', "of a later release"),
        (b'{"source":null}', ""),
        (b'{"source":7}', ""),
        (b'{"payload":{}}', ""),
        (b'["c2s"]', ""),
        (b'{"source":"c2s"', ""),
        (b'{"payload":' + b"[" * 100_000 + b',"source":"c2s"}', ""),
        (b'{"source":"\xff"}', ""),
        (b"", ""),
        (None, ""),
    ],
)
def test_the_source_of_whatever_lies_in_a_retry_topic(value: bytes | None, source: str) -> None:
    """It is read without the rest; what names none holds nothing up."""
    assert source_in(value) == source
