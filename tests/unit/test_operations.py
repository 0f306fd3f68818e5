"""docs/operations.md, held against the code."""

from __future__ import annotations

import pytest
from prometheus_client.metrics import MetricWrapperBase

from scripts.tables import PAGE, TABLES, with_tables
from stream import metrics
from stream.settings import Settings


def test_the_tables_are_those_of_the_code() -> None:
    """Every setting and every metric stands there, with its default or labels. Else: make generate."""
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page


@pytest.mark.parametrize("name", TABLES)
def test_each_table_stands_once_in_the_page(name: str) -> None:
    """A mark that was lost would leave a table behind that nobody holds against anything."""
    assert PAGE.read_text(encoding="utf-8").count(f"<!-- {name}: make generate -->") == 1


def test_tables_are_complete() -> None:
    """One row for each, below the two rows of the head."""
    ours = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
    assert len(TABLES["settings"]().splitlines()) == len(Settings.model_fields) + 2
    assert len(TABLES["metrics"]().splitlines()) == len(ours) + 2
    assert "leads_answered_total" in TABLES["metrics"]()


def test_no_metric_can_hold_an_identifier() -> None:
    """Labels are of a kind with few values: none is made of what a lead, a contact or a person says."""
    labels = {
        label
        for one in vars(metrics).values()
        if isinstance(one, MetricWrapperBase)
        for label in one._labelnames  # noqa: SLF001 - it has no other way
    }
    assert not labels & {"contact", "phone", "email", "cpf", "lead", "name", "key", "token", "url", "path"}
