"""The compose file, held against the settings and the code: it can be wrong where no engine is at hand to run it."""

from __future__ import annotations

import importlib.util
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from producers.__main__ import main as producers
from stream.cli import COMMANDS, main
from stream.local.kafka import VERSION
from stream.runtime.startup import plaintext_fault
from stream.settings import PARTNERS, SECRET_NAMES, Settings, load
from stream.topics import GROUPS

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SERVERS = {name: service for name, service in SERVICES.items() if "build" not in service}
ONCE = {"topics", "migrate"}
LASTING = sorted(set(OURS) - ONCE)

# What the images read. The Kafka image makes a broker property of every KAFKA_ variable: a slip is silently none.
IMAGES = {
    "apache/kafka": {
        "CLUSTER_ID",
        "KAFKA_ADVERTISED_LISTENERS",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE",
        "KAFKA_CONTROLLER_LISTENER_NAMES",
        "KAFKA_CONTROLLER_QUORUM_VOTERS",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS",
        "KAFKA_HEAP_OPTS",
        "KAFKA_INTER_BROKER_LISTENER_NAME",
        "KAFKA_LISTENERS",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "KAFKA_LOG_DIRS",
        "KAFKA_NODE_ID",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR",
        "KAFKA_PROCESS_ROLES",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR",
    },
    "postgres": {"POSTGRES_DB", "POSTGRES_PASSWORD", "POSTGRES_USER"},
}
COMMANDS_OF_IMAGES = {"apache/kafka": {"/opt/kafka/bin/kafka-broker-api-versions.sh"}, "postgres": {"pg_isready"}}


def seconds(text: str) -> float:
    """A duration as compose writes it."""
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60}[unit]


def substituted(value: str) -> str:
    """What compose makes of `${NAME:-default}` in an empty environment."""
    return re.sub(r"\$\{[A-Z0-9_]+:-([^}]*)\}", r"\1", value)


def environment(name: str) -> dict[str, str]:
    """A service's variables when no `.env` is there."""
    return {key: substituted(value) for key, value in SERVICES[name].get("environment", {}).items()}


def is_runnable(command: list[str]) -> bool:
    """Whether a `python -m ...` names a module, and a command of ours."""
    if command[:2] != ["python", "-m"] or importlib.util.find_spec(command[2]) is None:
        return False
    return command[2] != "stream" or command[3] in COMMANDS


def test_broker_and_database_come_alone() -> None:
    """Without the profile only what is not ours is started."""
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == set(SERVERS)
    assert set(SERVERS) == {"kafka", "postgres"}


def test_the_profile_app_brings_everything_else() -> None:
    """Each process of ours is a service in one profile."""
    assert set(OURS) == {"topics", "migrate", "simulators", "producers", "worker", "crm-sync", "journal"}
    assert all(service["profiles"] == ["app"] for service in OURS.values())


@pytest.mark.parametrize("name", SERVERS)
def test_images_are_pinned(name: str) -> None:
    """An image names an exact version."""
    assert re.fullmatch(r"[a-z/]+:\d+(\.\d+)+(-[a-z]+)?", SERVICES[name]["image"])


def test_the_base_image_is_pinned() -> None:
    """The Dockerfile begins with an exact version of the Python that the project needs."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^FROM (.+)$", text, re.MULTILINE) == ["python:3.11.14-slim-bookworm"]


def test_the_broker_is_the_one_that_the_tests_run_on() -> None:
    """Compose and the embedded broker are one version of Kafka."""
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{VERSION}"


@pytest.mark.parametrize("name", SERVERS)
def test_variables_of_an_image_are_known_to_it(name: str) -> None:
    """A variable that its image does not read is a slip."""
    assert set(SERVICES[name]["environment"]) <= IMAGES[SERVICES[name]["image"].split(":")[0]]


@pytest.mark.parametrize("name", OURS)
def test_variables_of_ours_are_settings(name: str) -> None:
    """A variable that no setting reads is a slip."""
    known = {field.upper() for field in Settings.model_fields} | {f"{secret}_FILE" for secret in SECRET_NAMES}
    assert set(SERVICES[name]["environment"]) <= known


@pytest.mark.parametrize("name", OURS)
def test_variables_of_ours_are_valid(name: str) -> None:
    """Every service's settings can be read, and point at the services of this file."""
    settings = load(environment(name))
    assert settings.kafka_bootstrap_servers.split(":")[0] in SERVICES
    assert "@postgres:" in settings.database_url.get_secret_value()
    for url in (settings.diretrix_base_url, settings.work_api_base_url, settings.c2s_base_url):
        assert url == "http://simulators:9100", "nothing is billed unless .env says so"


