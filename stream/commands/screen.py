"""Prints the output of commands: tables that fit 80 columns and a pipe, and no text that can control a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream.domain.text import one_line

_ANY_WIDTH = 10_000  # columns

# Characters that JSON may hold but that control a terminal or are invisible.
_UNPRINTABLE = re.compile(
    "[\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def table(title: str, *columns: str, rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> Table:
    """A table. A list or tuple is a cell of several lines. ``right``: the columns to align right.

    Nothing is shortened: long text is wrapped, so that a wider terminal shows an id whole.
    """
    made = Table(title=Text(one_line(title)), title_justify="left", show_header=any(columns))
    for column in columns:
        made.add_column(Text(column), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(_cell, row))
    return made


def show(*tables: Table) -> None:
    """Print tables, as wide as the terminal or 80 columns in a pipe; without borders if these take too much room."""
    console = _console()
    for one in tables:
        if console.measure(one, options=console.options.update(max_width=_ANY_WIDTH)).maximum > console.width:
            one.box, one.padding, one.pad_edge = None, (0, 1, 0, 0), False
        # Remove the spaces with which rich pads lines.
        with console.capture() as captured:
            console.print(one)
        console.out(*(line.rstrip() for line in captured.get().splitlines()), sep="\n", highlight=False)


def say(text: str) -> None:
    """Print a sentence, wrapped at the width of the terminal."""
    _console().print(Text(one_line(text)))


def _console() -> Console:
    return Console(markup=False, highlight=False, emoji=False)


def show_json(value: Any) -> None:
    """Print one JSON object. Characters that control a terminal are escaped; a JSON parser restores them."""
    click.echo(_UNPRINTABLE.sub(lambda found: _escaped(found[0]), orjson.dumps(value).decode()))


def escape_unprintable(text: str) -> str:
    """``text`` with visible escapes for unprintable characters. Line ends stay."""
    return "".join(one if one.isprintable() or one == "\n" else _escape_character(one) for one in text)


def _escape_character(one: str) -> str:
    code = ord(one)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004


def _escaped(one: str) -> str:
    units = one.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _cell(value: object) -> Text:
    lines = value if isinstance(value, list | tuple) else (value,)
    return Text("\n".join(one_line(str(line)) for line in lines))
