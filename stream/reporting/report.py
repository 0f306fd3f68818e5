"""Reads the paid calls and the answers of a period, to compare them with Diretrix's invoice."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import asyncpg

from stream.domain.events import Tier
from stream.domain.savings import AnswerCount, CallCount, Line, Savings, by_day_and_source, savings, tiers
from stream.domain.text import cell
from stream.store.pool import database_errors
from stream.store.queries import sql

TIERS = (*Tier, "")
COLUMNS = (
    "day",
    "source",
    "webhooks",
    "needed_contact",
    *Tier,
    "nobody_yet",
    "paying_webhooks",
    "avoided",
    "paid_calls",
    "free_calls",
    "unsure_calls",
    "spent",
    "saved",
    "currency",
)


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a period from ``since`` to ``until``, both included, in days of America/Sao_Paulo.

    ``calls_without_answer``: calls whose webhooks the journal has not written. Above 0 the journal is behind or does
    not run, and the number of avoided calls is incomplete.
    """

    since: date
    until: date
    currency: str
    people: int
    calls: tuple[CallCount, ...]
    answers: tuple[AnswerCount, ...]
    savings: Savings
    lines: tuple[Line, ...]
    calls_without_answer: int

    def as_dict(self) -> dict[str, Any]:
        """The report for ``--json``, with amounts of money as decimal strings."""
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "currency": self.currency,
            "people": self.people,
            **_plain(self.savings),
            "calls_without_answer": self.calls_without_answer,
            "tiers": tiers(self.answers),
            "calls": [{**asdict(one), "money": money(one.money)} for one in self.calls],
            "answers": [asdict(one) for one in self.answers],
            "lines": [
                {"day": one.day, "source": one.source, **_plain(one.savings), "tiers": one.tiers} for one in self.lines
            ],
        }

    def as_csv(self) -> str:
        """One row for each day and source."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in self.lines:
            bill = one.savings
            writer.writerow(
                [
                    one.day,
                    cell(one.source),
                    bill.webhooks,
                    bill.needed_contact,
                    *(one.tiers.get(tier, 0) for tier in TIERS),
                    bill.paying,
                    bill.avoided,
                    bill.paid_calls,
                    bill.free_calls,
                    bill.unsure_calls,
                    money(bill.spent),
                    money(bill.saved),
                    cell(self.currency),
                ]
            )
        return text.getvalue()


async def report(pool: asyncpg.Pool, since: date, until: date, price: Decimal, currency: str) -> Report:
    """Read the report of a period from the database. Raises DatabaseUnavailableError."""
    with database_errors():
        calls = await pool.fetch(sql("calls_by_day"), since, until)
        answers = await pool.fetch(sql("answered_by_day"), since, until)
        people = await pool.fetchval(sql("people_answered"), since, until)
        without = await pool.fetchval(sql("calls_without_answer"), since, until)
    counted = tuple(CallCount(row["day"].isoformat(), *list(row.values())[1:]) for row in calls)
    answered = tuple(AnswerCount(row["day"].isoformat(), *list(row.values())[1:]) for row in answers)
    return Report(
        since=since,
        until=until,
        currency=currency,
        people=people,
        calls=counted,
        answers=answered,
        savings=savings(counted, answered, price),
        lines=by_day_and_source(counted, answered, price),
        calls_without_answer=without,
    )


def money(value: Decimal) -> str:
    """A decimal string without an exponent."""
    return f"{value:f}"


def _plain(bill: Savings) -> dict[str, object]:
    values = {name: money(value) if isinstance(value, Decimal) else value for name, value in asdict(bill).items()}
    return {**values, "paying_in_100": round(bill.paying_in_100, 1)}
