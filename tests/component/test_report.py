"""The report: counted from the ledger and the journal's rows, in a form that a manager reads beside an invoice."""

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


class Books:
    """Writes webhooks and calls as the worker and the journal do."""

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
        """A webhook with its Diretrix calls, by how they ended; ``in_event``: the event tells of them."""
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
        """One call; a status of ``reserved`` leaves it as a worker that died would."""
        price = PRICE if provider == "diretrix" else Decimal(0)
        call = await self._ledger.reserve(provider, "phone", "p:+5511987654321", event, source, price, None)
        if status != "reserved":
            await self._ledger.settle(call, status)


@pytest.fixture
def books(pool: asyncpg.Pool) -> Books:
    return Books(pool)


async def made(pool: asyncpg.Pool, since: date = TODAY, until: date = TODAY) -> Report:
    return await report(pool, since, until, PRICE, "BRL")


async def test_the_measured_trace(pool: asyncpg.Pool, books: Books) -> None:
    """73 webhooks of 31 people with 31 calls: 42 avoided, 42.5 paying in 100, 0.31 spent and 0.42 saved."""
    for number in range(73):
        first = number < 31
        await books.webhook(
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


async def test_every_way_a_call_and_a_webhook_can_end(pool: asyncpg.Pool, books: Books) -> None:
    """Free calls make nobody pay, unsure and abandoned ones do; tests and empty leads count as webhooks only."""
    await books.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["paid"], key="1")
    await books.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["free", "paid", "paid"], key="2")
    await books.webhook(Outcome.NOT_FOUND, Tier.DIRETRIX, ["free", "free"], key="3")
    await books.webhook(Outcome.PENDING, None, ["unsure"], key="4")
    await books.webhook(Outcome.PENDING, None, ["reserved"], key="5")
    await books.webhook(Outcome.ENRICHED, Tier.POSTGRES, key="1")
    await books.webhook(Outcome.ENRICHED, Tier.FORM, key="6", source="google_ads")
    await books.webhook(Outcome.TEST, None, source="google_ads", key="7")
    await books.webhook(Outcome.NO_CONTACT, None, key="8")
    one = await made(pool)
    total = one.savings
    assert (total.webhooks, total.needed_contact, total.paying, total.avoided, one.people) == (9, 7, 4, 3, 6)
    assert (total.paid_calls, total.free_calls, total.unsure_calls) == (3, 3, 2)
    assert (total.spent, total.saved) == (Decimal("0.05"), Decimal("0.03"))
    assert one.as_dict()["tiers"] == {"diretrix": 3, "": 2, "postgres": 1, "form": 1}


async def test_a_webhook_that_was_parked_after_its_call_has_paid(pool: asyncpg.Pool, books: Books) -> None:
    """The event at its end says nothing of the call before it was parked, or before a crash: the ledger does."""
    parked = await books.webhook(Outcome.PENDING, None, ["paid"], in_event=False)
    books.now += timedelta(hours=1)
    await books.webhook(Outcome.ENRICHED, Tier.CACHE, event=parked, in_event=False)
    total = (await made(pool)).savings
    assert (total.webhooks, total.paying, total.avoided, total.paid_calls) == (1, 1, 0, 1)


async def test_a_replay_changes_nothing(pool: asyncpg.Pool, books: Books) -> None:
    """The same events once more, answered from the table, leave the report as it was."""
    event = await books.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["paid"])
    before = await made(pool)
    await books.webhook(Outcome.ENRICHED, Tier.CACHE, event=event)
    assert await made(pool) == before


async def test_lines_are_by_day_and_source(pool: asyncpg.Pool, books: Books) -> None:
    """Each day of Sao Paulo and each source has its own bill, and the lines add up to the whole."""
    await books.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["paid"])
    await books.webhook(Outcome.ENRICHED, Tier.CACHE, source="google_ads")
    books.now = datetime(2026, 11, 25, 2, 30, tzinfo=UTC)  # still the 24th in Sao Paulo
    await books.webhook(Outcome.ENRICHED, Tier.CACHE)
    books.now = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
    await books.webhook(Outcome.NOT_FOUND, Tier.DIRETRIX, ["free"])
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