def test_broker_and_database_need_no_secret_of_ours() -> None:
    """Compose substitutes the whole file, whatever the profile: no variable may be demanded there."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert not re.findall(r"\$\{[A-Z0-9_]+:?\?", text)
    assert all("${" not in str(service) for service in SERVERS.values())


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("producers", {"C2S_WEBHOOK_TOKEN", "GOOGLE_ADS_KEY"}),
        ("worker", {"DIRETRIX_USER", "DIRETRIX_PASSWORD", "WORK_API_TOKEN"}),
        ("crm-sync", {"C2S_TOKEN"}),
    ],
)
def test_a_process_without_its_secrets_does_not_start(name: str, needed: set[str]) -> None:
    """The file has no secret to fall back to, and the process itself refuses, naming what is missing."""
    assert needed <= set(SERVICES[name]["environment"])
    command = producers if name == "producers" else main
    result = CliRunner().invoke(command, SERVICES[name]["command"][3:], env=environment(name))
    assert result.exit_code == 2
    assert all(secret in result.stderr for secret in needed)


def test_the_budget_is_stated_and_the_simulators_are_named() -> None:
    """What the worker and the CRM sync refuse to start without is there, and the budget is a number."""
    settings = load(environment("worker"))
    assert isinstance(settings.diretrix_daily_budget, int)
    assert [plaintext_fault(settings, partner) for partner in PARTNERS] == ["", "", ""]


def test_no_secret_stands_in_the_file() -> None:
    """But for the database of this machine, which listens on it only."""
    for name in OURS:
        given = {key: value for key, value in environment(name).items() if key in SECRET_NAMES and value}
        assert set(given) == {"DATABASE_URL"}


def test_what_compose_substitutes_is_a_setting() -> None:
    """What `.env` may change here is explained in `.env.example`."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert {name.lower() for name in re.findall(r"\$\{([A-Z0-9_]+)", text)} <= set(Settings.model_fields)


def test_values_are_strings() -> None:
    """YAML's own numbers and booleans are not what an environment holds."""
    values = [value for service in SERVICES.values() for value in service.get("environment", {}).values()]
    assert all(isinstance(value, str) for value in values)


@pytest.mark.parametrize("name", OURS)
def test_commands_of_ours_exist(name: str) -> None:
    """A service starts a module that is there, and a command that the command line has."""
    assert is_runnable(SERVICES[name]["command"])


@pytest.mark.parametrize("name", LASTING + sorted(SERVERS))
def test_what_lasts_has_a_health_check(name: str) -> None:
    """A health check has all its limits, and ends before the next one."""
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert set(check) == {"test", "interval", "timeout", "retries", "start_period"}


@pytest.mark.parametrize("name", SERVERS)
def test_health_checks_of_servers_exist(name: str) -> None:
    """The command of a health check is in the image."""
    assert SERVICES[name]["healthcheck"]["test"][1] in COMMANDS_OF_IMAGES[SERVICES[name]["image"].split(":")[0]]


@pytest.mark.parametrize("name", LASTING)
def test_health_checks_of_ours_exist(name: str) -> None:
    """A health check runs a module of ours for a group of ours, or asks a page on the port that is served."""
    command = SERVICES[name]["healthcheck"]["test"][1:]
    if command[1] == "-m":
        assert is_runnable(command)
        assert command[3] in GROUPS
        return
    assert command[:2] == ["python", "-c"]
    compile(command[2], name, "exec")
    assert command[3] == PAGES[name]


PAGES = {
    "simulators": "http://127.0.0.1:9100/_control/counts",
    "producers": f"http://127.0.0.1:{environment('producers')['PRODUCER_INTERNAL_PORT']}/readyz",
    "worker": f"http://127.0.0.1:{environment('worker')['STREAM_WEB_PORT']}/readyz",
    "crm-sync": f"http://127.0.0.1:{environment('crm-sync')['CRM_WEB_PORT']}/readyz",
    "journal": f"http://127.0.0.1:{environment('journal')['JOURNAL_WEB_PORT']}/readyz",
}


def test_pages_are_served_where_they_are_asked_for() -> None:
    """Ports and addresses inside: each server listens on all of them, on the port that is published."""
    front, worker = load(environment("producers")), load(environment("worker"))
    assert (front.producer_host, worker.stream_web_host) == ("0.0.0.0", "0.0.0.0")
    assert front.internal_port != front.producer_port, "only webhooks and health are published"
    assert SERVICES["producers"]["ports"] == [f"127.0.0.1:{front.producer_port}:{front.producer_port}"]
    assert SERVICES["worker"]["ports"] == [f"127.0.0.1:{worker.stream_web_port}:{worker.stream_web_port}"]
    crm, books = load(environment("crm-sync")), load(environment("journal"))
    assert (crm.crm_web_host, books.journal_web_host) == ("0.0.0.0", "0.0.0.0")
    assert SERVICES["crm-sync"]["ports"] == [f"127.0.0.1:{crm.crm_web_port}:{crm.crm_web_port}"]
    assert SERVICES["journal"]["ports"] == [f"127.0.0.1:{books.journal_web_port}:{books.journal_web_port}"]
    command = SERVICES["simulators"]["command"]
    assert command[command.index("--port") + 1] in PAGES["simulators"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_on_this_machine_only(name: str) -> None:
    """Whoever is on the network does not reach a service of this machine."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", OURS)
def test_a_stop_waits_for_the_shutdown_grace(name: str) -> None:
    """Compose kills later than the process gives up by itself, with room for the interpreter's own end."""
    grace: timedelta = load(environment(name)).shutdown_grace
    assert seconds(SERVICES[name]["stop_grace_period"]) >= grace.total_seconds() + 5


@pytest.mark.parametrize("name", OURS)
def test_what_is_waited_for_can_be_waited_for(name: str) -> None:
    """What must be healthy has a health check, and what must have ended ends by itself."""
    for other, how in SERVICES[name]["depends_on"].items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert how["condition"] == "service_completed_successfully"
            assert other in ONCE


def test_what_must_be_kept_is_on_a_volume() -> None:
    """Broker and database keep their data where their image puts it."""
    assert SERVICES["kafka"]["volumes"] == [f"kafka:{SERVICES['kafka']['environment']['KAFKA_LOG_DIRS']}"]
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    assert set(COMPOSE["volumes"]) == {"kafka", "postgres"}


def test_the_image_is_made_of_what_the_build_may_see() -> None:
    """Everything that the Dockerfile copies is let through by `.dockerignore`, and secrets are not."""
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (\S+) ", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert set(copied) == let_through
    assert ".env" not in let_through
