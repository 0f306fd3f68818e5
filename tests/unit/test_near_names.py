"""Misspelt environment variables: found if they resemble a setting, and only then."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stream.settings import REMOVED, SECRET_NAMES, Settings, load, removed, slips

# fmt: off
PLATFORM = [
    "PATH", "HOME", "HOST", "PORT", "HOSTNAME", "LANG", "LC_ALL", "LANGUAGE", "TERM", "SHELL", "USER", "LOGNAME",
    "MAIL", "PWD", "OLDPWD", "SHLVL", "TMPDIR", "TMP", "TEMP", "TZ", "DISPLAY", "EDITOR", "PAGER", "COLUMNS",
    "LINES", "DEBUG", "LOG_FORMAT", "LOG_FILE", "WORKER_CLASS", "WEB_CONCURRENCY", "PYTHONPATH",
    "PYTHONUNBUFFERED", "VIRTUAL_ENV", "PYTHON_VERSION", "GPG_KEY", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "JOURNAL_STREAM", "INVOCATION_ID",
    "MEMORY_PRESSURE_WATCH", "KUBERNETES_SERVICE_HOST", "KUBERNETES_PORT", "FLY_APP_NAME", "FLY_REGION",
    "PRIMARY_REGION", "POSTGRES_PASSWORD", "POSTGRES_USER", "PGHOST", "PGPASSWORD", "KAFKA_HEAP_OPTS",
    "KAFKA_NODE_ID", "DOCKER_HOST", "CI", "GITHUB_TOKEN", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS", "COMPOSE_PROJECT_NAME", "DYNO", "SOURCE_VERSION", "TEST_DATABASE_URL_X", "STREAM",
    "LOG", "JOB",
]
# fmt: on


@pytest.mark.parametrize(
    ("given", "meant", "grave"),
    [
        ("DIRETRIX_DAILY_BUGDET", "DIRETRIX_DAILY_BUDGET", True),
        ("WORK_API_PRICES", "WORK_API_PRICE", True),
        ("C2S_TOKN", "C2S_TOKEN", True),
        ("DATABASE_URI", "DATABASE_URL", True),
        ("C2S_TOKEN_FIEL", "C2S_TOKEN_FILE", True),
        ("google_ads_key", "GOOGLE_ADS_KEY", True),
        ("LOOKUP_SLOT", "LOOKUP_SLOTS", False),
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS", False),
        ("CACHE_TLL_KNOWN", "CACHE_TTL_KNOWN", False),
    ],
)
def test_a_slip_names_the_setting_that_was_meant(given: str, meant: str, grave: bool) -> None:  # noqa: FBT001
    """Misspelt budgets, prices and secrets are found with the setting that was meant."""
    stops, warns = slips({given: "1"})
    found, other = (stops, warns) if grave else (warns, stops)
    assert [(one.given, one.meant) for one in found] == [(given, meant)]
    assert other == []


def test_a_setting_that_is_set_is_not_missed() -> None:
    """No misspelling is reported for a setting that is set, an empty value, a secret's file or a Kubernetes address."""
    assert slips({"LOOKUP_SLOT": "1", "LOOKUP_SLOTS": "2"}) == ([], [])
    assert slips({"C2S_TOKENS": "x", "C2S_TOKEN_FILE": "/x"}) == ([], [])
    assert slips({"LOOKUP_SLOT": ""}) == ([], [])
    assert slips({"PRODUCERS_PORT": "tcp://10.0.0.1:8080"}) == ([], [])


def test_settings_and_platform_variables_are_no_slips() -> None:
    """No setting and no variable of the platform is reported."""
    ours = {name.upper(): "1" for name in Settings.model_fields}
    for name in (*ours, *PLATFORM, *(f"{secret}_FILE" for secret in SECRET_NAMES)):
        assert slips({name: "1"}) == ([], []), name


@pytest.mark.parametrize(
    "arguments", [("stream", "topics"), ("stream", "report"), ("producers",), ("stream", "worker")]
)
def test_no_process_starts_with_a_misspelt_budget(arguments: tuple[str, ...]) -> None:
    """The process exits with 2 and names both variables, without the value."""
    environment = {"PATH": os.environ["PATH"], "DIRETRIX_DAILY_BUGDET": "4711", "LOOKUP_SLOT": "12"}
    ended = subprocess.run(
        [sys.executable, "-m", *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "DIRETRIX_DAILY_BUGDET" in ended.stderr
    assert "DIRETRIX_DAILY_BUDGET" in ended.stderr
    assert "given=LOOKUP_SLOT meant=LOOKUP_SLOTS" in ended.stderr
    assert "4711" not in ended.stderr


@pytest.mark.parametrize("name", REMOVED)
def test_a_removed_variable_is_warned_of_and_changes_nothing(name: str) -> None:
    """With a removed variable the process starts, warns once and reports no misspelling, whatever the value."""
    for value in ("true", "false", "no value that it ever had"):
        assert load({name: value}).model_dump() == load({}).model_dump()
        assert slips({name: value}) == ([], [])
        assert removed({name: value}) == [name]
    assert removed({name: ""}) == removed({}) == []


def test_a_process_that_is_given_a_removed_variable_says_so() -> None:
    """The log names the removed variable beside other faults; its value is no fault."""
    environment = {"PATH": os.environ["PATH"], "STREAM_FAST_PATH": "neither", "DIRETRIX_DAILY_BUGDET": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "stream", "topics"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr.count("STREAM_FAST_PATH") == 1
    assert "a removed variable: it has no effect" in ended.stderr
