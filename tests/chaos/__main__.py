"""``python -m tests.chaos``."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from functools import partial

import click
from rich.console import Console

from tests.chaos.report import show
from tests.chaos.runner import run
from tests.chaos.scenario import Scenario, found


@click.command()
@click.option("--seed", type=int, help="Seed of all that is random; a new one unless given, and printed.")
@click.option("--only", default="", help="Numbers of scenarios, comma-separated; all of them unless given.")
@click.option("--size", type=click.Choice(["full", "small"]), default="full", help="Size of each scenario.")
@click.option("--set", "changes", multiple=True, metavar="NAME=NUMBER", help="Change a size, such as webhooks=500.")
def main(seed: int | None, only: str, size: str, changes: tuple[str, ...]) -> None:
    r"""Break the running system on purpose and count every record. Exits with 1 when a promise is broken.

    \b
    Example:
      python -m tests.chaos --seed 7 --only 1,2 --size small
    """
    # Never what these name: it may be somebody's work, and it is about to be killed.
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"):
        os.environ.pop(name, None)
    # The reader meets the broker as it is left: its client says so at every try.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    seed = seed if seed is not None else secrets.randbelow(10_000)
    say = partial(print, flush=True)
    say(f"seed {seed}")
    reports = [run(one, seed, _size(one, size, changes), say) for one in _chosen(only, size)]
    show(reports, Console(width=max(120, 30 * len(reports))))
    print(f'seed {seed}: make chaos ARGS="--seed {seed} --size {size}{f" --only {only}" if only else ""}"')
    sys.exit(0 if reports and all(report.kept for report in reports) else 1)


def _chosen(only: str, size: str) -> list[Scenario]:
    there = found()
    if not only:
        return [one for one in there if size == "full" or one.small]
    numbers = {number.strip() for number in only.split(",")}
    if unknown := numbers - {str(one.number) for one in there}:
        raise click.BadParameter(f"there is no scenario {', '.join(sorted(unknown))}", param_hint="--only")
    return [one for one in there if str(one.number) in numbers]


def _size(scenario: Scenario, size: str, changes: tuple[str, ...]) -> dict[str, int]:
    sizes = dict(scenario.full if size == "full" or not scenario.small else scenario.small)
    for change in changes:
        name, _, number = change.partition("=")
        if not number.isdigit():
            raise click.BadParameter(f"{change!r} is not NAME=NUMBER", param_hint="--set")
        if name in sizes:
            sizes[name] = int(number)
    return sizes


if __name__ == "__main__":
    main()
