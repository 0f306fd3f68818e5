"""``python -m stream report``."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import date, datetime, timedelta

import click
import uvloop
from rich.table import Table

from stream.commands import screen
from stream.domain.errors import DatabaseUnavailableError, StopError
from stream.domain.provider import Provider
from stream.domain.savings import tiers
from stream.reporting.report import Report, money, report
from stream.runtime.startup import settings_or_exit
from stream.settings import Settings
from stream.store.ledger import BILLING_ZONE
from stream.store.pool import open_migrated


class Day(click.ParamType):
    """A day such as 2026-11-24."""

    name = "day"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Read a day, or the day of an instant."""
        if isinstance(value, date):
            return value
        try:
            instant = datetime.fromisoformat(str(value).strip())
            return (instant.astimezone(BILLING_ZONE) if instant.tzinfo else instant).date()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a day: write it as 2026-11-24", param, ctx)


@click.command()
@click.option("--since", type=Day(), default=None, help="First day; the first of this month unless given.")
@click.option("--until", type=Day(), default=None, help="Last day, included; today unless given.")
@click.option("--csv", "as_csv", is_flag=True, help="One row a day and source, for a spreadsheet.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(*, since: date | None, until: date | None, as_csv: bool, as_json: bool) -> None:
    """Paid calls, avoided calls and money, to compare with Diretrix's invoice. Days are those of Sao Paulo.

    Example: python -m stream report --since 2026-11-01 --until 2026-11-30 --csv
    """
    if as_csv and as_json:
        raise click.UsageError("--csv or --json, not both")
    settings = settings_or_exit("report")
    today = datetime.now(BILLING_ZONE).date()
    first, last = since or today.replace(day=1), until or today
    if first > last:
        raise click.UsageError(f"--since {first} is after --until {last}")
    try:
        made = uvloop.run(_report(settings, first, last))
    except DatabaseUnavailableError as error:
        click.echo(f"report: {error}: is DATABASE_URL right, and is the server up?", err=True)
        sys.exit(1)
    except StopError as error:
        click.echo(f"report: {error}", err=True)
        sys.exit(1)
    if as_json:
        screen.show_json(made.as_dict())
    elif as_csv:
        click.echo(made.as_csv(), nl=False)
    else:
        show(made)


async def _report(settings: Settings, since: date, until: date) -> Report:
    async with open_migrated(settings) as pool:
        return await report(pool, since, until, settings.diretrix_price, settings.price_currency)


def show(made: Report) -> None:
    """Print the report as tables that a manager understands."""
    screen.show(money_table(made), tier_table(made))
    if (made.until - made.since) < timedelta(days=62):
        screen.show(day_table(made))
    if made.savings.unsure_calls:
        screen.say("unsure: a time-out or a reset; counted as spent; the invoice says whether it was billed")
    if made.calls_without_answer:
        behind = f"calls whose webhooks the journal has not written yet: {made.calls_without_answer}"
        screen.say(f"{behind} (does `python -m stream journal` run?)")


def money_table(made: Report) -> Table:
    """The bill of the period."""
    total = made.savings
    rows = (
        ("webhooks", f"{total.webhooks}"),
        ("webhooks that needed a contact", f"{total.needed_contact}"),
        ("people", f"{made.people}"),
        ("paying webhooks", f"{total.paying} ({total.paying_in_100:.1f} in 100)"),
        ("avoided: webhooks answered without paying", f"{total.avoided}"),
        ("Diretrix calls: paid, free, unsure", f"{total.paid_calls}, {total.free_calls}, {total.unsure_calls}"),
        ("spent", f"{money(total.spent)} {made.currency}"),
        ("saved against one call a webhook", f"{money(total.saved)} {made.currency}"),
        *((f"{partner} calls", f"{calls}") for partner, calls in _others(made).items()),
    )
    return screen.table(f"{made.since} to {made.until}", "", "", rows=rows)


def _others(made: Report) -> Counter[str]:
    """Calls of partners other than Diretrix."""
    calls: Counter[str] = Counter()
    for one in made.calls:
        if one.provider != Provider.DIRETRIX:
            calls[one.provider] += one.calls
    return calls


def tier_table(made: Report) -> Table:
    """Who answered the webhooks that needed a contact."""
    rows = [
        (tier or "nobody yet", webhooks, f"{100 * webhooks / made.savings.needed_contact:.1f}")
        for tier, webhooks in sorted(tiers(made.answers).items(), key=lambda item: -item[1])
    ]
    figures = ("webhooks", "in 100")
    return screen.table("Who answered", "answered by", *figures, rows=rows, right=figures)


def day_table(made: Report) -> Table:
    """The bill of each day and source."""
    rows = []
    for one in made.lines:
        bill = one.savings
        counts = (bill.webhooks, bill.avoided, bill.paid_calls, bill.free_calls, bill.unsure_calls)
        rows.append((one.day, one.source, *counts, money(bill.spent), money(bill.saved)))
    figures = ("webhooks", "avoided", "paid", "free", "unsure", "spent", "saved")
    return screen.table("By day", "day", "source", *figures, rows=rows, right=figures)
