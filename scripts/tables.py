"""Makes the tables of every setting and every metric in docs/operations.md; ``scripts/generate.py`` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase
from pydantic import SecretStr

from stream import metrics
from stream.settings import SECRET_NAMES, Settings

PAGE = Path(__file__).parents[1] / "docs" / "operations.md"
UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def written(value: object) -> str:
    """Format a default as the environment spells it."""
    match value:
        case None | () | SecretStr():
            return value.get_secret_value() if isinstance(value, SecretStr) else ""
        case bool():
            return str(value).lower()
        case timedelta():
            seconds = int(value.total_seconds())
            unit = next(unit for unit, length in UNITS.items() if seconds % length == 0)
            return f"{seconds // UNITS[unit]}{unit}"
        case tuple():
            return ",".join(map(written, value))
    return str(value)


def settings() -> str:
    """Return a row for each variable: name, default, description; in the order of ``Settings``."""
    return _table(("variable", "default", "meaning"), map(_setting, Settings.model_fields))


def _setting(name: str) -> tuple[str, str, str]:
    field, variable = Settings.model_fields[name], name.upper()
    default = written(field.default)
    secret = f"; or `{variable}_FILE`" if variable in SECRET_NAMES else ""
    return f"`{variable}`", f"`{default}`" if default else "", f"{field.description}{secret}"


def measured() -> str:
    """Return a row for each metric: name, kind, labels, help; sorted by name."""
    return _table(("metric", "kind", "labels", "meaning"), sorted(_metrics()))


def _metrics() -> Iterator[tuple[str, str, str, str]]:
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001 - it has no other way
            yield f"`{name}`", family.type, labels, family.documentation


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


TABLES = {"settings": settings, "metrics": measured}


def with_tables(page: str) -> str:
    """Return the page with current tables."""
    for name, made in TABLES.items():
        mark = f"<!-- {name}: make generate -->\n"
        before, found, after = page.partition(mark)
        rest = after.split("\n\n", 1)[1:]
        page = before + found + "\n\n".join([made(), *rest] if rest else [made() + "\n"])
    return page
