"""``python -m bench NAME...``: run benchmarks, print one table; ``--json`` prints one object."""

from __future__ import annotations

import importlib
import logging
import sys
from dataclasses import asdict
from pathlib import Path

import click
import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from bench.result import Options, Row
from stream.domain.errors import StopError

NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if "\nasync def run(options" in path.read_text("utf-8")
)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="The same as NAMES, one at a time.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Rounds of what is repeated.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of every input.")
@click.option("--scale", type=click.FloatRange(0.0001), default=1.0, show_default=True, help="Factor on the input.")
@click.option("--examples", type=click.IntRange(0), default=0, help="matching: print so many wrong answers.")
@click.option("--lost", type=click.IntRange(0), default=0, help="matching: print so many answers that were given up.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def main(  # noqa: PLR0913 - one an option
    names: tuple[str, ...],
    *,
    only: tuple[str, ...],
    rounds: int,
    seed: int,
    scale: float,
    examples: int,
    lost: int,
    as_json: bool,
) -> None:
    """Run the benchmarks named, or all of them.

    Examples: python -m bench cost tier2; python -m bench matching --scale 0.1 --examples 20
    """
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # topics are made anew all the time
    options = Options(rounds=rounds, seed=seed, scale=scale, examples=examples, lost=lost)
    rows: list[Row] = []
    failed = False
    for name in dict.fromkeys([*names, *only]) or NAMES:
        click.echo(f"{name} ...", err=True)
        try:
            rows += uvloop.run(importlib.import_module(f"bench.{name}").run(options))
        except StopError as error:
            click.echo(f"{name}: {error}", err=True)
            failed = True
    if as_json:
        click.echo(orjson.dumps({"options": asdict(options), "rows": [asdict(row) for row in rows]}))
    else:
        Console(width=max(Console().width, 160)).print(_table(rows))
    sys.exit(1 if failed or any(row.met is False for row in rows) else 0)


def _table(rows: list[Row]) -> Table:
    table = Table("what", "value", "unit", "goal", "met", "note", "command")
    for row in rows:
        met = {True: "yes", False: "NO", None: ""}[row.met]
        table.add_row(row.name, f"{row.value:,.4g}", row.unit, row.goal, met, row.note, row.command)
    return table


if __name__ == "__main__":
    main()
