"""``python -m stream dlq list | show | redrive | drop``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click
import uvloop
from aiokafka.errors import KafkaError

from stream import topics
from stream.commands import screen
from stream.dead_letters.queue import DeadLetterQueue, RedrivePlan
from stream.domain.dead_letters import STAGES, DeadLetter, DeadLetterFilter, DeadLetterStatus, unknown_criteria
from stream.domain.errors import StopError, StreamError
from stream.domain.identity import parse_denylist
from stream.domain.text import one_line
from stream.logs import mask
from stream.runtime.startup import settings_or_exit

MAX_SHOWN_CHARACTERS = 20_000  # of the bytes of a dead letter
MAX_REASON_CHARACTERS = 300  # of a reason in a list
NO_SELECTION = "say which: numbers, a filter, or --all"


class Instant(click.ParamType):
    """An instant such as 2026-11-24T09:00:00Z, or a day; UTC unless it says otherwise."""

    name = "instant"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read an instant."""
        try:
            instant = datetime.fromisoformat(str(value).strip())
        except ValueError:
            self.fail(f"{value!r} is not an instant: write 2026-11-24T09:00:00Z", param, ctx)
        return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments that all commands share."""

    letter_filter: DeadLetterFilter
    reveal: bool
    as_json: bool


def _with_filter(command: Callable[..., None]) -> Callable[..., None]:
    """Add the arguments that select dead letters and say how they are shown: the same for all commands."""

    @wraps(command)
    def called(**options: Any) -> None:
        closed = options.pop("closed")
        letter_filter = DeadLetterFilter(
            offsets=frozenset(options.pop("numbers")),
            stages=frozenset(options.pop("stage")),
            errors=frozenset(options.pop("error")),
            topics=frozenset(options.pop("topic")),
            since=options.pop("since"),
            until=options.pop("until"),
            statuses=frozenset(DeadLetterStatus) if closed else frozenset({DeadLetterStatus.OPEN}),
        )
        command(arguments=Arguments(letter_filter, options.pop("reveal"), options.pop("as_json")), **options)

    for option in reversed(
        (
            click.argument("numbers", nargs=-1, type=click.IntRange(min=0), metavar="[NUMBER]..."),
            click.option("--stage", multiple=True, type=click.Choice(STAGES), help="The stage that failed."),
            click.option("--class", "error", multiple=True, help="Class of the error, such as PoisonError."),
            click.option("--topic", multiple=True, help="The topic that it was read from, or meant for."),
            click.option("--since", type=Instant(), help="Failed at this instant or later."),
            click.option("--until", type=Instant(), help="Failed before this instant."),
            click.option("--closed", is_flag=True, help="Also dead letters that were redriven or dropped."),
            click.option("--reveal", is_flag=True, help="Show identifiers in clear."),
            click.option("--json", "as_json", is_flag=True, help="One JSON object."),
        )
    ):
        called = option(called)
    return called


def _with_execute(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of commands that change something, which they do only with --execute."""
    for option in (
        click.option("--execute", is_flag=True, help="Carry it out; without it nothing is changed."),
        click.option("--all", "everything", is_flag=True, help="Select all open dead letters, without a filter."),
    ):
        command = option(command)
    return command


@click.group()
def command() -> None:
    """Dead letters: records that could never succeed, with the reason. The number is the offset in webhooks.dead.

    \b
    Examples:
      python -m stream dlq list --stage enrich --since 2026-11-24
      python -m stream dlq show 17
      python -m stream dlq redrive --class GivenUpError --execute
      python -m stream dlq drop 17 18 --execute
    """  # noqa: D301 - click's mark for lines that must stay as they are


@command.command("list")
@_with_filter
def show_list(arguments: Arguments) -> None:
    """List dead letters, oldest first, identifiers masked.

    Example: python -m stream dlq list --stage crm --json
    """
    _run(lambda letters: _list(letters, arguments))


