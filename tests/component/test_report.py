"""The report: counted from the ledger and the journal's rows, in a form that a manager can compare with an invoice."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from stream.domain.errors import DatabaseUnavailableError
from stream.domain.events import Calls, EnrichedEvent, EventContact, EventLead, Outcome, Tier
from stream.reporting.journal import Journal
from stream.reporting.report import Report, report
from stream.store.ledger import Ledger

PRICE = Decimal("0.01")
DAY = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = DAY.date()


class Rows:
    """Writes the rows of webhooks and calls, as the worker and the journal do."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.now = DAY
        self._ledger = Ledger(pool, lambda: self.now)
        self._journal = Journal(pool, webhook_events=False)

    async def webhook(  # noqa: PLR0913 - a webhook and what became of it
        self,
        outcome: Outcome,
        tier: Tier | None,
        calls: Sequence[str] = (),
        *,
        source: str = "c2s",
        key: str = "+5511987654321",
        event: str = "",
        in_event: bool = True,
    ) -> str:
        """A webhook with its Diretrix calls by status; ``in_event``: whether the event counts them."""
        event = event or str(uuid4())
        for status in calls:
            await self.call("diretrix", status, event, source)
        billed = sum(status != "free" for status in calls) if in_event else 0
        await self._journal.write(
            [
                EnrichedEvent(
                    event_id=event,
                    revision="1",
                    lead=EventLead(source=source, id=event),
                    contact=EventContact(key=key),
                    outcome=outcome,
                    tier=tier,
                    calls=Calls(diretrix=billed),
                    received_at=self.now,
                    emitted_at=self.now + timedelta(seconds=1),
                )
            ]
        )
        return event

    async def call(self, provider: str, status: str, event: str, source: str = "c2s") -> None:
        """One call; with the status ``reserved`` it stays as a worker that died leaves it."""
        price = PRICE if provider == "diretrix" else Decimal(0)
        call = await self._ledger.reserve(provider, "phone", "p:+5511987654321", event, source, price, None)
        if status != "reserved":
            await self._ledger.settle(call, status)


@pytest.fixture
def rows(pool: asyncpg.Pool) -> Rows:
    return Rows(pool)


async def made(pool: asyncpg.Pool, since: date = TODAY, until: date = TODAY) -> Report:
    return await report(pool, since, until, PRICE, "BRL")


async def test_the_measured_trace(pool: asyncpg.Pool, rows: Rows) -> None:
    """73 webhooks of 31 people with 31 calls: 42 avoided, 42.5 paying in 100, 0.31 spent and 0.42 saved."""
    for number in range(73):
        first = number < 31
        await rows.webhook(
            Outcome.ENRICHED,
            Tier.DIRETRIX if first else Tier.CACHE,
            ["paid"] if first else [],
            key=f"+55119876500{number % 31:02}",
        )
    one = await made(pool)
    total = one.savings
    assert (total.webhooks, total.needed_contact, one.people) == (73, 73, 31)
    assert (total.paying, total.avoided, round(total.paying_in_100, 1)) == (31, 42, 42.5)
    assert (total.paid_calls, total.spent, total.saved) == (31, Decimal("0.31"), Decimal("0.42"))
    assert one.calls_without_answer == 0


async def test_every_way_a_call_and_a_webhook_can_end(pool: asyncpg.Pool, rows: Rows) -> None:
    """Free calls make no webhook pay, unsure and abandoned ones do; tests and empty leads count as webhooks only."""
    await rows.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["paid"], key="1")
    await rows.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["free", "paid", "paid"], key="2")
    await rows.webhook(Outcome.NOT_FOUND, Tier.DIRETRIX, ["free", "free"], key="3")
    await rows.webhook(Outcome.PENDING, None, ["unsure"], key="4")
    await rows.webhook(Outcome.PENDING, None, ["reserved"], key="5")
    await rows.webhook(Outcome.ENRICHED, Tier.POSTGRES, key="1")
    await rows.webhook(Outcome.ENRICHED, Tier.FORM, key="6", source="google_ads")
    await rows.webhook(Outcome.TEST, None, source="google_ads", key="7")
    await rows.webhook(Outcome.NO_CONTACT, None, key="8")
    one = await made(pool)
    total = one.savings
    assert (total.webhooks, total.needed_contact, total.paying, total.avoided, one.people) == (9, 7, 4, 3, 6)
    assert (total.paid_calls, total.free_calls, total.unsure_calls) == (3, 3, 2)
    assert (total.spent, total.saved) == (Decimal("0.05"), Decimal("0.03"))
    assert one.as_dict()["tiers"] == {"diretrix": 3, "": 2, "postgres": 1, "form": 1}


