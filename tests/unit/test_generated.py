"""Files that follow from the tables are those of today's tables."""

from __future__ import annotations

import pytest

from tests.generated import FILES, ROOT


@pytest.mark.parametrize("name", FILES)
def test_a_generated_file_is_of_today(name: str) -> None:
    """``python -m tests.generated`` would change nothing."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert FILES[name](text) == text
