"""Webhooks and bodies that can't be read: their answers and their dead letters."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from stream.domain.leads import decode_webhook
from tests.support.producers_client import GOOGLE, NOW, Client, event, headers_of


async def test_an_unreadable_event_does_not_refuse_the_others(client: Client) -> None:
    """The readable events of an array are published; the others are named in the answer and kept byte by byte."""
    bad = b'{"id": "L2",  "attributes": {"updated_at": "yesterday"}}'
    body = (
        b"[" + b",".join([orjson.dumps(event("L1")), bad, b"42", b'{"id":"\\ud800"}', orjson.dumps(event("L3"))]) + b"]"
    )
    status, answer = await client.c2s(body)
    assert status == 200
    rejected = answer.pop("rejected")
    assert answer == {
        "status": "received",
        "received": 5,
        "processed": 2,
        "duplicates": 0,
        "event_ids": [record.identity for record in client.broker.webhooks],
    }
    assert [(one["index"], one["path"]) for one in rejected] == [(1, "attributes.updated_at"), (2, ""), (3, "")]
    assert "surrogate" in rejected[2]["reason"]
    assert [decode_webhook(record.value).lead.id for record in client.broker.webhooks] == ["L1", "L3"]
    assert [record.value for record in client.broker.dead] == [bad, b"42", b'{"id":"\\ud800"}']
    headers = headers_of(client.broker.dead[0])
    assert headers["dl-stage"] == "receive"
    assert headers["dl-error"] == "PoisonError"
    assert headers["dl-reason"].startswith("attributes.updated_at: not an instant")
    assert headers["dl-failed-at"] == NOW.isoformat()
    assert headers["ce_source"] == "/lead-stream/producers/c2s"


@pytest.mark.parametrize("body", [{}, [{}, 1], None, "text", 42, {"id": "L1"}, {"id": True, "attributes": {}}])
async def test_a_body_without_a_readable_event_is_answered_422_and_kept_once(client: Client, body: Any) -> None:
    """422 only when every event is rejected; a sender that retries adds no further dead letters."""
    parts = len(body) if isinstance(body, list) else 1
    for _ in range(3):
        status, answer = await client.c2s(body)
        assert status == 422
        assert (answer["status"], answer["received"], answer["processed"]) == ("rejected", parts, 0)
        assert len(answer["rejected"]) == parts
    assert client.broker.webhooks == []
    assert len(client.broker.dead) == parts


async def test_an_unreadable_google_lead_gets_a_message(client: Client) -> None:
    """The message names the field at fault, and the form becomes a dead letter."""
    status, body = await client.google(lead_id="", form_id=1)
    assert status == 422
    assert body["message"].startswith("lead_id: ")
    assert orjson.loads(client.broker.dead[0].value) == {"lead_id": "", "form_id": 1}


@pytest.mark.parametrize("body", [b"", b"{", b"[{}", b"[1 2]", b"nul", b"\xff", b'{"a": NaN}', b"a=1", b"[" * 60_000])
async def test_a_body_that_is_not_json_is_answered_400(client: Client, body: bytes) -> None:
    """A body that is not JSON is answered 400 on both routes, and nothing is published."""
    assert (await client.c2s(body))[0] == 400
    status, answer = await client.post(GOOGLE, body)
    assert status == 400
    assert set(answer) == {"message"}
    assert client.broker.records == []


@pytest.mark.parametrize(
    "name", [b'"\\ud83d"', b'"Jo\xe3o"', b"1e999", b"[" * 400 + b"]" * 400], ids=["emoji", "latin", "number", "deep"]
)
async def test_json_that_no_reader_can_hold_is_rejected_and_kept(client: Client, name: bytes) -> None:
    """A value such as half an emoji is answered 422 and kept; readable events beside it are published."""
    odd = b'{"id":"L1","attributes":{"updated_at":"2026-01-31T12:00:00Z","customer":{"name":' + name + b"}}}"
    assert (await client.c2s(odd))[0] == 422
    status, answer = await client.c2s(b"[" + odd + b" , " + orjson.dumps(event("L2")) + b"]")
    assert (status, answer["processed"], [one["index"] for one in answer["rejected"]]) == (200, 1, [0])
    assert [record.value for record in client.broker.dead] == [odd]
    form = b'{"google_key":"google-secret","lead_id":"g1","a":' + name + b"}"
    assert (await client.post(GOOGLE, form))[0] == 422
    assert len(client.broker.dead) == 2
    assert (await client.post(GOOGLE, form.replace(b"google-secret", b"wrong")))[0] == 401
