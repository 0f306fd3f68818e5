"""The demo's day and the measured trace, played against the whole system."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from stream.domain.sources import SOURCES
from stream.local.day import Day, story, trace
from stream.local.demo import Result, judge, play, prepare
from stream.local.stack import Stack
from tests.support.system import LIMIT, call, crm, events_until, ids, wait_until

TIER_LINES = ("Found existing enrichment", "DB HIT", "DIRETRIX API", "FORM CPF")
SCALE = 0.05


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Every process of ours, with partners that answer in a twentieth of their time."""
    with Stack(print, scale=SCALE, extra={"LOG_LEVEL": "DEBUG"}) as started:
        started.start_servers()
        started.start_simulators()
        yield started


def run(stack: Stack, day: Day, *, spacing: float) -> Result:
    """Play a day with all processes and judge it."""
    asyncio.run(prepare(stack, day))
    stack.start_ours("producers", "worker", "crm-sync", "journal")
    played = asyncio.run(play(stack, day, spacing=spacing))
    return asyncio.run(judge(stack, day, played))


def logged(stack: Stack) -> str:
    """All that our processes have written."""
    return "\n".join(child.log.read_text(errors="replace") for child in stack.children.values())


def test_a_day_of_leads_comes_out_as_the_table_says_and_a_replay_changes_nothing(stack: Stack) -> None:
    """Outcome, tier, calls, CRM and books are as derived; a replay from 0 pays nothing and tells the CRM nothing."""
    day = story(seed=7)
    result = run(stack, day, spacing=0)
    assert result.faults == []
    assert_one_tier_line_a_webhook(stack, day)
    assert_nothing_in_clear(stack, day)

    paid, told = call(f"{stack.simulators_url}/_control/counts")["counts"], crm(stack)
    before = events_until(
        stack,
        lambda events: len(ids(events)) == len({one.body[SOURCES[one.source].id_field] for one in day.webhooks}),
    )
    assert stack.children["worker"].stop() == 0
    replayed = asyncio.run(replay_from_the_beginning(stack))
    assert replayed == len(day.webhooks)
    stack.children["worker"].start()
    after = events_until(stack, lambda events: len(events) >= len(before) + len(day.webhooks))

    again = after[len(before) :]
    facts = {(event.event_id, event.lead, event.contact) for event in before}
    assert {(event.event_id, event.lead, event.contact) for event in again} <= facts
    assert sum(event.calls.diretrix + event.calls.work for event in again) == 0
    assert call(f"{stack.simulators_url}/_control/counts")["counts"] == paid
    assert crm(stack) == told


@pytest.mark.parametrize(
    ("spacing", "plain"), [(0, False), (0.05, True)], ids=["burst of mixed spellings", "spaced, one spelling"]
)
def test_the_measured_trace_pays_for_31_of_73(stack: Stack, spacing: float, *, plain: bool) -> None:
    """73 webhooks of 31 new people: 73 events, 31 paying webhooks, 31 Diretrix calls, 73 messages with data."""
    result = run(stack, trace(seed=3, plain=plain), spacing=spacing)
    assert result.faults == []
    figures = result.figures
    assert (figures["webhooks"], figures["paying_webhooks"], figures["diretrix_calls"]) == (73, 31, 31)
    assert figures["paying_in_100"] == 42.5
    assert (figures["crm_messages"], figures["crm_messages_without_data"]) == (73, 0)


async def replay_from_the_beginning(stack: Stack) -> int:
    """Move the worker's group to its first record; returns how many records will be read."""
    from stream import topics
    from stream.kafka.clients import open_admin
    from stream.ops.replay import Earliest, Replay, plan

    async with open_admin(stack.settings()) as admin:
        replay = Replay(admin, stack.settings(), topics.WORKER_GROUP)
        async with asyncio.timeout(LIMIT):
            # A static member is not gone when it leaves: the broker waits for its session to end.
            while await replay.members():  # noqa: ASYNC110 - the broker has no event for it
                await asyncio.sleep(0.2)
        moves = plan(await replay.bounds(), Earliest())
        await replay.execute(moves)
        return sum(move.records for move in moves)


def assert_one_tier_line_a_webhook(stack: Stack, day: Day) -> None:
    """A webhook that needed a contact has exactly one line that an operator greps for."""
    log = stack.children["worker"].log
    needed = sum(webhook.tier is not None for webhook in day.webhooks)
    lines = lambda: [line for line in log.read_text().splitlines() if any(f" {tier} " in line for tier in TIER_LINES)]  # noqa: E731
    wait_until(lambda: len(lines()) >= needed, "a line for each webhook")
    assert len(lines()) == needed


def assert_nothing_in_clear(stack: Stack, day: Day) -> None:
    """No CPF, phone, e-mail, token or password stands in any log, metric or page."""
    pages = [f"{stack.page(name)}/{page}" for name in ("worker", "producers") for page in ("healthz", "readyz")]
    text = logged(stack) + "".join(str(call(page)) for page in pages)
    assert len(text) > 10_000
    for someone in [*day.partners, *day.in_postgres, *day.cpf_in_postgres]:
        for identifier in (someone.cpf, someone.phone, someone.email, f"55{someone.phone}"):
            assert identifier not in text, re.findall(f".*{re.escape(identifier)}.*", text)[:1]
    for secret in (
        "demo-webhook-token",
        "demo-google-ads-key",
        "demo-grupo-olx-password",
        "demo-password",
        "demo-work-token",
        "demo-c2s-token",
    ):
        assert secret not in text
