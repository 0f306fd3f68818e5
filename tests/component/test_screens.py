"""What a person sees of a command, run as one runs it: into a pipe, with a hostile text in what it shows."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import orjson
import pytest

from stream.cli import COMMANDS
from stream.crm.writes import CrmWrites

ROOT = Path(__file__).parents[2]
HOSTILE = "\x1b]8;;http://evil.example\x07[/x]\x1b]8;;\x07\n[bold]\u202ename\u200b :smile: =HYPERLINK(1)"
UUID_LEAD = "0f9c2f1e-53b0-5a6e-9d61-3f5c0b1e7a44"


def run(*arguments: str, module: str = "stream", **environment: str) -> tuple[int, str, str]:
    """Run a command into pipes; COLUMNS is not set."""
    ended = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


def must_be_harmless(text: str) -> None:
    """Nothing in it but line ends acts on a terminal."""
    odd = {one for one in text if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}} - {"\n"}
    assert not odd, ascii(text)


@pytest.fixture
async def unconfirmed(pool: asyncpg.Pool, database_url: str) -> str:
    """A database with two writes that may have been carried out."""
    deliveries = CrmWrites(pool)
    for lead in (HOSTILE, "[/x]", UUID_LEAD):
        await deliveries.claim(lead, "facts", str(uuid4()))
        await deliveries.mark(lead, "facts", "unconfirmed", "c2s: status 500")
    return database_url


async def test_an_unconfirmed_write_can_not_control_the_terminal(unconfirmed: str) -> None:
    """Escape sequences, mark-up and line ends have no effect, and ids are whole in 80 columns."""
    code, out, said = run("crm-sync", "--unconfirmed", "--reveal", DATABASE_URL=unconfirmed)
    assert code == 0, said
    must_be_harmless(out)
    assert max(map(len, out.splitlines())) <= 80
    assert "3 unconfirmed" in out
    assert "[/x]" in out
    assert UUID_LEAD in out
    assert "…" not in out
    assert "evil.example" not in out
    assert "[bold]" in out
    assert ":smile:" in out


async def test_json_escapes_what_controls_a_terminal(unconfirmed: str) -> None:
    """A JSON parser gets the id unchanged, and a terminal sees escapes only."""
    code, out, _ = run("crm-sync", "--unconfirmed", "--reveal", "--json", DATABASE_URL=unconfirmed)
    assert code == 0
    must_be_harmless(out)
    assert {one["lead"] for one in orjson.loads(out)["unconfirmed"]} == {HOSTILE, "[/x]", UUID_LEAD}


@pytest.fixture
async def answered(pool: asyncpg.Pool, database_url: str) -> str:
    """A database with a webhook of a hostile source, and many others."""
    for source, count in ((HOSTILE, 3), ("=HYPERLINK(1)", 1), ("google_ads", 5)):
        for number in range(count):
            await pool.execute(
                "INSERT INTO stream.answered (event_id, day, source, lead_id, contact_key, outcome, tier,"
                " diretrix_calls, work_calls, received_at, emitted_at)"
                " VALUES ($1, $2, $3, $4, 'k', 'enriched', 'cache', 0, 0, $5, $5)",
                uuid4(),
                datetime(2026, 1, 31, tzinfo=UTC).date(),
                source,
                f"L{number}",
                datetime(2026, 1, 31, 12, tzinfo=UTC),
            )
    return database_url


PERIOD = ("--since", "2026-01-01", "--until", "2026-01-31")


async def test_a_report_fits_a_pipe(answered: str) -> None:
    """A report fits 80 columns, with nothing shortened."""
    code, out, said = run("report", *PERIOD, DATABASE_URL=answered)
    assert code == 0, said
    must_be_harmless(out)
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    assert "google_ads" in out
    assert "2026-01-31" in out


async def test_a_spreadsheet_gets_no_formula(answered: str) -> None:
    """A text becomes no formula, and a figure stays a figure."""
    code, out, _ = run("report", *PERIOD, "--csv", DATABASE_URL=answered)
    assert code == 0
    must_be_harmless(out)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert "'=HYPERLINK(1)" in {row["source"] for row in rows}
    assert sorted(int(row["webhooks"]) for row in rows) == [1, 3, 5]
    assert all(value[:1] not in {"=", "+", "-", "@"} for row in rows for value in row.values())


HELP = [(name,) for name in COMMANDS] + [("dlq", name) for name in ("list", "show", "redrive", "drop")] + [()]


@pytest.mark.parametrize("command", HELP, ids=" ".join)
def test_help_is_plain_text_with_an_example(command: tuple[str, ...]) -> None:
    """No mark of click is in the help, and each command has an example."""
    code, out, said = run(*command, "--help")
    assert code == 0, said
    must_be_harmless(out)
    assert "\\b" not in out
    assert "Example" in out


def test_a_stage_that_does_not_exist_is_refused() -> None:
    """The error lists the stages, before any server is asked."""
    for verb in ("list", "redrive", "drop"):
        code, _, said = run("dlq", verb, "--stage", "foo")
        assert code == 2
        assert all(stage in said for stage in ("receive", "enrich", "crm"))
