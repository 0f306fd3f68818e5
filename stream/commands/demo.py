"""``python -m stream demo``."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

import aiohttp
import click
from aiokafka.errors import KafkaError
from rich.table import Table

from stream.commands.screen import show, show_json, table
from stream.domain.errors import StreamError
from stream.local.day import Day, story, trace
from stream.local.demo import Result, judge, play, prepare
from stream.local.stack import Stack
from stream.settings import load

PROCESSES = ("producers", "worker", "crm-sync", "journal")


@click.command()
@click.option(
    "--scale", type=click.FloatRange(0.001), default=1.0, show_default=True, help="Factor on the partners' latencies."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the people and of the day.")
@click.option("--trace", "as_trace", is_flag=True, help="Play the measured trace: 73 webhooks of 31 new people.")
@click.option("--plain", is_flag=True, help="With --trace: phones in one spelling.")
@click.option("--spacing", type=click.FloatRange(0), default=0.02, show_default=True, help="Seconds between webhooks.")
@click.option("--keep", is_flag=True, help="Keep everything running and print the addresses.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def command(*, scale: float, seed: int, as_trace: bool, plain: bool, spacing: float, keep: bool, as_json: bool) -> None:  # noqa: PLR0913
    """Play a day of leads against the whole system on this machine, and check every result.

    Example: python -m stream demo --scale 0.1
    """
    signal.signal(signal.SIGTERM, _raise_interrupt)
    day = trace(seed, plain=plain) if as_trace else story(seed)
    stack = Stack(lambda text: click.echo(text, err=True), scale=scale, seed=seed)
    try:
        with stack:
            result = _run(stack, day, spacing)
            _print(result, stack, as_json=as_json)
            if keep:
                _keep(stack)
    except KeyboardInterrupt:
        click.echo("interrupted; everything is stopped", err=True)
        sys.exit(130)
    except (StreamError, KafkaError, aiohttp.ClientError, OSError) as error:
        click.echo(f"demo: {error or type(error).__name__}", err=True)
        sys.exit(1)
    sys.exit(1 if result.faults else 0)


def _raise_interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


def _run(stack: Stack, day: Day, spacing: float) -> Result:
    """Play the day and check it. The logs are kept when something is wrong."""
    try:
        result = _played(stack, day, spacing)
    except (StreamError, KafkaError, aiohttp.ClientError, OSError):
        stack.keep_folder = True
        raise
    stack.keep_folder = bool(result.faults)
    return result


def _played(stack: Stack, day: Day, spacing: float) -> Result:
    stack.start_servers()
    stack.start_simulators()
    asyncio.run(prepare(stack, day))
    stack.start_ours(*PROCESSES)
    stack.say(f"posting {len(day.webhooks)} webhooks")
    played = asyncio.run(play(stack, day, spacing=spacing))
    stack.say("waiting for the CRM sync and the journal")
    return asyncio.run(judge(stack, day, played))


def _print(result: Result, stack: Stack, *, as_json: bool) -> None:
    if as_json:
        show_json({**result.figures, "faults": result.faults})
    else:
        show(_table(result))
    for fault in result.faults:
        click.echo(f"WRONG: {fault}", err=True)
    if not result.faults:
        stack.say("ledger, topics, partners and CRM agree")


def _table(result: Result) -> Table:
    figures = result.figures
    price = load(environ={}).diretrix_price
    by_tier = figures["answered_by"]
    names = {
        "cache": "the table (tier 1)",
        "postgres": "PostgreSQL (tier 2)",
        "diretrix": "Diretrix (tier 3, paid)",
        "form": "the form's CPF",
        "None": "nobody: test or no contact",
    }
    rows = [
        ("webhooks", figures["webhooks"]),
        ("people", figures["people"]),
        *((f"  answered by {names[tier]}", count) for tier, count in by_tier.items()),
        (
            "paying webhooks",
            f"{figures['paying_webhooks']} ({figures['paying_in_100']} in 100; one a webhook would be 100)",
        ),
        ("Diretrix calls / Work API calls", f"{figures['diretrix_calls']} / {figures['work_calls']}"),
        ("spent / saved", f"{figures['spent']} / {figures['saved']} {figures['currency']} at {price} a call"),
        ("first seen, POST to event", _ms(figures["first_seen_ms"])),
        ("repeat, POST to event", _ms(figures["repeat_ms"])),
        ("messages in the CRM", figures["crm_messages"]),
        ("  of them without data", figures["crm_messages_without_data"]),
        ("leads created in the CRM", figures["crm_leads_created"]),
    ]
    return table("A day of leads", "", "", rows=rows)


def _ms(percentiles: dict[str, float]) -> str:
    return f"p50 {percentiles['p50']:.0f} ms, p99 {percentiles['p99']:.0f} ms"


def _keep(stack: Stack) -> None:
    click.echo(f"producers {stack.producers_url}, their pages {stack.producers_internal_url}")
    click.echo(f"worker    {stack.worker_url}\npartners  {stack.simulators_url}")
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"):
        click.echo(f"export {name}='{stack.environment()[name]}'")
    click.echo("Ctrl-C stops everything", err=True)
    threading.Event().wait()