async def test_a_webhook_that_was_parked_after_its_call_has_paid(pool: asyncpg.Pool, rows: Rows) -> None:
    """A webhook that was parked after its call, or whose worker crashed, pays according to the ledger."""
    parked = await rows.webhook(Outcome.PENDING, None, ["paid"], in_event=False)
    rows.now += timedelta(hours=1)
    await rows.webhook(Outcome.ENRICHED, Tier.CACHE, event=parked, in_event=False)
    total = (await made(pool)).savings
    assert (total.webhooks, total.paying, total.avoided, total.paid_calls) == (1, 1, 0, 1)


async def test_a_replay_changes_nothing(pool: asyncpg.Pool, rows: Rows) -> None:
    """A replay, which the table answers, leaves the report as it was."""
    event = await rows.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["paid"])
    before = await made(pool)
    await rows.webhook(Outcome.ENRICHED, Tier.CACHE, event=event)
    assert await made(pool) == before


async def test_lines_are_by_day_and_source(pool: asyncpg.Pool, rows: Rows) -> None:
    """Each day of Sao Paulo and each source has its own line, and the lines add up to the total."""
    await rows.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["paid"])
    await rows.webhook(Outcome.ENRICHED, Tier.CACHE, source="google_ads")
    rows.now = datetime(2026, 11, 25, 2, 30, tzinfo=UTC)  # still the 24th in Sao Paulo
    await rows.webhook(Outcome.ENRICHED, Tier.CACHE)
    rows.now = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
    await rows.webhook(Outcome.NOT_FOUND, Tier.DIRETRIX, ["free"])
    one = await made(pool, TODAY, TODAY + timedelta(days=1))
    assert [(line.day, line.source, line.savings.webhooks, line.savings.avoided) for line in one.lines] == [
        ("2026-11-24", "c2s", 2, 1),
        ("2026-11-24", "google_ads", 1, 1),
        ("2026-11-25", "c2s", 1, 1),
    ]
    assert sum(line.savings.spent for line in one.lines) == one.savings.spent
    assert (await made(pool)).savings.webhooks == 3
    before, after = TODAY - timedelta(days=9), TODAY - timedelta(days=1)
    assert (await made(pool, before, after)).savings.webhooks == 0


async def test_a_call_after_midnight_makes_yesterdays_webhook_a_paying_one(pool: asyncpg.Pool, rows: Rows) -> None:
    """The call counts on its own day, and the webhook pays on the day when it was received."""
    rows.now = datetime(2026, 11, 25, 2, 59, tzinfo=UTC)
    event = str(uuid4())
    await rows.webhook(Outcome.PENDING, None, event=event)
    rows.now += timedelta(minutes=2)
    await rows.call("diretrix", "paid", event)
    yesterday, today = await made(pool), await made(pool, TODAY + timedelta(days=1), TODAY + timedelta(days=1))
    assert (yesterday.savings.paying, yesterday.savings.paid_calls) == (1, 0)
    assert (today.savings.paying, today.savings.paid_calls) == (0, 1)


async def test_calls_without_an_answer_are_counted(pool: asyncpg.Pool, rows: Rows) -> None:
    """Calls whose webhooks the journal has not written are counted, as the avoided calls are incomplete then."""
    await rows.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["paid"])
    await rows.call("diretrix", "paid", str(uuid4()))
    assert (await made(pool)).calls_without_answer == 1


async def test_the_spending_uses_the_prices_of_the_ledger(pool: asyncpg.Pool, rows: Rows) -> None:
    """A new price does not change what was spent; avoided calls have the present price."""
    await rows.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["paid"])
    await rows.webhook(Outcome.ENRICHED, Tier.CACHE)
    total = (await report(pool, TODAY, TODAY, Decimal("1E+1"), "BRL")).savings
    assert (total.spent, total.saved) == (PRICE, Decimal(10))


async def test_a_report_without_a_database_raises(pool: asyncpg.Pool) -> None:
    """Without a database there is no report, not even a partial one."""
    pool.terminate()
    with pytest.raises(DatabaseUnavailableError):
        await made(pool)


# The command


