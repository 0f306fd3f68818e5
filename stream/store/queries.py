"""The statements of ``queries.sql``, by name: ``sql("find_people")``."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources


@cache
def _all() -> dict[str, str]:
    text = resources.files("stream.store").joinpath("queries.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {name: statement.strip() for name, statement in zip(parts[1::2], parts[2::2], strict=True)}


def sql(name: str) -> str:
    """The text of one statement. Raises KeyError for an unknown name."""
    return _all()[name]
