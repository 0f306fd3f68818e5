"""Everything that is written while a day and all sorts of trouble go by, and nobody in it in clear."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from aiokafka import ConsumerRecord

from stream import topics
from stream.cli import COMMANDS
from stream.kafka.clients import open_consumer, open_producer
from stream.local.day import story
from stream.local.demo import judge, play, prepare
from stream.local.people import Someone, population, typed
from stream.local.stack import C2S_TOKEN, GOOGLE_KEY, Stack
from tests.support.clear_text import leaks
from tests.support.system import events_until, faults, lead, post, teach, wait_until

C2S, GOOGLE = "/api/v1/webhooks/c2s", "/api/v1/webhooks/google-ads"
WRONG = "wrong-but-somebodys-token"
SECRETS = (C2S_TOKEN, GOOGLE_KEY, WRONG, "demo-password", "demo-work-token", "demo-c2s-token", "demo:demo-password")
OURS = ("producers", "worker", "crm-sync", "journal")
VICTIMS = population(12, 99)  # people whom the trouble is about
LIMIT = 120.0  # seconds
# For the trouble only: on a busy machine a look-up of the day would be cut off and answered from another tier.
IMPATIENT = {"LOOKUP_DEADLINE": "4s", "DIRETRIX_TIMEOUT": "500ms", "WORK_API_TIMEOUT": "1s", "C2S_TIMEOUT": "1s"}


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Every process of ours at DEBUG; parked webhooks are soon tried again."""
    with Stack(print, scale=0.05, extra={"LOG_LEVEL": "DEBUG", "RETRY_DELAYS": "2s"}) as started:
        started.start_servers()
        started.start_simulators()
        yield started


def test_nobody_is_in_clear_in_anything_that_is_written(stack: Stack) -> None:
    """Logs at DEBUG, metrics, pages, error bodies, reasons of dead letters and retries, commands, arguments."""
    day = story(seed=5)
    asyncio.run(prepare(stack, day))
    stack.start_ours(*OURS)
    result = asyncio.run(judge(stack, day, asyncio.run(play(stack, day, spacing=0))))
    assert result.faults == []
    for name in ("worker", "crm-sync"):
        restart(stack, name, IMPATIENT)
    assert_only_our_pages_are_served(stack)

    written = {f"error body {n}": body for n, body in enumerate(refused_posts(stack))}
    asyncio.run(publish(stack, hostile()))
    trouble(stack)
    written |= pages(stack)
    written |= {f"command {' '.join(one)}": command(stack, *one) for one in commands()}
    written["arguments"] = arguments(stack)
    written |= asyncio.run(reasons(stack))
    stack.children["worker"].signal(signal.SIGTERM)  # what it parks on leaving is said, too
    stack.children["worker"].wait()
    written |= {f"log {name}": child.log.read_text(errors="replace") for name, child in stack.children.items()}

    assert len(written["log worker"]) > 20_000
    everyone = [*day.partners, *day.in_postgres, *day.cpf_in_postgres, *VICTIMS]
    found = {where: here[:1] for where, text in written.items() if (here := leaks(text, everyone, SECRETS))}
    assert found == {}, found


def restart(stack: Stack, name: str, variables: dict[str, str]) -> None:
    """Restart a process with other settings; it writes on in the same log."""
    child = stack.children[name]
    assert child.stop() == 0
    for variable, value in variables.items():
        child.set(variable, value)
    child.start()
    child.wait_for(f"{stack.page(name)}/readyz")


def assert_only_our_pages_are_served(stack: Stack) -> None:
    """Known ports only, on this machine only, and none of the pages on which Faust shows its tables."""
    for name, urls in (
        ("producers", {stack.producers_url, stack.producers_internal_url}),
        ("worker", {stack.worker_url}),
        ("crm-sync", {stack.page("crm-sync")}),
        ("journal", {stack.page("journal")}),
    ):
        served = {
            f"http://{one.laddr.ip}:{one.laddr.port}"
            for one in psutil.Process(stack.children[name].pid).net_connections()
            if one.status == psutil.CONN_LISTEN
        }
        assert served == urls, name
    for path in ("/table/", "/table/contacts/", "/table/contacts/key", "/router/", "/graph/", "/stats/", "/"):
        for url in (stack.producers_url, stack.producers_internal_url, stack.worker_url):
            assert status(url + path) == 404, (url, path)