@command.command("show")
@_with_filter
def show(arguments: Arguments) -> None:
    """Show dead letters completely: where and why they failed, their original headers, their bytes.

    Example: python -m stream dlq show 17 --reveal
    """
    if arguments.letter_filter.is_everything:
        raise click.UsageError(NO_SELECTION.replace(", or --all", ""))
    _run(lambda letters: _show(letters, arguments))


@command.command("redrive")
@_with_execute
@_with_filter
def redrive(arguments: Arguments, *, execute: bool, everything: bool) -> None:
    """Publish dead letters to their original topic again, under the same identity. A dry run unless --execute.

    Those that would fail again stay. Example: python -m stream dlq redrive --stage enrich --execute
    """
    _require_selection(arguments, everything=everything)
    _run(lambda letters: _redrive(letters, arguments, execute=execute))


@command.command("drop")
@_with_execute
@_with_filter
def drop(arguments: Arguments, *, execute: bool, everything: bool) -> None:
    """Close dead letters without redriving them. A dry run unless --execute; their bytes stay until retention ends.

    Example: python -m stream dlq drop --stage receive --until 2026-11-01 --execute
    """
    _require_selection(arguments, everything=everything)
    _run(lambda letters: _drop(letters, arguments, execute=execute))


def _require_selection(arguments: Arguments, *, everything: bool) -> None:
    if arguments.letter_filter.is_everything and not everything:
        raise click.UsageError(NO_SELECTION)


def _run(work: Callable[[DeadLetterQueue], Awaitable[None]]) -> None:
    settings = settings_or_exit("dlq")

    async def run() -> None:
        denied_aliases = parse_denylist(settings.contact_denylist)
        await work(DeadLetterQueue(settings, denied_aliases, lambda: datetime.now(UTC)))

    try:
        uvloop.run(run())
    except (StreamError, KafkaError, OSError) as error:
        click.echo(f"dlq: {one_line(str(error)) or type(error).__name__}", err=True)
        sys.exit(1)


async def _list(letters: DeadLetterQueue, arguments: Arguments) -> None:
    found = await _select(letters, arguments, all_numbers=False)
    if arguments.as_json:
        screen.show_json({"letters": [_as_json(letter, arguments) for letter in found]})
        return
    _table(found, arguments, f"{len(found)} dead letters")


async def _select(letters: DeadLetterQueue, arguments: Arguments, *, all_numbers: bool = True) -> list[DeadLetter]:
    """The selected dead letters. Raises StopError for a number, class or topic that does not exist.

    ``all_numbers``: every number must exist; otherwise one of them is enough.
    """
    found = await letters.find(arguments.letter_filter)
    missing = arguments.letter_filter.offsets - {letter.offset for letter in found}
    if (missing and all_numbers) or not found:
        every = await letters.find(DeadLetterFilter(statuses=frozenset(DeadLetterStatus)))
        fault = unknown_criteria(arguments.letter_filter, every, frozenset(one.name for one in topics.ALL))
        if fault:
            raise StopError(mask(fault))
    return found


async def _show(letters: DeadLetterQueue, arguments: Arguments) -> None:
    found = await _select(letters, arguments)
    _require_open(arguments.letter_filter, found)
    shown = []
    async for letter, value in letters.values(found):
        headers = ((name.encode("utf-8", "replace"), said) for name, said in letter.original)
        facts = {
            **_as_json(letter, arguments),
            "headers": {_as_text(name, arguments): _as_text(said, arguments) for name, said in headers},
            "value": None if value is None else _as_text(value, arguments),
        }
        shown.append(facts)
        if not arguments.as_json:
            click.echo("\n".join(f"{name}: {_as_line(fact)}" for name, fact in facts.items()) + "\n")
    if arguments.as_json:
        screen.show_json({"letters": shown})


def _require_open(letter_filter: DeadLetterFilter, found: Sequence[DeadLetter]) -> None:
    closed = letter_filter.offsets - {letter.offset for letter in found}
    if closed:
        numbers = ", ".join(map(str, sorted(closed)))
        raise StopError(f"closed, or excluded by another option: {numbers}. --closed shows closed dead letters")


