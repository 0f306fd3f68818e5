"""``dlq`` on a real broker: letters are listed, shown, redriven and dropped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from producers.records import RawWebhook, Record, dead_letter_record
from stream.dead_letters import queue as dlq
from stream.dead_letters.queue import DeadLetterQueue
from stream.domain.dead_letters import DeadLetterFilter, DeadLetterStatus, dead_letter_headers
from stream.domain.errors import PoisonError
from stream.domain.events import Outcome, decode_event, event_id
from stream.domain.leads import Source, decode_webhook
from stream.domain.parking import Parking
from stream.kafka.clients import open_producer
from stream.settings import Settings
from stream.topics import DEAD, ENRICHED, WEBHOOKS
from tests.integration.test_dlq_guard import surroundings
from tests.support.enriched import command, event, everything, start, until
from tests.support.fakes import c2s_webhook

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
PHONE, EMAIL, CPF = "11987654321", "ana.souza@example.com", "52998224725"
BODY = orjson.dumps(
    {"id": "refused", "attributes": {"updated_at": "2026-01-31T12:00:00Z", "customer": {"phone": PHONE}}}
)


def dead(  # noqa: PLR0913 - a letter
    stage: str,
    value: bytes | None,
    *,
    error: str = "PoisonError",
    topic: str = WEBHOOKS.name,
    hours_ago: int = 0,
    key: bytes | None = b"a key",
    reason: str = "id: required",
) -> Record:
    """A letter as the worker and the CRM sync write it; its original partition is 1."""
    headers = dead_letter_headers(
        headers=[("ce_id", b"x"), ("null", None), *Parking(3, NOW, NOW, 0).headers("test")],  # type: ignore[list-item]
        topic=topic,
        partition=1,
        offset=5,
        timestamp=NOW.timestamp(),
        stage=stage,
        error=error,
        reason=reason,
        attempts=4,
        failed_at=NOW - timedelta(hours=hours_ago),
    )
    return Record(DEAD.name, key, value, headers, "")  # type: ignore[arg-type] - a tombstone has no value


LETTERS = [
    dead("enrich", b"rubbish", hours_ago=5),
    dead("enrich", c2s_webhook("given-up", phone=PHONE), error="GivenUpError", hours_ago=4),
    dead("crm", orjson.dumps(event("L1")), topic=ENRICHED.name, hours_ago=3),
    dead_letter_record(
        Source.C2S, RawWebhook(BODY, orjson.loads(BODY)), NOW - timedelta(hours=2), PoisonError("of old")
    ),
    dead("enrich", None, hours_ago=1),
]


@pytest.fixture
async def full(broker: Settings) -> Settings:
    """A broker with five letters, numbered from 0."""
    await write(broker, LETTERS)
    return broker


async def write(settings: Settings, records: list[Record]) -> None:
    async with open_producer(settings) as producer:
        for one in records:
            await producer.send_and_wait(one.topic, value=one.value, key=one.key, headers=one.headers, partition=0)


async def run(settings: Settings, *arguments: str) -> Any:
    """Run ``dlq`` with ``--json``; returns the object that it prints."""
    code, out, said = await command(settings, "dlq", *arguments, "--json")
    assert code == 0, said
    return orjson.loads(out)


def numbers(answer: dict[str, Any]) -> list[int]:
    return [letter["number"] for letter in answer["letters"]]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], [0, 1, 2, 3, 4]),
        (["--stage", "enrich"], [0, 1, 4]),
        (["--stage", "crm", "--stage", "receive"], [2, 3]),
        (["--class", "GivenUpError"], [1]),
        (["--topic", "contacts.enriched"], [2]),
        (["--since", "2026-01-31T09:00:00Z", "--until", "2026-01-31T11:00:00"], [2, 3]),
        (["1", "3", "77"], [1, 3]),
        (["--stage", "crm", "--class", "GivenUpError"], []),
    ],
)
async def test_letters_are_filtered(full: Settings, arguments: list[str], wanted: list[int]) -> None:
    """Filters by stage, class, topic, time and number select letters together."""
    assert numbers(await run(full, "list", *arguments)) == wanted


async def test_a_list_has_the_origin_and_the_reason(full: Settings) -> None:
    """A list has every fact of a letter, as JSON and as a table."""
    (letter,) = (await run(full, "list", "1"))["letters"]
    assert letter.pop("version")
    assert letter == {
        "number": 1,
        "fate": "open",
        "stage": "enrich",
        "class": "GivenUpError",
        "reason": "id: required",
        "topic": "webhooks",
        "partition": 1,
        "offset": 5,
        "timestamp": NOW.isoformat(),
        "attempts": 4,
        "first_failed_at": "2026-01-31T08:00:00+00:00",
        "failed_at": "2026-01-31T08:00:00+00:00",
        "key": "a key",
        "bytes": len(LETTERS[1].value),
    }
    code, out, _ = await command(full, "dlq", "list")
    assert code == 0
    assert "5 dead letters" in out
    assert "contacts.enriched/1/5" in out


async def test_identifiers_are_shown_only_on_request(broker: Settings) -> None:
    """Only --reveal shows identifiers in the key, the headers, the bytes and the reason."""
    value = c2s_webhook("L", name="Ana", phone=PHONE, email=EMAIL)
    await write(broker, [dead("enrich", value, key=f"+55{PHONE}".encode(), reason=f"no {EMAIL}, no {CPF} [/red]")])
    for arguments in (["list"], ["list", "--json"], ["show", "0"], ["show", "0", "--json"], ["redrive", "0"]):
        _, out, said = await command(broker, "dlq", *arguments)
        for secret in (PHONE, EMAIL, CPF):
            assert secret not in out + said, arguments
        assert "enrich" in out or "redriv" in out
    _, out, _ = await command(broker, "dlq", "show", "0", "--reveal")
    assert PHONE in out
    assert EMAIL in out


async def test_control_characters_are_escaped(broker: Settings) -> None:
    """Control characters of a hostile message are printed as escapes."""
    await write(broker, [dead("enrich", b"\x1b[2Jgone\xff\x00")])
    for arguments in (["show", "0"], ["show", "0", "--reveal"]):
        _, out, _ = await command(broker, "dlq", *arguments)
        assert "\\x1b[2Jgone\\xff\\x00" in out


async def test_without_execute_nothing_is_changed(full: Settings) -> None:
    """A dry run prints what would happen and which letters would fail again."""
    said = await run(full, "redrive", "--all")
    assert (said["executed"], said["redriven"]) == (False, [1, 2, 3])
    assert [(one["number"], one["reason"]) for one in said["hopeless"]] == [
        (0, "not JSON"),
        (4, "empty: a tombstone is no webhook"),
    ]
    assert (await run(full, "drop", "--all"))["dropped"] == [0, 1, 2, 3, 4]
    assert len(await everything(full, DEAD.name)) == len(LETTERS)
    assert await everything(full, WEBHOOKS.name) == []
    _, out, _ = await command(full, "dlq", "redrive", "--all")
    assert "a dry run: nothing was changed" in out


async def test_a_letter_is_redriven_once(full: Settings) -> None:
    """A letter goes to its topic, partition and key with its bytes, and a second redrive does not find it."""
    assert (await run(full, "redrive", "--all", "--execute"))["redriven"] == [1, 2, 3]
    (enriched,) = await everything(full, ENRICHED.name)
    assert (enriched.partition, enriched.key, enriched.value) == (1, b"a key", LETTERS[2].value)
    assert list(enriched.headers) == [("ce_id", b"x"), ("null", None), ("redriven", b"2")]
    back = {dict(record.headers)["redriven"]: record for record in await everything(full, WEBHOOKS.name)}
    assert set(back) == {b"1", b"3"}
    assert (back[b"1"].partition, back[b"1"].value) == (1, LETTERS[1].value)
    refused = decode_webhook(back[b"3"].value)
    assert (refused.lead.id, refused.source) == ("refused", Source.C2S)
    assert (await run(full, "redrive", "--all", "--execute"))["redriven"] == []
    assert numbers(await run(full, "list")) == [0, 4]
    statuses = {letter["number"]: letter["fate"] for letter in (await run(full, "list", "--closed"))["letters"]}
    assert statuses == {0: "open", 1: "redriven", 2: "redriven", 3: "redriven", 4: "open"}
    assert len(await everything(full, WEBHOOKS.name)) == 2


async def test_dropped_letters_are_redriven_only_with_closed(full: Settings) -> None:
    """Dropped letters are no longer listed, and redriven only with --closed."""
    assert (await run(full, "drop", "1", "4", "--execute"))["dropped"] == [1, 4]
    assert numbers(await run(full, "list")) == [0, 2, 3]
    assert (await run(full, "redrive", "1", "--execute"))["redriven"] == []
    assert (await run(full, "redrive", "1", "--closed", "--execute"))["redriven"] == [1]
    assert (await run(full, "list", "1", "--closed"))["letters"][0]["fate"] == "redriven"


@pytest.mark.parametrize("what", ["redrive", "drop", "show"])
async def test_a_redrive_without_a_filter_is_refused(full: Settings, what: str) -> None:
    """Without a filter or a number the command prints its usage and does nothing."""
    code, _, said = await command(full, "dlq", what)
    assert code == 2
    assert "say which" in said


async def test_a_kill_between_a_letter_and_its_marker_loses_nothing(
    full: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letter stays open; redriven again it is published twice under one identity."""
    letters = DeadLetterQueue(full, frozenset(), lambda: NOW)
    plan = await letters.plan(await letters.find(DeadLetterFilter(offsets=frozenset({1}))))

    async def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(DeadLetterQueue, "_close", killed)
        with pytest.raises(KeyboardInterrupt):
            await letters.redrive(plan)
    assert await letters.find(DeadLetterFilter(offsets=frozenset({1}))) == list(plan.letters)
    await letters.redrive(plan)
    ids = {event_id(decode_webhook(record.value).lead) for record in await everything(full, WEBHOOKS.name)}
    assert (len(ids), len(await everything(full, WEBHOOKS.name))) == (1, 2)
    (closed,) = await letters.find(DeadLetterFilter(offsets=frozenset({1}), statuses=frozenset(DeadLetterStatus)))
    assert closed.status is DeadLetterStatus.REDRIVEN


