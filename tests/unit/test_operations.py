"""docs/operations.md agrees with the code."""

from __future__ import annotations

import pytest
from prometheus_client.metrics import MetricWrapperBase

from scripts.tables import PAGE, TABLES, with_tables
from stream import metrics
from stream.settings import Settings


def test_the_tables_are_those_of_the_code() -> None:
    """The page has every setting with its default and every metric with its labels; otherwise run make generate."""
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page


@pytest.mark.parametrize("name", TABLES)
def test_each_table_stands_once_in_the_page(name: str) -> None:
    """Each table has its mark once: without the mark nobody would check the table."""
    assert PAGE.read_text(encoding="utf-8").count(f"<!-- {name}: make generate -->") == 1


def test_tables_are_complete() -> None:
    """A table has one row for each item below the two header rows."""
    ours = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
    assert len(TABLES["settings"]().splitlines()) == len(Settings.model_fields) + 2
    assert len(TABLES["metrics"]().splitlines()) == len(ours) + 2
    assert "leads_answered_total" in TABLES["metrics"]()


def test_no_metric_can_hold_an_identifier() -> None:
    """Labels have few values: none comes from a lead, a contact or a person."""
    labels = {
        label
        for one in vars(metrics).values()
        if isinstance(one, MetricWrapperBase)
        for label in one._labelnames  # noqa: SLF001 - it has no other way
    }
    assert not labels & {"contact", "phone", "email", "cpf", "lead", "name", "key", "token", "url", "path"}
