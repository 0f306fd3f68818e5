"""What commands print: tables that fit 80 columns and a pipe, and text from outside that does nothing to a terminal."""

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

# What a terminal would act on, or not show, although JSON may hold it as it is.
_UNSEEN = re.compile(
    "[\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def table(title: str, *columns: str, rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> Table:
    """A table. A cell's lines are those of a list or tuple; ``right``: columns of figures.

    Nothing is shortened: what does not fit goes on below, so that an id can still be copied whole from a wider screen.
    """
    made = Table(title=Text(one_line(title)), title_justify="left", show_header=any(columns))
    for column in columns:
        made.add_column(Text(column), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(_cell, row))
    return made


def show(*tables: Table) -> None:
    """Print tables, as wide as the terminal, 80 columns in a pipe; without rules where they leave too little room."""
    console = _console()
    for one in tables:
        if console.measure(one, options=console.options.update(max_width=_ANY_WIDTH)).maximum > console.width:
            one.box, one.padding, one.pad_edge = None, (0, 1, 0, 0), False
        # Without the spaces that rich fills lines up with.
        with console.capture() as captured:
            console.print(one)
        console.out(*(line.rstrip() for line in captured.get().splitlines()), sep="\n", highlight=False)


def say(text: str) -> None:
    """Print a sentence, broken where the line ends."""
    _console().print(Text(one_line(text)))


def _console() -> Console:
    return Console(markup=False, highlight=False, emoji=False)


def show_json(value: Any) -> None:
    """Print one JSON object: what a terminal would act on is escaped, so that a reader of JSON gets it as it was."""
    click.echo(_UNSEEN.sub(lambda found: _escaped(found[0]), orjson.dumps(value).decode()))


def spelt(text: str) -> str:
    """``text`` with what is not printable spelt out, for who must see what is there; its line ends stay."""
    return "".join(one if one.isprintable() or one == "\n" else _spelt(one) for one in text)


def _spelt(one: str) -> str:
    code = ord(one)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004


def _escaped(one: str) -> str:
    units = one.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _cell(value: object) -> Text:
    lines = value if isinstance(value, list | tuple) else (value,)
    return Text("\n".join(one_line(str(line)) for line in lines))