async def _redrive(letters: DeadLetterQueue, arguments: Arguments, *, execute: bool) -> None:
    plan = await letters.plan(await _select(letters, arguments))
    if execute:
        await letters.redrive(plan)
    if arguments.as_json:
        numbers = [letter.offset for letter in plan.redriven]
        hopeless = [{"number": number, "reason": reason} for number, reason in plan.hopeless.items()]
        screen.show_json({"executed": execute, "redriven": numbers, "hopeless": hopeless})
        return
    _table(plan.redriven, arguments, f"{len(plan.redriven)} to redrive")
    _print_hopeless(plan)
    click.echo(_verdict("redriven", len(plan.redriven), execute=execute))


async def _drop(letters: DeadLetterQueue, arguments: Arguments, *, execute: bool) -> None:
    found = await _select(letters, arguments)
    if execute:
        await letters.drop(found)
    if arguments.as_json:
        screen.show_json({"executed": execute, "dropped": [letter.offset for letter in found]})
        return
    _table(found, arguments, f"{len(found)} to drop")
    click.echo(_verdict("dropped", len(found), execute=execute))


def _print_hopeless(plan: RedrivePlan) -> None:
    for reason, count in Counter(plan.hopeless.values()).most_common():
        click.echo(f"{count} would fail again and stay: {one_line(mask(reason), MAX_REASON_CHARACTERS)}")


def _verdict(done: str, count: int, *, execute: bool) -> str:
    return f"{count} {done}" if execute else f"a dry run: nothing was changed; with --execute {count} would be {done}"


def _table(letters: Sequence[DeadLetter], arguments: Arguments, title: str) -> None:
    rows = [
        (
            letter.offset,
            f"{letter.failed_at:%Y-%m-%d %H:%M:%S}",
            [mask(line) for line in _where_and_why(letter, arguments)],
        )
        for letter in letters
    ]
    screen.show(screen.table(title, "number", "failed at", "where, why", rows=rows, right=("number",)))


def _where_and_why(letter: DeadLetter, arguments: Arguments) -> tuple[str, ...]:
    """The lines of the last column: where a dead letter failed, and why."""
    where = (
        letter.topic if letter.original_offset < 0 else f"{letter.topic}/{letter.partition}/{letter.original_offset}"
    )
    status = f"  {letter.status}" if arguments.letter_filter.statuses != {DeadLetterStatus.OPEN} else ""
    return f"{where}  {letter.stage}  {letter.error}  tries: {letter.attempts}{status}", one_line(
        letter.reason, MAX_REASON_CHARACTERS
    )


def _as_json(letter: DeadLetter, arguments: Arguments) -> dict[str, Any]:
    return {
        "number": letter.offset,
        "fate": letter.status,
        "stage": mask(letter.stage),
        "class": mask(letter.error),
        "reason": mask(letter.reason),
        "topic": mask(letter.topic),
        "partition": letter.partition,
        "offset": letter.original_offset,
        "timestamp": mask(letter.timestamp),
        "attempts": letter.attempts,
        "first_failed_at": letter.first_failed.isoformat(),
        "failed_at": letter.failed_at.isoformat(),
        "version": mask(letter.version),
        "key": None if letter.key is None else _as_text(letter.key, arguments),
        "bytes": letter.size,
    }


def _as_text(value: bytes, arguments: Arguments) -> str:
    """Bytes as a text that can't control the terminal: complete with --reveal, otherwise masked and shortened."""
    text = (value or b"").decode("utf-8", "backslashreplace")
    if arguments.reveal:
        return screen.escape_unprintable(text)
    text = screen.escape_unprintable(mask(text))
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]} ... {len(text)} characters"


def _as_line(fact: object) -> str:
    """A fact after its name. Its further lines are indented, so that none looks like another fact."""
    if isinstance(fact, dict):
        return "".join(f"\n  {_indented(str(name), 4)}: {_indented(str(value), 4)}" for name, value in fact.items())
    return "-" if fact is None else _indented(str(fact), 2)


def _indented(text: str, spaces: int) -> str:
    return screen.escape_unprintable(text).replace("\n", "\n" + " " * spaces)
