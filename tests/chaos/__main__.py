"""``python -m tests.chaos``."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import signal
import sys

import click
from rich.console import Console

from tests.chaos.progress import Progress
from tests.chaos.report import show
from tests.chaos.runner import run
from tests.chaos.scenario import Scenario, found

INTERRUPTED = 130  # exit code


@click.command()
@click.option("--seed", type=int, help="Seed of all that is random; a new one unless given, and printed.")
@click.option("--only", default="", help="Numbers of scenarios, comma-separated; all of them unless given.")
@click.option("--size", type=click.Choice(["full", "small"]), default="full", help="Size of each scenario.")
@click.option("--set", "changes", multiple=True, metavar="NAME=NUMBER", help="Change a size, such as webhooks=500.")
def main(seed: int | None, only: str, size: str, changes: tuple[str, ...]) -> None:
    """Break the running system on purpose and count every record. Exits with 1 if a promise is broken.

    \b
    Example:
      python -m tests.chaos --seed 7 --only 1,2 --size small
    """  # noqa: D301 - click wants the character itself
    # Never what these name: it may be somebody's work, and it is about to be killed.
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"):
        os.environ.pop(name, None)
    # The reader meets the broker as it is left: its client says so at every try.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # A supervisor's way to interrupt is heard as Ctrl-C is: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = seed if seed is not None else secrets.randbelow(10_000)
    again = repeat(seed, only, size, changes)
    chosen = _chosen(only, size)
    progress = Progress(len(chosen))
    progress.say(again)
    try:
        reports = [run(one, seed, _size(one, size, changes), progress.next()) for one in chosen]
    except KeyboardInterrupt:
        progress.say("interrupted; everything is stopped")
        sys.exit(INTERRUPTED)
    show(reports, Console(width=max(120, 30 * len(reports))))
    print(again)
    sys.exit(0 if reports and all(report.kept for report in reports) else 1)


def repeat(seed: int, only: str, size: str, changes: tuple[str, ...]) -> str:
    """The command that repeats this run."""
    options = ["--seed", str(seed), "--size", size, *(["--only", only] if only else [])]
    for change in changes:
        options += ["--set", change]
    return f'seed {seed}: make chaos ARGS="{shlex.join(options)}"'


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
