"""Commands and processes on a database that nobody has migrated."""

from __future__ import annotations

from importlib import resources
from urllib.parse import urlsplit, urlunsplit

import pytest

from stream.store.pool import NEWEST_TABLE
from tests.support.commands import run

SECRETS = {"C2S_TOKEN": "x", "DIRETRIX_USER": "x", "DIRETRIX_PASSWORD": "x", "WORK_API_TOKEN": "x"}


@pytest.mark.parametrize("command", ["report", "crm-sync", "crm-sync --unconfirmed", "journal", "worker"])
def test_the_missing_migration_is_named(command: str, database_url: str) -> None:
    """Exit code 1 before the group is joined, and one line that says what to run."""
    unmigrated = urlunsplit(urlsplit(database_url)._replace(path="/postgres"))
    ports = dict.fromkeys(("STREAM_WEB_PORT", "CRM_WEB_PORT", "JOURNAL_WEB_PORT"), "0")
    done = run(command, **SECRETS, **ports, DATABASE_URL=unmigrated, DIRETRIX_DAILY_BUDGET="0")
    assert done.returncode == 1
    assert "python -m stream migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_newest_table_is_made_by_the_newest_migration() -> None:
    """A later migration must name what it adds, or a process would start on the schema before it."""
    files = [one for one in (resources.files("stream.store") / "migrations").iterdir() if one.name.endswith(".sql")]
    newest = max(files, key=lambda one: one.name)
    assert f"CREATE TABLE IF NOT EXISTS {NEWEST_TABLE} " in newest.read_text(encoding="utf-8")
