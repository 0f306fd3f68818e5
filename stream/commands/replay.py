"""``python -m stream replay``."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import uvloop
from aiokafka.errors import KafkaError

from stream.commands.screen import show, show_json, table
from stream.domain.errors import StopError
from stream.domain.text import one_line
from stream.kafka.clients import open_admin
from stream.ops.replay import (
    Absolute,
    Earliest,
    Move,
    Replay,
    Shift,
    Target,
    from_csv,
    max_cost,
    parse_duration,
    plan,
    to_csv,
)
from stream.runtime.startup import settings_or_exit
from stream.settings import Settings
from stream.topics import GROUPS, WORKER_GROUP

MAX_MEMBER_CHARACTERS = 200  # of a member's name, in a message


@click.command()
@click.option(
    "--group", type=click.Choice(sorted(GROUPS)), default=WORKER_GROUP, show_default=True, help="The consumer group."
)
@click.option("--to-earliest", is_flag=True, help="To the first record that retention has left.")
@click.option("--to-datetime", metavar="T", help="To an instant such as 2026-11-24T09:00:00Z, by the broker's clock.")
@click.option("--by-duration", metavar="PT2H", help="Back by a duration from now.")
@click.option("--shift-by", type=int, metavar="N", help="By N records from the committed offset; negative: back.")
@click.option("--to-offset", type=int, metavar="N", help="To one offset.")
@click.option("--from-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="To an exported plan.")
@click.option("--partitions", metavar="0,2", help="Only these partitions.")
@click.option("--export", type=click.Path(dir_okay=False, path_type=Path), help="Write the plan to a CSV file.")
@click.option("--execute", is_flag=True, help="Carry the plan out; without it nothing is changed.")
@click.option("--skip-unread", is_flag=True, help="Carry it out although unread records are skipped and lost.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(**options: object) -> None:
    """Reset a group's offsets, so that its records are read again. Stop its members first.

    Events are emitted again under the same ids. Known people are not paid for again, and the CRM gets no facts twice.

    Example: python -m stream replay --to-datetime 2026-11-24T09:00:00Z --execute
    """
    settings = settings_or_exit("replay")
    chosen = [name for name in TARGET_OPTIONS if options[name] is not None and options[name] is not False]
    if len(chosen) != 1:
        raise click.UsageError(
            "give exactly one of " + ", ".join(f"--{name.replace('_', '-')}" for name in TARGET_OPTIONS)
        )
    try:
        uvloop.run(_run(settings, chosen[0], options))
    except (StopError, KafkaError, OSError) as error:
        click.echo(f"replay: {one_line(str(error)) or type(error).__name__}", err=True)
        sys.exit(1)


TARGET_OPTIONS = ("to_earliest", "to_datetime", "by_duration", "shift_by", "to_offset", "from_file")


async def _run(settings: Settings, option: str, options: dict[str, object]) -> None:
    group = str(options["group"])
    async with open_admin(settings) as admin:
        replay = Replay(admin, settings, group)
        target = await _target(replay, option, options[option], group)
        moves = plan(await replay.bounds(), target, _partitions(options["partitions"]))
        if isinstance(options["export"], Path):
            options["export"].write_text(to_csv(group, moves), encoding="utf-8")
        if options["execute"]:
            await replay.execute(moves, skip_unread=bool(options["skip_unread"]))
        else:
            members = await replay.members()
            if members:
                named = "; ".join(one_line(member, MAX_MEMBER_CHARACTERS) for member in members)
                click.echo(f"{group} has members; --execute is refused until these are stopped: {named}", err=True)
    _show(settings, group, moves, executed=bool(options["execute"]), as_json=bool(options["as_json"]))


async def _target(replay: Replay, option: str, value: object, group: str) -> Target:
    if isinstance(value, Path):
        # A file that is not UTF-8 is no plan, and from_csv says so.
        return from_csv(value.read_text(encoding="utf-8", errors="replace"), group)
    if option == "shift_by" and isinstance(value, int):
        return Shift(value)
    if option == "to_offset" and isinstance(value, int):
        return Absolute(value)
    if option == "to_earliest":
        return Earliest()
    return await replay.offsets_at(_instant(option, str(value)))


def _instant(option: str, text: str) -> datetime:
    try:
        if option == "by_duration":
            return datetime.now(UTC) - parse_duration(text)
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"--{option.replace('_', '-')} {text}: {error}") from None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def _partitions(text: object) -> frozenset[int] | None:
    if text is None:
        return None
    try:
        return frozenset(int(part) for part in str(text).split(","))
    except ValueError:
        raise click.UsageError(f"--partitions {text}: write numbers, such as 0,2") from None


def _show(settings: Settings, group: str, moves: list[Move], *, executed: bool, as_json: bool) -> None:
    records = sum(move.records for move in moves)
    cost = max_cost(group, moves, settings)
    skipped = sum(move.skipped for move in moves)
    if as_json:
        totals = {"records": records, "skipped": skipped, "costs_at_most": str(cost)}
        show_json({"group": group, "executed": executed, **totals, "moves": moves})
        return
    columns = ("partition", "from", "to", "records to read", "removed by retention", "unread, skipped")
    rows = [(move.partition, move.start, move.to, move.records, move.removed, move.skipped) for move in moves]
    show(table(group, *columns, rows=rows, right=columns))
    if skipped:
        click.echo(f"WARNING: {skipped} records that the group has not read are skipped: they are never read", err=True)
    click.echo(
        f"{records} records; at most {cost} {settings.price_currency}, if nobody in them is known any more\n"
        + ("done: start the members again" if executed else "a dry run: nothing was changed; --execute carries it out")
    )
