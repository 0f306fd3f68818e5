"""``python -m stream report``."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import date, datetime, timedelta

import click
import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from stream.domain.errors import DatabaseUnavailableError
from stream.ops.report import Report, report
from stream.settings import Settings
from stream.start import settings_or_exit
from stream.store.ledger import BILLING_ZONE
from stream.store.pool import open_pool


class Day(click.ParamType):
    """A day such as 2026-11-24."""

    name = "day"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Read a day, or the day of an instant."""
        if isinstance(value, date):
            return value
        try:
            return datetime.fromisoformat(str(value)).date()
        except ValueError:
            self.fail(f"{value!r} is not a day: write it as 2026-11-24", param, ctx)


@click.command()
@click.option("--since", type=Day(), default=None, help="First day; the first of this month unless given.")
@click.option("--until", type=Day(), default=None, help="Last day, included; today unless given.")
@click.option("--csv", "as_csv", is_flag=True, help="One row a day, partner, source and status.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(*, since: date | None, until: date | None, as_csv: bool, as_json: bool) -> None:
    """Paid calls, avoided calls and money, to lay beside Diretrix's invoice. Days are those of Sao Paulo.

    Example: python -m stream report --since 2026-11-01 --until 2026-11-30 --csv
    """
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
    if as_json:
        click.echo(orjson.dumps(made.as_dict()))
    elif as_csv:
        click.echo(made.as_csv(), nl=False)
    else:
        show(made, Console())


async def _report(settings: Settings, since: date, until: date) -> Report:
    async with open_pool(settings) as pool:
        return await report(pool, since, until, settings.diretrix_price, settings.price_currency)


def show(made: Report, console: Console) -> None:
    """Print the report as tables that a manager understands."""
    total = made.savings
    console.print(money_table(made))
    tiers: Counter[str] = Counter()
    for one in made.answers:
        tiers[one.tier or f"no look-up ({one.outcome})"] += one.webhooks
    by_tier = Table("answered by", "webhooks", title="Who answered")
    for tier, webhooks in tiers.most_common():
        by_tier.add_row(tier, str(webhooks))
    console.print(by_tier)
    if (made.until - made.since) < timedelta(days=62):
        by_day = Table("day", "partner", "source", "ended", "calls", made.currency, title="Calls by day")
        for call in made.calls:
            by_day.add_row(call.day, call.provider, call.source, call.status, str(call.calls), str(call.money))
        console.print(by_day)
    if total.unsure_calls:
        console.print("unsure: a time-out or a reset; the invoice tells whether it was billed")


def money_table(made: Report) -> Table:
    """The bill of the period."""
    total = made.savings
    table = Table(title=f"{made.since} to {made.until}", show_header=False)
    for name, value in (
        ("webhooks", f"{total.webhooks}"),
        ("webhooks that needed a contact", f"{total.needed_contact}"),
        ("people", f"{made.people}"),
        ("paying webhooks", f"{total.paying} ({total.paying_in_100:.1f} in 100)"),
        ("webhooks answered without paying", f"{total.avoided}"),
        ("Diretrix calls: paid, free, unsure", f"{total.paid_calls}, {total.free_calls}, {total.unsure_calls}"),
        ("spent", f"{total.spent} {made.currency}"),
        ("saved against one call a webhook", f"{total.saved} {made.currency}"),
    ):
        table.add_row(name, value)
    return table
