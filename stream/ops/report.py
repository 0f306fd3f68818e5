"""Reads a period's calls and answers, to lay beside Diretrix's invoice."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import asyncpg

from stream.domain.savings import AnswerCount, CallCount, Savings, savings
from stream.store.pool import database_errors
from stream.store.queries import sql


@dataclass(frozen=True, slots=True)
class Report:
    """A period, both days included, as America/Sao_Paulo counts days."""

    since: date
    until: date
    currency: str
    people: int
    calls: tuple[CallCount, ...]
    answers: tuple[AnswerCount, ...]
    savings: Savings

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: money as decimal strings."""
        total = {
            name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(self.savings).items()
        }
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "currency": self.currency,
            "people": self.people,
            **total,
            "paying_in_100": round(self.savings.paying_in_100, 1),
            "calls": [{**asdict(one), "money": str(one.money)} for one in self.calls],
            "answers": [asdict(one) for one in self.answers],
        }

    def as_csv(self) -> str:
        """One row a day, partner, source and status: the shape of an invoice."""
        return _csv(
            ("day", "provider", "source", "status", "calls", "money"),
            [tuple(asdict(one).values()) for one in self.calls],
        )


async def report(pool: asyncpg.Pool, since: date, until: date, price: Decimal, currency: str) -> Report:
    """Make the report of a period. Raises DatabaseUnavailableError."""
    with database_errors():
        calls = await pool.fetch(sql("calls_by_day"), since, until)
        answers = await pool.fetch(sql("answered_by_day"), since, until)
        people = await pool.fetchval(sql("people_answered"), since, until)
    counted = tuple(CallCount(row["day"].isoformat(), *list(row.values())[1:]) for row in calls)
    answered = tuple(AnswerCount(row["day"].isoformat(), *list(row.values())[1:]) for row in answers)
    return Report(since, until, currency, people, counted, answered, savings(counted, answered, price))


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
