"""The result of a benchmark: rows of one table, each with its goal and the command that repeats it.

A benchmark is a module ``bench/<name>.py`` with ``GOALS``, lines of text, and ``async def run(options) -> list[Row]``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """The options of every benchmark. A ``scale`` below 1 makes the input smaller: good for a try, not for a figure.

    ``examples`` and ``lost``: how many leads of each kind ``matching`` prints.
    """

    rounds: int = 5
    seed: int = 1
    scale: float = 1.0
    examples: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. Without a goal ``goal`` is "" and ``met`` is None. ``note``: input and spread."""

    name: str
    value: float
    unit: str
    goal: str
    met: bool | None
    command: str
    note: str = ""


def at_most(limit: float, value: float) -> tuple[str, bool]:
    """Goal and verdict of a figure that must not be above ``limit``."""
    return f"<= {limit:g}", value <= limit


def at_least(limit: float, value: float) -> tuple[str, bool]:
    """Goal and verdict of a figure that must not be below ``limit``."""
    return f">= {limit:g}", value >= limit
