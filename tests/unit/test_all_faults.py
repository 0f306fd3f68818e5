"""One start reports every fault of the configuration, so that the second start can succeed."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

import producers.__main__ as receiver
from stream.cli import main
from stream.settings import DEMO_C2S_TOKEN, SECRET_NAMES, Settings, examine, load

SECRET = "hunter22"
OURS = [*(name.upper() for name in Settings.model_fields), *(f"{name}_FILE" for name in SECRET_NAMES)]

COMMANDS: dict[str, tuple[click.Command, list[str]]] = {
    "worker": (main, ["worker"]),
    "crm-sync": (main, ["crm-sync"]),
    "producers": (receiver.main, []),
    "journal": (main, ["journal"]),
    "topics": (main, ["topics"]),
    "migrate": (main, ["migrate"]),
    "report": (main, ["report"]),
    "leave": (main, ["leave", "worker-1"]),
    "dlq": (main, ["dlq", "list"]),
    "replay": (main, ["replay", "--to-earliest"]),
}


def started(command: str, variables: dict[str, str]) -> tuple[int, str]:
    """Exit code and standard error of a command that has these variables and no others of ours."""
    group, arguments = COMMANDS[command]
    result = CliRunner().invoke(group, arguments, env={**dict.fromkeys(OURS, ""), **variables})
    return result.exit_code, result.stderr


@pytest.fixture
def one_of_each(tmp_path: Path) -> dict[str, str]:
    """A fault of each kind that any command can have."""
    (tmp_path / "binary").write_bytes(b"hunter22\xff\xfe")
    (tmp_path / "folder").mkdir()
    return {
        "WORKERS": "0",
        "CACHE_TTL_KNOWN": "a day",
        "DATABASE_URL": f"mysql://leads:{SECRET}@db/leads",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_USERNAME": "leads",
        "KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "none"),
        "WORK_API_TOKEN_FILE": str(tmp_path / "binary"),
        "GOOGLE_ADS_KEY_FILE": str(tmp_path / "folder"),
        "DIRETRIX_PASSWORD": SECRET,
        "DIRETRIX_PASSWORD_FILE": str(tmp_path / "folder"),
        "DIRETRIX_DAILY_BUGDET": "4711",
        "LOOKUP_SLOT": "12",
        "DIRETRIX_BASE_URL": "partner.example",
        "WORK_API_BASE_URL": "http://partner.example",
        "C2S_BASE_URL": "http://partner.example",
        "PLAINTEXT_PARTNERS": "diretrix",
        "C2S_WEBHOOK_TOKEN": DEMO_C2S_TOKEN,
    }


EVERYBODYS = [
    "  WORKERS: ",
    "  CACHE_TTL_KNOWN: ",
    "  DATABASE_URL: must begin with postgresql://",
    "  KAFKA_SASL_PASSWORD_FILE: the secret's file can't be read: No such file or directory",
    "  WORK_API_TOKEN_FILE: the secret's file can't be read: not UTF-8 text",
    "  GOOGLE_ADS_KEY_FILE: the secret's file can't be read: Is a directory",
    "  DIRETRIX_PASSWORD: is given twice: unset it, or DIRETRIX_PASSWORD_FILE",
    "DIRETRIX_DAILY_BUGDET is no setting. Is DIRETRIX_DAILY_BUDGET meant, which is not set?",
    "given=LOOKUP_SLOT meant=LOOKUP_SLOTS",
]
THEIRS = {
    "worker": [
        "not configured: DIRETRIX_USER, DIRETRIX_DAILY_BUDGET.",
        "DIRETRIX_BASE_URL: is no address",
        "WORK_API_BASE_URL: is http:// beyond this machine",
    ],
    "crm-sync": ["not configured: C2S_TOKEN.", "C2S_BASE_URL: is http:// beyond this machine"],
    "producers": ["everybody can read the demo's secret in C2S_WEBHOOK_TOKEN"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_all_faults_are_reported_in_one_start(command: str, one_of_each: dict[str, str]) -> None:
    """The exit code is 2, all faults that concern the command are reported, no other fault and no secret."""
    code, said = started(command, one_of_each)
    assert code == 2
    for fault in [*EVERYBODYS, *THEIRS.get(command, [])]:
        assert said.count(fault) == 1, (fault, said)
    for other in {fault for name, faults in THEIRS.items() if name != command for fault in faults}:
        assert other not in said
    for secret in (SECRET, "4711", DEMO_C2S_TOKEN):
        assert secret not in said
    assert "Traceback" not in said


def test_an_unreadable_setting_is_not_reported_as_missing_too(tmp_path: Path) -> None:
    """A fault is reported once, by its cause."""
    nowhere = str(tmp_path / "none")
    files = {f"{name}_FILE": nowhere for name in SECRET_NAMES}
    for command in ("worker", "crm-sync", "producers"):
        code, said = started(
            command,
            {**files, "KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "DIRETRIX_USER": "u", "DIRETRIX_DAILY_BUDGET": "1"},
        )
        assert code == 2
        assert [line.split(":")[0].strip() for line in said.splitlines() if "can't be read" in line] == list(files)
        assert "not configured" not in said
        assert "no secret is configured" not in said
        assert said.count("KAFKA_SASL_PASSWORD") == 1
        assert "KAFKA_SASL_USERNAME: " in said


def test_a_secret_in_place_of_its_file_is_not_shown() -> None:
    """A secret that is given as NAME_FILE by mistake is not in the output of the start."""
    code, said = started("topics", {"C2S_TOKEN_FILE": SECRET})
    assert code == 2
    assert "C2S_TOKEN_FILE: the secret's file can't be read" in said
    assert SECRET not in said


def test_an_invalid_list_of_partners_reports_no_partner() -> None:
    """While PLAINTEXT_PARTNERS is invalid, no partner is reported for using http://."""
    _, said = started("crm-sync", {"C2S_BASE_URL": "http://partner.example", "PLAINTEXT_PARTNERS": "c2"})
    assert "PLAINTEXT_PARTNERS: " in said
    assert "C2S_BASE_URL" not in said


def test_missing_and_public_secrets_of_the_producers_are_reported_together() -> None:
    """Both stop the start, and each names the variable that permits it."""
    code, said = started("producers", {"C2S_WEBHOOK_TOKEN": DEMO_C2S_TOKEN})
    assert code == 2
    assert "no secret is configured: set GOOGLE_ADS_KEY." in said
    assert "everybody can read the demo's secret in C2S_WEBHOOK_TOKEN" in said


def test_a_fault_of_one_variable_leaves_the_others_as_set() -> None:
    """The checks that follow see what the operator wrote."""
    settings, faults = examine({"WORKERS": "0", "LOOKUP_SLOTS": "7", "C2S_TOKEN": "x", "RETRY_DELAYS": "soon"})
    assert faults is not None
    assert faults.error_count() == 2
    assert (settings.workers, settings.lookup_slots) == (1, 7)
    assert settings.c2s_token.get_secret_value() == "x"
    with pytest.raises(ValidationError):
        load({"C2S_TOKEN": "x", "C2S_TOKEN_FILE": "/x"})