def status(url: str) -> int:
    """The status of a page."""
    try:
        with urllib.request.urlopen(url, timeout=LIMIT) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def refused_posts(stack: Stack) -> Iterator[str]:
    """What the producers answer to those who send wrong things."""
    one = VICTIMS[0]
    good = json.dumps(lead("refused", one)).encode()
    told = f"{one.name} {one.phone} {one.email} {one.cpf}"
    token = {"X-Webhook-Token": C2S_TOKEN}
    yield send(stack, C2S, good, {})
    yield send(stack, f"{C2S}?token={WRONG}", good, {})
    yield send(stack, C2S, good, {"X-Webhook-Token": WRONG})
    yield send(stack, GOOGLE, json.dumps({"google_key": WRONG, "lead_id": one.phone}).encode(), {})
    yield send(stack, C2S, told.encode(), token)
    yield send(stack, f"/{one.phone}/{one.email}?cpf={one.cpf}", None, {})
    yield send(stack, C2S, good, {**token, "Expect": one.email, "X-Phone": one.phone})
    for body in ({"id": {"phone": one.phone}}, {"id": one.phone, "attributes": {"updated_at": one.cpf}}, [one.email]):
        yield send(stack, C2S, json.dumps(body).encode(), token)
    columns = [{"column_id": one.email, "string_value": {"cpf": one.cpf}}]
    form = {"google_key": GOOGLE_KEY, "lead_id": [one.phone], "user_column_data": columns}
    yield send(stack, GOOGLE, json.dumps(form).encode(), {})


def send(stack: Stack, path: str, body: bytes | None, headers: dict[str, str]) -> str:
    """One call; head and body of the answer, which is a refusal."""
    request = urllib.request.Request(stack.producers_url + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=LIMIT) as response:
            return f"{response.headers}{response.read().decode()}"
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code} {error.headers}{error.read().decode()}"


def hostile() -> list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]:
    """Messages of somebody who publishes to the topic: people in every place where a value may be logged."""
    one = VICTIMS[1]
    told = f"{one.name} {typed(one.phone, __import__('random').Random(1))} {one.email} {one.cpf}"
    webhook = {"source": "c2s", "received_at": "2026-01-31T12:00:00Z", "payload": lead("topic", one)}
    wrong_time = {**webhook, "received_at": one.cpf}
    wrong_source = {**webhook, "source": one.email}
    wrong_shape = {**webhook, "payload": {"id": one.phone, "attributes": one.email}}
    phone_as_id = {**webhook, "payload": lead(f"+55{one.phone}", one)}
    values = [json.dumps(one).encode() for one in (wrong_time, wrong_source, wrong_shape, phone_as_id)]
    headers = [("attempt", told.encode()), ("reason", told.encode()), ("first-failed", told.encode()), (told, b"x")]
    return [
        (told.encode(), told.encode(), []),
        (one.phone.encode(), None, headers),
        *[(one.email.encode(), value, headers) for value in values],
    ]


async def publish(stack: Stack, messages: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]) -> None:
    """Write them to ``webhooks``."""
    async with open_producer(stack.settings()) as producer:
        for key, value, headers in messages:
            await producer.send_and_wait(topics.WEBHOOKS.name, value, key, headers=headers)


