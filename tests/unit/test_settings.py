"""The settings: what is read, which faults are named, and `.env.example` says all of it."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from scripts.tables import written
from stream.settings import SECRET_NAMES, Settings, load

ROOT = Path(__file__).parents[2]


def described(name: str) -> str:
    """The two lines that `.env.example` must have for one setting."""
    field = Settings.model_fields[name]
    secret = f" (or the path of a file that holds it: {name.upper()}_FILE)" if name.upper() in SECRET_NAMES else ""
    return f"# {field.description}{secret}\n#{name.upper()}={written(field.default)}"


def test_the_example_explains_every_variable_with_its_default() -> None:
    """`.env.example` has each setting once, in the order of the settings, with its help and its default."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    expected = [described(name) for name in Settings.model_fields]
    assert re.findall(r"^# .+\n#[A-Z0-9_]+=.*$", text, re.MULTILINE) == expected


def test_the_example_read_as_it_is_gives_the_defaults() -> None:
    """`.env.example` with all comment marks removed gives the defaults."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    pairs = dict(line.removeprefix("#").split("=", 1) for line in re.findall(r"^#[A-Z0-9_]+=.*$", text, re.MULTILINE))
    assert load(pairs).model_dump() == load({}).model_dump()


def test_every_secret_is_a_setting() -> None:
    """Every name in the list of secrets is a setting."""
    assert {name.lower() for name in SECRET_NAMES} <= set(Settings.model_fields)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("24h", 86_400), ("180d", 15_552_000), ("250ms", 0.25), ("7", 7)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """A duration has a unit, or is in seconds."""
    assert load({"CACHE_TTL_KNOWN": text}).cache_ttl_known == timedelta(seconds=seconds)


def test_delays_are_an_ascending_list() -> None:
    """There may be fewer delays than retry topics."""
    assert load({"RETRY_DELAYS": "1s, 2m"}).retry_delays == (timedelta(seconds=1), timedelta(minutes=2))


@pytest.mark.parametrize("text", ["10m,1m", "1m,1m", "1m,2m,3m,4m", ",", "soon", "0s,1m"])
def test_invalid_delays_are_refused(text: str) -> None:
    """Delays must ascend, and there are at most three."""
    with pytest.raises(ValidationError):
        load({"RETRY_DELAYS": text})


def test_all_faults_are_named_together() -> None:
    """Three invalid variables are reported in one error."""
    faulty = {"WORKERS": "0", "CACHE_TTL_KNOWN": "a day", "PRODUCER_PORT": "70000", "LOOKUP_DEADLINE": "0s"}
    with pytest.raises(ValidationError) as caught:
        load(faulty)
    assert {str(fault["loc"][0]).upper() for fault in caught.value.errors()} == set(faulty)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_may_be_in_a_file(name: str, tmp_path: Path) -> None:
    """NAME_FILE names the file that holds NAME; a final newline is not part of the secret."""
    secret = "postgresql://from-the-file" if name == "DATABASE_URL" else "from-the-file"
    (tmp_path / "secret").write_text(secret + "\n")
    value = getattr(load({f"{name}_FILE": str(tmp_path / "secret")}), name.lower())
    first = value[0] if isinstance(value, tuple) else value
    assert first.get_secret_value() == secret


def test_two_webhook_secrets_are_valid_during_a_rotation() -> None:
    """A list of secrets is separated by commas."""
    secrets = load({"C2S_WEBHOOK_TOKEN": "old, new"}).c2s_webhook_token
    assert [secret.get_secret_value() for secret in secrets] == ["old", "new"]


def test_an_empty_variable_is_not_set() -> None:
    """`NAME=` means the default."""
    assert load({"DIRETRIX_DAILY_BUDGET": "", "WORKERS": ""}).workers == 1


def test_the_settings_show_no_value() -> None:
    """The text of the settings holds none of their values."""
    assert "hush" not in f"{load({'C2S_TOKEN': 'hush'})!r} {load({'C2S_TOKEN': 'hush'})}"


def test_only_the_given_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that are loaded from a mapping ignore the environment of the process."""
    monkeypatch.setenv("WORKERS", "7")
    monkeypatch.setenv("lookup_slots", "7")
    assert load({}).workers == 1
    assert load({"CACHE_CAPACITY": "5"}).workers == 1
    assert load().workers == 7
    assert load().lookup_slots == 128
