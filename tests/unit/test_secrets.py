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
def test_a_database_password_that_is_not_encoded_is_said_without_it(password: str) -> None:
    """What the driver would stumble over, with a part of the password in its error, is a fault of the settings."""
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
def test_every_address_that_the_driver_reads_is_taken(url: str) -> None:
    """Several hosts, sockets, encoded passwords, TLS."""
    assert load({"DATABASE_URL": url}).database_url.get_secret_value() == url


def test_another_kind_of_database_is_a_fault() -> None:
    """Its address must be PostgreSQL's."""
    assert "postgresql://" in faults({"DATABASE_URL": "mysql://leads:hunter22@db/leads"})


@pytest.mark.parametrize("missing", ["KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"])
@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
def test_a_broker_with_sasl_needs_user_and_password(protocol: str, missing: str) -> None:
    """Both are asked for at start, not found missing by the broker."""
    said = faults({**SASL, "KAFKA_SECURITY_PROTOCOL": protocol, missing: ""})
    assert missing in said


def test_a_ca_file_must_be_there(tmp_path: Path) -> None:
    """A path that names no file is a fault at start."""
    assert "KAFKA_SSL_CAFILE" in faults({"KAFKA_SSL_CAFILE": str(tmp_path / "none.pem")})
    (tmp_path / "ca.pem").write_text("x")
    assert load({"KAFKA_SSL_CAFILE": str(tmp_path / "ca.pem")}).kafka_ssl_cafile == tmp_path / "ca.pem"


def test_no_secret_is_in_the_repr_of_anything() -> None:
    """Neither the settings nor any value in them shows a secret."""
    settings = load({name: f"hunter22-{name}" for name in SECRET_NAMES} | {"DATABASE_URL": DATABASE})
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()} {vars(settings)}"
    assert "hunter22" not in shown


@pytest.mark.parametrize(
    ("command", "needed"),
    [("worker", ["DIRETRIX_USER", "DIRETRIX_PASSWORD", "WORK_API_TOKEN"]), ("crm-sync", ["C2S_TOKEN"])],
)
def test_a_process_does_not_start_without_the_secrets_that_it_uses(command: str, needed: list[str]) -> None:
    """It ends with 2 and names all that is missing, and where each may come from."""
    result = CliRunner().invoke(main, [command], env=dict.fromkeys([*SECRET_NAMES, "DIRETRIX_USER"], ""))
    assert result.exit_code == 2, result.output
    for name in needed:
        assert name in result.stderr
    assert f"{needed[-1]}_FILE" in result.stderr


def test_a_secret_file_that_is_no_text_is_said(tmp_path: Path) -> None:
    """One line with the file's name and nothing of what is in it."""
    (tmp_path / "secret").write_bytes(b"hunter22\xff\xfe")
    result = CliRunner().invoke(main, ["topics"], env={"C2S_TOKEN_FILE": str(tmp_path / "secret")})
    assert result.exit_code == 2
    assert "secret" in result.stderr
    assert "hunter22" not in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("where", ["main", "thread", "unraisable"])
def test_what_nobody_catches_is_masked_too(where: str) -> None:
    """The trace of an error that ends a process, a thread or a finaliser goes through the log."""
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


def test_settings_that_are_secret_are_named_as_such() -> None:
    """Whoever adds a secret setting gets a file for it, and masking, by the list of names."""
    secret = {name for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)}
    assert secret == {name.lower() for name in SECRET_NAMES}