def trouble(stack: Stack) -> None:
    """Each partner fails in each way, each time about somebody new."""
    new = iter(VICTIMS[2:])
    sent: list[str] = []

    def about(someone: Someone) -> None:
        sent.append(f"trouble-{len(sent)}")
        post(stack, [lead(sent[-1], someone)])

    teach(stack, VICTIMS)
    faults(stack, c2s={"reset": True})
    about(next(new))
    wait_until(lambda: unconfirmed(stack) > 0, "an unconfirmed write")
    faults(stack, work={"status": 500})
    about(next(new))
    events_until(stack, lambda events: sent[-1] in {event.lead.id for event in events})
    for fault in ({"status": 500}, {"garbage": True}, {"reset": True}, {"hang": 2}, {"status": 429, "retry_after": 1}):
        faults(stack, diretrix=fault)
        about(next(new))
        events_until(stack, lambda events: sent[-1] in {event.lead.id for event in events})
    faults(stack)


def unconfirmed(stack: Stack) -> int:
    """Writes that may have been carried out."""
    return len(json.loads(command(stack, "crm-sync", "--unconfirmed", "--json"))["unconfirmed"])


def pages(stack: Stack) -> dict[str, str]:
    """All pages of both servers."""
    paths = ["/healthz", "/readyz", "/metrics"]
    urls = [f"{base}{path}" for base in (stack.producers_internal_url, stack.worker_url) for path in paths]
    there = {url: read(url) for url in urls}
    assert not [url for url, page in there.items() if "aiohttp" in page], "a page says how we are built"
    return there


def read(url: str) -> str:
    """A page's head and body, whatever its status."""
    try:
        with urllib.request.urlopen(url, timeout=LIMIT) as response:
            return f"{response.headers}{response.read().decode()}"
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.headers}{error.read().decode()}"


def commands() -> list[list[str]]:
    """What an operator may ask for, in every format, without asking to see anybody."""
    asked = [
        ["report"],
        ["report", "--json"],
        ["report", "--csv"],
        ["replay", "--to-earliest"],
        ["replay", "--to-earliest", "--json"],
        ["topics"],
        ["topics", "--json"],
        ["migrate"],
        ["crm-sync", "--unconfirmed"],
        ["crm-sync", "--unconfirmed", "--json"],
    ]
    return asked + ([["dlq", "list"], ["dlq", "list", "--json"]] if "dlq" in COMMANDS else [])


def command(stack: Stack, *arguments: str) -> str:
    """What a command writes, on either stream; it must have worked."""
    environment = {**os.environ, **stack.environment(), "LOG_LEVEL": "DEBUG", "COLUMNS": "300"}
    done = subprocess.run(
        [sys.executable, "-m", "stream", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-1000:]
    return done.stdout if "--json" in arguments else done.stdout + done.stderr


def arguments(stack: Stack) -> str:
    """What anybody on the machine sees of our processes."""
    own = [psutil.Process(child.pid) for child in stack.children.values()]
    everyone = [*own, *(child for one in own for child in one.children(recursive=True))]
    return "\n".join(" ".join(one.cmdline()) for one in everyone)


async def reasons(stack: Stack) -> dict[str, str]:
    """What dead letters and parked webhooks say of themselves; the original's own headers and bytes are data."""
    found: dict[str, str] = {}
    async with open_consumer(stack.settings(), None, "test-reasons") as consumer:
        consumer.subscribe([topics.DEAD.name, *(topic.name for topic in topics.RETRIES)])
        quiet = 0
        while quiet < 4:
            batches: dict[Any, list[ConsumerRecord]] = await consumer.getmany(timeout_ms=500)
            quiet = 0 if batches else quiet + 1
            for record in [record for records in batches.values() for record in records]:
                ours = [(name, value) for name, value in record.headers if is_ours(name, record.topic)]
                found[f"{record.topic} {record.partition} {record.offset}"] = str(ours)
    assert any(topics.RETRIES[0].name in where for where in found), "nothing was parked"
    assert sum(topics.DEAD.name in where for where in found) >= 5, "hardly anything is dead"
    return found


def is_ours(name: str, topic: str) -> bool:
    """Whether we wrote this header."""
    return name.startswith("dl-") if topic == topics.DEAD.name else name in {"reason", "attempt", "not-before"}
