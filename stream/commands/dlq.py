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

LONGEST_SHOWN = 20_000  # characters of a letter's bytes
LONGEST_REASON = 300  # characters of a reason in a list
NARROW = "say which: numbers, a filter, or --all"


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
class Given:
    """What was asked for."""

    wanted: DeadLetterFilter
    reveal: bool
    as_json: bool


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Which letters, and how they are shown: the same for all commands."""

    @wraps(command)
    def called(**options: Any) -> None:
        closed = options.pop("closed")
        wanted = DeadLetterFilter(
            offsets=frozenset(options.pop("numbers")),
            stages=frozenset(options.pop("stage")),
            errors=frozenset(options.pop("error")),
            topics=frozenset(options.pop("topic")),
            since=options.pop("since"),
            until=options.pop("until"),
            statuses=frozenset(DeadLetterStatus) if closed else frozenset({DeadLetterStatus.OPEN}),
        )
        command(given=Given(wanted, options.pop("reveal"), options.pop("as_json")), **options)

    for option in reversed(
        (
            click.argument("numbers", nargs=-1, type=click.IntRange(min=0), metavar="[NUMBER]..."),
            click.option("--stage", multiple=True, type=click.Choice(STAGES), help="Where it died."),
            click.option("--class", "error", multiple=True, help="Class of the error, such as PoisonError."),
            click.option("--topic", multiple=True, help="The topic that it lay in, or was for."),
            click.option("--since", type=Instant(), help="Died at this instant or later."),
            click.option("--until", type=Instant(), help="Died before this instant."),
            click.option("--closed", is_flag=True, help="Also what was redriven or dropped before."),
            click.option("--reveal", is_flag=True, help="Identifiers in clear."),
            click.option("--json", "as_json", is_flag=True, help="One JSON object."),
        )
    ):
        called = option(called)
    return called


def _acting(command: Callable[..., None]) -> Callable[..., None]:
    """What changes something does so only when it is told to."""
    for option in (
        click.option("--execute", is_flag=True, help="Carry it out; without it nothing is changed."),
        click.option("--all", "everything", is_flag=True, help="All open letters, without a filter."),
    ):
        command = option(command)
    return command


@click.group()
def command() -> None:
    """Dead letters: what could never succeed, with the reason. A letter's number is its offset in webhooks.dead.

    \b
    Examples:
      python -m stream dlq list --stage enrich --since 2026-11-24
      python -m stream dlq show 17
      python -m stream dlq redrive --class GivenUpError --execute
      python -m stream dlq drop 17 18 --execute
    """  # noqa: D301 - click's mark for lines to be left as they are


@command.command("list")
@_options
def show_list(given: Given) -> None:
    """List letters, oldest first, identifiers masked.

    Example: python -m stream dlq list --stage crm --json
    """
    _run(lambda letters: _list(letters, given))


@command.command("show")
@_options
def show(given: Given) -> None:
    """Show letters whole: what they say of themselves, their own headers, their bytes.

    Example: python -m stream dlq show 17 --reveal
    """
    if given.wanted.is_everything:
        raise click.UsageError(NARROW.replace(", or --all", ""))
    _run(lambda letters: _show(letters, given))


@command.command("redrive")
@_acting
@_options
def redrive(given: Given, *, execute: bool, everything: bool) -> None:
    """Send letters on their way again, under the same identity. A dry run unless --execute.

    What would only die again is left where it is. Example: python -m stream dlq redrive --stage enrich --execute
    """
    _must_narrow(given, everything=everything)
    _run(lambda letters: _redrive(letters, given, execute=execute))


@command.command("drop")
@_acting
@_options
def drop(given: Given, *, execute: bool, everything: bool) -> None:
    """Close letters for good. A dry run unless --execute; their bytes stay until retention takes them.

    Example: python -m stream dlq drop --stage receive --until 2026-11-01 --execute
    """
    _must_narrow(given, everything=everything)
    _run(lambda letters: _drop(letters, given, execute=execute))


def _must_narrow(given: Given, *, everything: bool) -> None:
    if given.wanted.is_everything and not everything:
        raise click.UsageError(NARROW)


def _run(work: Callable[[DeadLetterQueue], Awaitable[None]]) -> None:
    settings = settings_or_exit("dlq")

    async def whole() -> None:
        denied_aliases = parse_denylist(settings.contact_denylist)
        await work(DeadLetterQueue(settings, denied_aliases, lambda: datetime.now(UTC)))

    try:
        uvloop.run(whole())
    except (StreamError, KafkaError, OSError) as error:
        click.echo(f"dlq: {one_line(str(error)) or type(error).__name__}", err=True)
        sys.exit(1)


async def _list(letters: DeadLetterQueue, given: Given) -> None:
    found = await _found(letters, given, all_numbers=False)
    if given.as_json:
        screen.show_json({"letters": [_facts(letter, given) for letter in found]})
        return
    _table(found, given, f"{len(found)} dead letters")


async def _found(letters: DeadLetterQueue, given: Given, *, all_numbers: bool = True) -> list[DeadLetter]:
    """The letters that are meant. Raises StopError where a number, class or topic is none that there is.

    ``all_numbers``: each number must be there; else one of them is enough.
    """
    found = await letters.find(given.wanted)
    missing = given.wanted.offsets - {letter.offset for letter in found}
    if (missing and all_numbers) or not found:
        every = await letters.find(DeadLetterFilter(statuses=frozenset(DeadLetterStatus)))
        fault = unknown_criteria(given.wanted, every, frozenset(one.name for one in topics.ALL))
        if fault:
            raise StopError(mask(fault))
    return found


async def _show(letters: DeadLetterQueue, given: Given) -> None:
    found = await _found(letters, given)
    _must_be_open(given.wanted, found)
    shown = []
    async for letter, value in letters.values(found):
        headers = ((name.encode("utf-8", "replace"), said) for name, said in letter.original)
        facts = {
            **_facts(letter, given),
            "headers": {_clear(name, given): _clear(said, given) for name, said in headers},
            "value": None if value is None else _clear(value, given),
        }
        shown.append(facts)
        if not given.as_json:
            click.echo("\n".join(f"{name}: {_line(fact)}" for name, fact in facts.items()) + "\n")
    if given.as_json:
        screen.show_json({"letters": shown})


def _must_be_open(wanted: DeadLetterFilter, found: Sequence[DeadLetter]) -> None:
    closed = wanted.offsets - {letter.offset for letter in found}
    if closed:
        numbers = ", ".join(map(str, sorted(closed)))
        raise StopError(f"closed, or kept out by another option: {numbers}. --closed shows what was closed")


async def _redrive(letters: DeadLetterQueue, given: Given, *, execute: bool) -> None:
    plan = await letters.plan(await _found(letters, given))
    if execute:
        await letters.redrive(plan)
    if given.as_json:
        numbers = [letter.offset for letter in plan.redriven]
        hopeless = [{"number": number, "reason": reason} for number, reason in plan.hopeless.items()]
        screen.show_json({"executed": execute, "redriven": numbers, "hopeless": hopeless})
        return
    _table(plan.redriven, given, f"{len(plan.redriven)} to redrive")
    _tell_hopeless(plan)
    click.echo(_verdict("redriven", len(plan.redriven), execute=execute))


async def _drop(letters: DeadLetterQueue, given: Given, *, execute: bool) -> None:
    found = await _found(letters, given)
    if execute:
        await letters.drop(found)
    if given.as_json:
        screen.show_json({"executed": execute, "dropped": [letter.offset for letter in found]})
        return
    _table(found, given, f"{len(found)} to drop")
    click.echo(_verdict("dropped", len(found), execute=execute))


def _tell_hopeless(plan: RedrivePlan) -> None:
    for reason, count in Counter(plan.hopeless.values()).most_common():
        click.echo(f"{count} would die again and stay where they are: {one_line(mask(reason), LONGEST_REASON)}")


def _verdict(done: str, count: int, *, execute: bool) -> str:
    return f"{count} {done}" if execute else f"a dry run: nothing was changed; with --execute {count} would be {done}"


def _table(letters: Sequence[DeadLetter], given: Given, title: str) -> None:
    rows = [
        (letter.offset, f"{letter.failed_at:%Y-%m-%d %H:%M:%S}", [mask(line) for line in _said(letter, given)])
        for letter in letters
    ]
    screen.show(screen.table(title, "number", "died at", "where, why", rows=rows, right=("number",)))


def _said(letter: DeadLetter, given: Given) -> tuple[str, ...]:
    """What a table says of a letter beside its number and its end."""
    where = (
        letter.topic if letter.original_offset < 0 else f"{letter.topic}/{letter.partition}/{letter.original_offset}"
    )
    status = f"  {letter.status}" if given.wanted.statuses != {DeadLetterStatus.OPEN} else ""
    return f"{where}  {letter.stage}  {letter.error}  tries: {letter.attempts}{status}", one_line(
        letter.reason, LONGEST_REASON
    )


def _facts(letter: DeadLetter, given: Given) -> dict[str, Any]:
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
        "key": None if letter.key is None else _clear(letter.key, given),
        "bytes": letter.size,
    }


def _clear(value: bytes, given: Given) -> str:
    """Bytes as a text that does nothing to a terminal: whole where it is revealed, else masked and not without end."""
    text = (value or b"").decode("utf-8", "backslashreplace")
    if given.reveal:
        return screen.spelt(text)
    text = screen.spelt(mask(text))
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} ... {len(text)} characters"


def _line(fact: object) -> str:
    """A fact below its name: no line of it can be taken for a fact of its own."""
    if isinstance(fact, dict):
        return "".join(f"\n  {_below(str(name), 4)}: {_below(str(value), 4)}" for name, value in fact.items())
    return "-" if fact is None else _below(str(fact), 2)


def _below(text: str, spaces: int) -> str:
    return screen.spelt(text).replace("\n", "\n" + " " * spaces)
