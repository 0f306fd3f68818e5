"""Secrets: required where they are used, said when they are wrong, and never shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from stream.cli import main
from stream.settings import SECRET_NAMES, Settings, load

SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "leads", "KAFKA_SASL_PASSWORD": "hunter22"}
DATABASE = "postgresql://leads:hunter22@db/leads"


def faults(variables: dict[str, str]) -> str:
    """What is said of a configuration."""
    with pytest.raises(ValidationError) as caught:
        load(variables)
    said = "; ".join(f"{fault['loc'][0]}".upper() + f": {fault['msg']}" for fault in caught.value.errors())
    return said + str(caught.value)


@pytest.mark.parametrize(
    "password", ["hunter/22", "hunter#22", "hunter?22", "hunter:/22", "1234/hunter", "hunter[22", "hunter22:x/"]
)
def test_an_unencoded_database_password_is_reported_without_it(password: str) -> None:
    """An address that the driver can't parse is a fault of the settings, whose text holds no part of the password."""
    said = faults({"DATABASE_URL": f"postgresql://leads:{password}@db/leads"})
    assert "DATABASE_URL" in said
    assert "percent-encode" in said
    assert "hunter" not in said
    assert "1234" not in said


@pytest.mark.parametrize(
    "url",
    [
        DATABASE,
        "postgres://leads@db",
        "postgresql://leads:hunter%2F22@db:5432/leads?sslmode=verify-full&sslrootcert=/ca.pem",
        "postgresql://leads:x@one:5432,two:5433/leads",
        "postgresql://leads:x@[::1]:5432/leads",
        "postgresql://postgres:@/postgres?host=%2Ftmp%2Fsocket",
        "postgresql:///leads?host=/tmp",
        "postgresql://localhost/leads",
    ],
)
def test_every_address_that_the_driver_can_parse_is_accepted(url: str) -> None:
    """Several hosts, sockets, encoded passwords and TLS options are accepted."""
    assert load({"DATABASE_URL": url}).database_url.get_secret_value() == url


def test_another_kind_of_database_is_a_fault() -> None:
    """The address must be one of PostgreSQL."""
    assert "postgresql://" in faults({"DATABASE_URL": "mysql://leads:hunter22@db/leads"})


@pytest.mark.parametrize("missing", ["KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"])
@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
def test_a_broker_with_sasl_needs_user_and_password(protocol: str, missing: str) -> None:
    """A missing user or password is reported at the start, before the broker is asked."""
    said = faults({**SASL, "KAFKA_SECURITY_PROTOCOL": protocol, missing: ""})
    assert missing in said


def test_a_ca_file_must_exist(tmp_path: Path) -> None:
    """A path to a missing file is a fault."""
    assert "KAFKA_SSL_CAFILE" in faults({"KAFKA_SSL_CAFILE": str(tmp_path / "none.pem")})
    (tmp_path / "ca.pem").write_text("x")
    assert load({"KAFKA_SSL_CAFILE": str(tmp_path / "ca.pem")}).kafka_ssl_cafile == tmp_path / "ca.pem"


def test_no_secret_is_in_a_repr() -> None:
    """Neither the settings nor any value in them shows a secret."""
    settings = load({name: f"hunter22-{name}" for name in SECRET_NAMES} | {"DATABASE_URL": DATABASE})
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()} {vars(settings)}"
    assert "hunter22" not in shown


@pytest.mark.parametrize(
    ("command", "needed"),
    [("worker", ["DIRETRIX_USER", "DIRETRIX_PASSWORD", "WORK_API_TOKEN"]), ("crm-sync", ["C2S_TOKEN"])],
)
def test_a_process_does_not_start_without_the_secrets_that_it_uses(command: str, needed: list[str]) -> None:
    """The exit code is 2, and all missing secrets are reported with their variables."""
    result = CliRunner().invoke(main, [command], env=dict.fromkeys([*SECRET_NAMES, "DIRETRIX_USER"], ""))
    assert result.exit_code == 2, result.output
    for name in needed:
        assert name in result.stderr
    assert f"{needed[-1]}_FILE" in result.stderr


def test_a_secret_file_that_is_not_text_is_reported(tmp_path: Path) -> None:
    """One line names the variable and shows nothing of the file."""
    (tmp_path / "secret").write_bytes(b"hunter22\xff\xfe")
    result = CliRunner().invoke(main, ["topics"], env={"C2S_TOKEN_FILE": str(tmp_path / "secret")})
    assert result.exit_code == 2
    assert "secret" in result.stderr
    assert "hunter22" not in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("where", ["main", "thread", "unraisable"])
def test_uncaught_errors_are_masked(where: str) -> None:
    """The traceback of an uncaught error of a process, a thread or a finaliser goes through the log."""
    code = f"""
import threading
from stream.logs import configure
from stream.settings import load
configure(load({{"C2S_TOKEN": "hunter22", "LOG_JSON": "true"}}), "worker")
class Bad:
    def __del__(self): fail()
def fail(): raise ValueError("no such contact: 11987654321, 529.982.247-25, ana.souza@example.com, hunter22")
if {where!r} == "main": fail()
elif {where!r} == "thread":
    one = threading.Thread(target=fail); one.start(); one.join()
else:
    Bad()
"""
    ended = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, check=False, text=True)
    assert "ValueError" in ended.stderr
    assert (ended.returncode != 0) == (where == "main")
    for clear in ("987654321", "529.982", "ana.souza", "hunter22"):
        assert clear not in ended.stderr


def test_every_secret_setting_is_in_the_list_of_secrets() -> None:
    """So every secret has a NAME_FILE and is masked."""
    secret = {name for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)}
    assert secret == {name.lower() for name in SECRET_NAMES}