def run(url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stream", "report", *arguments],
        env={**os.environ, "DATABASE_URL": url, "COLUMNS": "120", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
async def filled(rows: Rows, database_url: str) -> str:
    """The address of a database with two paying webhooks, one of them of Google, and two repeats."""
    await rows.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["paid"])
    await rows.webhook(Outcome.ENRICHED, Tier.CACHE)
    await rows.webhook(Outcome.ENRICHED, Tier.CACHE)
    await rows.webhook(Outcome.PENDING, None, ["unsure"], source="google_ads", key="x@example.com")
    await rows.call("work", "paid", str(uuid4()))
    return database_url


PERIOD = ("--since", "2026-11-01", "--until", "2026-11-30")


def test_json_is_one_object_and_nothing_else(filled: str) -> None:
    """Standard output is one JSON object with amounts of money as decimal strings."""
    done = run(filled, *PERIOD, "--json", DIRETRIX_PRICE="0.125")
    assert done.returncode == 0, done.stderr
    body: dict[str, Any] = json.loads(done.stdout)
    assert body["since"] == "2026-11-01"
    assert (body["webhooks"], body["paying"], body["avoided"], body["people"]) == (4, 2, 2, 2)
    assert (body["spent"], body["saved"], body["currency"]) == ("0.02", "0.250", "BRL")
    assert body["tiers"] == {"cache": 2, "diretrix": 1, "": 1}
    assert [line["source"] for line in body["lines"]] == ["c2s", "google_ads"]


def test_csv_is_one_row_a_day_and_source(filled: str) -> None:
    """The CSV has calls, avoided calls and money by tier, source and day."""
    done = run(filled, *PERIOD, "--csv")
    assert done.returncode == 0, done.stderr
    first, second = csv.DictReader(io.StringIO(done.stdout))
    assert first == {
        "day": "2026-11-24", "source": "c2s", "webhooks": "3", "needed_contact": "3", "cache": "2", "postgres": "0",
        "diretrix": "1", "form": "0", "nobody_yet": "0", "paying_webhooks": "1", "avoided": "2", "paid_calls": "1",
        "free_calls": "0", "unsure_calls": "0", "spent": "0.01", "saved": "0.02", "currency": "BRL",
    }  # fmt: skip
    assert (second["source"], second["unsure_calls"], second["nobody_yet"]) == ("google_ads", "1", "1")


def test_the_table_is_for_a_manager(filled: str) -> None:
    """The table has totals, tiers and days with explanations; an instant names its day in Sao Paulo."""
    done = run(filled, "--since", "2026-11-25T02:59:59+00:00", "--until", "2026-11-24")
    assert done.returncode == 0, done.stderr
    text = re.sub(r"[^\S\n]+", " ", done.stdout)
    for line in (
        "2026-11-24 to 2026-11-24",
        "webhooks │ 4",
        "paying webhooks │ 2 (50.0 in 100)",
        "avoided: webhooks answered without paying │ 2",
        "Diretrix calls: paid, free, unsure │ 1, 0, 1",
        "spent │ 0.02 BRL",
        "saved against one call a webhook │ 0.02 BRL",
        "work calls │ 1",
        "cache │ 2 │ 50.0",
        "2026-11-24 │ c2s │ 3 │ 2 │ 1 │ 0 │ 0 │ 0.01 │ 0.02",
        "unsure: a time-out or a reset",
        "calls whose webhooks the journal has not written yet: 1",
    ):
        assert line in text, line


def test_an_empty_period_is_no_error(database_url: str) -> None:
    """A period without webhooks has zeros and causes no division by zero."""
    done = run(database_url)
    assert done.returncode == 0, done.stderr
    assert "paying webhooks" in done.stdout
    assert len(run(database_url, "--csv").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "'yesterday' is not a day: write it as 2026-11-24"),
        (("--until", "2026-02-30"), "'2026-02-30' is not a day"),
        (("--since", "24/11/2026"), "'24/11/2026' is not a day"),
        (("--since", ""), "'' is not a day"),
        (("--since", "2026-11-30", "--until", "2026-11-01"), "--since 2026-11-30 is after --until 2026-11-01"),
        (("--csv", "--json"), "--csv or --json, not both"),
    ],
)
def test_a_wrong_date_exits_with_2(arguments: tuple[str, ...], said: str) -> None:
    """A wrong date exits with 2 and is named, without a connection to the database."""
    done = run("postgresql://127.0.0.1:1/none", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_away_exits_with_1() -> None:
    """Without a server the command prints a hint and no password."""
    done = run("postgresql://u:s3cret@127.0.0.1:1/none", *PERIOD)
    assert (done.returncode, done.stdout) == (1, "")
    assert "DATABASE_URL" in done.stderr
    assert "s3cret" not in done.stderr


def test_help_has_an_example() -> None:
    """The help text has an example."""
    done = run("", "--help")
    assert "Example:" in done.stdout
    assert "python -m stream report --since 2026-11-01 --until 2026-11-30 --csv" in re.sub(r"\s+", " ", done.stdout)