async def test_a_call_after_midnight_makes_yesterdays_webhook_a_paying_one(pool: asyncpg.Pool, books: Books) -> None:
    """The call is on the invoice of its own day; the webhook pays on the day that it came in."""
    books.now = datetime(2026, 11, 25, 2, 59, tzinfo=UTC)
    event = str(uuid4())
    await books.webhook(Outcome.PENDING, None, event=event)
    books.now += timedelta(minutes=2)
    await books.call("diretrix", "paid", event)
    yesterday, today = await made(pool), await made(pool, TODAY + timedelta(days=1), TODAY + timedelta(days=1))
    assert (yesterday.savings.paying, yesterday.savings.paid_calls) == (1, 0)
    assert (today.savings.paying, today.savings.paid_calls) == (0, 1)


async def test_a_journal_that_is_behind_is_told(pool: asyncpg.Pool, books: Books) -> None:
    """Calls whose webhooks are not in the books are counted, so that nobody believes the avoided ones."""
    await books.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["paid"])
    await books.call("diretrix", "paid", str(uuid4()))
    assert (await made(pool)).calls_without_answer == 1


async def test_prices_of_the_ledger_are_what_was_spent(pool: asyncpg.Pool, books: Books) -> None:
    """A price that changed leaves what was spent before; what was avoided is worth today's price."""
    await books.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["paid"])
    await books.webhook(Outcome.ENRICHED, Tier.CACHE)
    total = (await report(pool, TODAY, TODAY, Decimal("1E+1"), "BRL")).savings
    assert (total.spent, total.saved) == (PRICE, Decimal(10))


async def test_a_database_that_is_away_is_said_so(pool: asyncpg.Pool) -> None:
    """No half a report."""
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
async def filled(books: Books, database_url: str) -> str:
    """The address of a database with two paying webhooks, one of them Google's, and two repeats."""
    await books.webhook(Outcome.ENRICHED, Tier.DIRETRIX, ["paid"])
    await books.webhook(Outcome.ENRICHED, Tier.CACHE)
    await books.webhook(Outcome.ENRICHED, Tier.CACHE)
    await books.webhook(Outcome.PENDING, None, ["unsure"], source="google_ads", key="x@example.com")
    await books.call("work", "paid", str(uuid4()))
    return database_url


PERIOD = ("--since", "2026-11-01", "--until", "2026-11-30")


def test_json_is_one_object_and_nothing_else(filled: str) -> None:
    """Standard output parses as a whole; money is decimal strings."""
    done = run(filled, *PERIOD, "--json", DIRETRIX_PRICE="0.125")
    assert done.returncode == 0, done.stderr
    body: dict[str, Any] = json.loads(done.stdout)
    assert body["since"] == "2026-11-01"
    assert (body["webhooks"], body["paying"], body["avoided"], body["people"]) == (4, 2, 2, 2)
    assert (body["spent"], body["saved"], body["currency"]) == ("0.02", "0.250", "BRL")
    assert body["tiers"] == {"cache": 2, "diretrix": 1, "": 1}
    assert [line["source"] for line in body["lines"]] == ["c2s", "google_ads"]


def test_csv_is_one_row_a_day_and_source(filled: str) -> None:
    """A spreadsheet reads it: calls, avoided and money by tier, source and day."""
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
    """Totals, tiers and days in words, with what has to be explained; one instant names its day in Sao Paulo."""
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
    """Nothing happened: zeros, and no division by them."""
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
def test_what_makes_no_sense_is_said_clearly(arguments: tuple[str, ...], said: str) -> None:
    """A wrong date ends with 2 and names it; the database is not asked."""
    done = run("postgresql://127.0.0.1:1/none", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_away_ends_with_1() -> None:
    """A hint, and no password."""
    done = run("postgresql://u:s3cret@127.0.0.1:1/none", *PERIOD)
    assert (done.returncode, done.stdout) == (1, "")
    assert "DATABASE_URL" in done.stderr
    assert "s3cret" not in done.stderr


def test_help_has_an_example() -> None:
    """Someone who has never seen it can call it."""
    done = run("", "--help")
    assert "Example:" in done.stdout
    assert "python -m stream report --since 2026-11-01 --until 2026-11-30 --csv" in re.sub(r"\s+", " ", done.stdout)