async def test_more_letters_than_one_batch(broker: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """All letters are published once, whatever records are between them."""
    monkeypatch.setattr(dlq, "PUBLISH_BATCH_RECORDS", 10)
    for n in range(25):
        await write(broker, [dead("enrich", c2s_webhook(f"L{n}")), dead("enrich", b"!")])
    letters = DeadLetterQueue(broker, frozenset(), lambda: NOW)
    await letters.redrive(await letters.plan(await letters.find(DeadLetterFilter())))
    back = [decode_webhook(record.value).lead.id for record in await everything(broker, WEBHOOKS.name)]
    assert sorted(back) == sorted(f"L{n}" for n in range(25))
    assert len(await letters.find(DeadLetterFilter())) == 25


async def test_a_worker_answers_redriven_webhooks(full: Settings, database_url: str) -> None:
    """The real worker emits an event for each redriven webhook, under its original identity."""
    await run(full, "redrive", "--topic", "webhooks", "--execute")
    wanted = {event_id(decode_webhook(record.value).lead) for record in await everything(full, WEBHOOKS.name)}
    worker = await start(full, "-m", "stream", "worker", **surroundings(database_url))

    async def answered() -> bool:
        events = [decode_event(record.value) for record in await everything(full, ENRICHED.name)]
        return {one.event_id for one in events if one.outcome == Outcome.PENDING} >= wanted  # no partner answers

    try:
        await until(answered)
    finally:
        worker.terminate()
        await worker.communicate()
