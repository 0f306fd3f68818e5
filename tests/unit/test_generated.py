"""Generated files agree with the tables, and the check fails if one is stale."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts.generate import FILES, ROOT, main


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of every generated file."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_a_generated_file_is_fresh(name: str) -> None:
    """``make generate`` would change nothing."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert FILES[name](text) == text


def test_the_check_passes_on_fresh_files(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--check`` exits with 0 and names no file."""
    assert main(["--check"], copy) == 0
    assert capsys.readouterr().out == "the generated files are fresh\n"


def test_the_check_names_a_stale_file_and_writes_nothing(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--check`` exits with 1, names the stale file only and leaves it as it is; without it the file is written."""
    page = copy / "docs" / "operations.md"
    fresh = page.read_text(encoding="utf-8")
    stale = fresh.replace("| `LOG_LEVEL` | `INFO` |", "| `LOG_LEVEL` | `DEBUG` |")
    assert stale != fresh
    page.write_text(stale, encoding="utf-8")

    assert main(["--check"], copy) == 1
    assert capsys.readouterr().out == "docs/operations.md: stale, run `make generate`\n"
    assert page.read_text(encoding="utf-8") == stale

    assert main([], copy) == 0
    assert page.read_text(encoding="utf-8") == fresh
