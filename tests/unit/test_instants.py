"""Instants: every spelling that sources use is read as UTC; any other text is poison."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.domain.errors import PoisonError
from stream.domain.instants import parse_instant, utc_isoformat

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-31T12:00:00Z", NOON),
        ("2026-01-31t12:00:00z", NOON),
        ("2026-01-31T09:00:00-03:00", NOON),
        ("2026-01-31T12:00:00.123456789Z", NOON.replace(microsecond=123456)),
        ("2026-01-31 12:00:00 +0000", NOON),
        ("2026-01-31 09:00:00 -0300", NOON),
        ("2026-01-31 09:00:00.5 -03:00", NOON.replace(microsecond=500_000)),
        ("2026-01-31 12:00:00", NOON),
        (" 2026-01-31 12:00:00.000001 ", NOON.replace(microsecond=1)),
    ],
)
def test_an_instant_is_read_in_each_spelling(text: str, instant: datetime) -> None:
    """RFC 3339, C2S's offsets and times without a zone are read as UTC."""
    read = parse_instant(text, "x")
    assert read == instant
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "value", [None, "", 1, "yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00", ["x"]]
)
def test_a_value_that_is_no_instant_raises_poison_with_its_path(value: object) -> None:
    """A time that can't be read raises PoisonError with its path."""
    with pytest.raises(PoisonError) as caught:
        parse_instant(value, "attributes.updated_at")
    assert caught.value.path == "attributes.updated_at"


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_is_written_as_python_writes_it(instant: datetime) -> None:
    """``utc_isoformat`` writes every instant as ``isoformat`` does: event ids depend on it."""
    assert utc_isoformat(instant) == instant.isoformat()
