"""What a benchmark gives back: rows of one table, each with its goal and the command that makes it.

A benchmark is a module ``bench/<name>.py`` with ``GOALS``, lines of text, and ``async def run(options) -> list[Row]``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """What every benchmark is told. ``scale`` of less than 1 makes the input smaller: a look, not a figure.

    ``examples`` and ``lost``: how many leads ``matching`` prints of either kind.
    """

    rounds: int = 5
    seed: int = 1
    scale: float = 1.0
    examples: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``goal``: "" and ``met``: None where nothing is to be met; ``note``: input and spread."""

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
