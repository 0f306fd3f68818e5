"""What the end-to-end tests share: posting, reading events, steering the partners, reading logs."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
import pytest
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families

from stream import topics
from stream.domain.events import EnrichedEvent, decode_event, schema
from stream.kafka.clients import open_consumer
from stream.local.people import Someone
from stream.local.processes import Child
from stream.local.simulators import population_body
from stream.local.stack import C2S_TOKEN, Stack
from tests.support.waiting import LIMIT, wait_until

__all__ = ["LIMIT", "wait_until"]  # tests import them from here as well

SCHEMA = Draft202012Validator(schema("contacts.enriched"))  # every event that a test reads satisfies it


def lead(identity: str, someone: Someone, *, phone: str | None = None, email: str | None = None) -> dict[str, Any]:
    """A C2S webhook."""
    customer = {"name": someone.name, "phone": phone or someone.phone, "email": email or someone.email}
    updated_at = datetime.now(UTC).isoformat()
    return {
        "id": identity,
        "hook_action": "on_create_lead",
        "attributes": {"updated_at": updated_at, "customer": customer},
    }


def call(url: str, body: Any = None, method: str = "GET", token: str = "") -> Any:
    """One HTTP call with JSON both ways."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **({"X-Webhook-Token": token} if token else {})}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=LIMIT) as response:
        return json.loads(response.read())


def answer(url: str) -> tuple[int, Any]:
    """Status and JSON of a page, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=LIMIT) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def post(stack: Stack, webhooks: Sequence[dict[str, Any]]) -> Any:
    """POST a batch of C2S webhooks."""
    return call(f"{stack.producers_url}/api/v1/webhooks/c2s", list(webhooks), "POST", C2S_TOKEN)


def counts(stack: Stack) -> dict[str, Any]:
    """What the partners counted."""
    answer: dict[str, Any] = call(f"{stack.simulators_url}/_control/counts")
    return answer


def crm(stack: Stack) -> dict[str, Any]:
    """What the CRM holds."""
    answer: dict[str, Any] = call(f"{stack.simulators_url}/_control/crm")
    return answer


def faults(stack: Stack, **partners: Any) -> None:
    """Set the partners' faults; none: all is well."""
    call(f"{stack.simulators_url}/_control/faults", partners, "PUT")


def events_until(
    stack: Stack, enough: Callable[[list[EnrichedEvent]], bool], limit: float = LIMIT
) -> list[EnrichedEvent]:
    """All events from the topic's beginning, read until ``enough`` of them say so; fails after ``limit`` seconds."""
    return asyncio.run(_events_until(stack, enough, limit))


async def _events_until(
    stack: Stack, enough: Callable[[list[EnrichedEvent]], bool], limit: float
) -> list[EnrichedEvent]:
    events: list[EnrichedEvent] = []
    until = time.monotonic() + limit
    async with open_consumer(stack.settings(), topics.ENRICHED.name, f"test-{uuid4()}") as consumer:
        while not enough(events):
            if time.monotonic() >= until:
                stack.keep_folder = True
                tails = "\n".join(child.tail() for child in stack.children.values())
                pytest.fail(f"only {len(events)} events after {limit} s; logs are kept in {stack.folder}\n{tails}")
            for batch in (await consumer.getmany(timeout_ms=100)).values():
                for record in batch:
                    SCHEMA.validate(orjson.loads(record.value))
                    events.append(decode_event(record.value))
    return events


def teach(stack: Stack, people: Sequence[Someone]) -> None:
    """Tell the partners who is known."""
    call(f"{stack.simulators_url}/_control/people", json.loads(population_body(people)), "PUT")


def ids(events: Sequence[EnrichedEvent]) -> set[str]:
    """Lead ids that have an event which is not ``pending``."""
    return {event.lead.id for event in events if event.outcome != "pending"}


def metric(stack: Stack, name: str, **labels: str) -> float:
    """A metric of the worker: all samples that have these labels, together."""
    with urllib.request.urlopen(f"{stack.worker_url}/metrics", timeout=LIMIT) as response:
        families = text_string_to_metric_families(response.read().decode())
        samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def said(child: Child, text: str, limit: float = LIMIT) -> None:
    """Wait until a process has logged ``text``."""
    wait_until(lambda: text in child.tail(100_000), f"{child.name} to say {text!r}", limit)


def begin_again(child: Child) -> None:
    """Start a process that has ended, with an empty log."""
    child.log.write_bytes(b"")
    child.start()
