"""Fixtures of the component tests: a migrated PostgreSQL database for each test, and a client of the producers."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
import stamina
import uvloop
from testcontainers.community.postgres import PostgresContainer

from stream.local.postgres import LocalPostgres
from stream.ops.migrate import migrate
from stream.settings import Settings, load
from stream.store.ledger import Ledger
from stream.store.pool import open_pool
from tests.support.clock import Clock
from tests.support.containers import running
from tests.support.crm_rig import Crm, serving_crm
from tests.support.producers_client import Client, producers_client

POSTGRES_IMAGE = "postgres:18.1-bookworm"  # as in docker-compose.yml
TEMPLATE = "lead_stream_template"
Party = Callable[..., Awaitable[UUID]]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The receiver is tested on the loop of production, whose transports differ from asyncio's."""
    del config
    if item.path.name.startswith(("test_producers_", "test_receiver_")):
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


def _run(work: Awaitable[Any]) -> Any:
    """Run a coroutine in a loop of its own, beside the one that pytest-asyncio may have."""

    async def whole() -> Any:
        return await work

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, whole()).result()


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def _url_of(url: str, database: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{database}"))


@pytest.fixture(scope="session")
def postgres_container() -> Iterator[str]:
    """The address of a Docker engine's server; "" where none can run one."""
    with running(POSTGRES_IMAGE, _container) as container:
        yield container.get_connection_url() if container is not None else ""


def _container() -> PostgresContainer:
    return PostgresContainer(POSTGRES_IMAGE, driver=None)


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server: the one that the environment names, else a Docker engine's, else one out of the wheel."""
    found = os.environ.get("TEST_DATABASE_URL", "") or request.getfixturevalue("postgres_container")
    if found:
        yield found
        return
    # Not below pytest's folder: as root the server runs as another user, and the start of any other pytest
    # closes that folder to others, which ends the server in the middle of a test.
    with tempfile.TemporaryDirectory(prefix="lead-stream-postgres-") as folder, LocalPostgres(Path(folder)) as server:
        yield server.url


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """The name of a migrated database that nobody writes to."""
    name = f"{TEMPLATE}_{uuid4().hex[:8]}"
    _run(_execute(postgres_url, f"CREATE DATABASE {name}"))
    _run(migrate(_url_of(postgres_url, name)))
    yield name
    _run(_execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database without any table, for one test."""
    name = f"test_{uuid4().hex}"
    _run(_execute(postgres_url, f"CREATE DATABASE {name}"))
    yield _url_of(postgres_url, name)
    _run(_execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """A migrated database, for one test."""
    name = f"test_{uuid4().hex}"
    _run(_execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield _url_of(postgres_url, name)
    _run(_execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def database_settings(database_url: str) -> Settings:
    """Settings that name the test's database and nothing else."""
    return load({"DATABASE_URL": database_url})


@pytest.fixture
async def pool(database_settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """Connections to the test's database, as the project opens them."""
    async with open_pool(database_settings) as opened:
        yield opened


@pytest.fixture
def work_raw() -> dict[str, Any]:
    """An answer of the Work API, in the shape that production sees."""
    return {
        "DadosBasicos": {
            "nome": "MARIA DE SOUZA LIMA",
            "cpf": "52998224725",
            "cns": None,
            "dataNascimento": "05/03/1981",
            "sexo": "F - FEMININO",
            "nomeMae": "ANA DE SOUZA",
        },
        "DadosEconomicos": {"renda": "8500,50"},
        "telefones": [
            {"telefone": "11987654321", "status": "ATIVO", "tipo": "MOVEL", "operadora": "VIVO", "whatsapp": "SIM"},
            {"telefone": "1133334444", "status": None, "tipo": "FIXO", "operadora": "VIVO", "whatsapp": None},
        ],
        "emails": [{"email": "Maria.Lima@Example.com", "prioridade": 1, "qualidade": "BOM"}],
    }


@pytest.fixture
def party(pool: asyncpg.Pool) -> Party:
    """Inserts a party as the replaced service left them, with contacts (type, value) and payloads."""

    async def insert(  # noqa: PLR0913 - a row
        cpf: str | None = "52998224725",
        name: str = "MARIA DE SOUZA LIMA",
        contacts: tuple[tuple[str, str], ...] = (("phone", "11987654321"),),
        *,
        enriched: bool | None = True,
        raw: object = None,
        normalised: object = None,
        age: str = "1 day",
    ) -> UUID:
        party: UUID = await pool.fetchval(
            "INSERT INTO core.parties (id, party_type, cpf_cnpj, full_name, enriched, created_at, updated_at)"
            " VALUES (gen_random_uuid(), 'person', $1, $2, $3, now(), now()) RETURNING id",
            cpf,
            name,
            enriched,
        )
        await pool.executemany(
            "INSERT INTO core.party_contacts (contact_id, party_id, contact_type, value, source)"
            " VALUES (gen_random_uuid(), $1, $2::text::core.contact_type_enum, $3, 'legacy')",
            [(party, kind, value) for kind, value in contacts],
        )
        if raw is not None or normalised is not None:
            await pool.execute(
                "INSERT INTO core.party_enrichments"
                " (enrichment_id, party_id, provider, raw_payload, normalized_data, enriched_at)"
                " VALUES (gen_random_uuid(), $1, 'work_api', $2, $3, now() - $4::text::interval)",
                party,
                raw,
                normalised,
                age,
            )
        return party

    return insert


@pytest.fixture
def clock() -> Clock:
    """The clock of ``ledger``, at noon."""
    return Clock()


@pytest.fixture
def ledger(pool: asyncpg.Pool, clock: Clock) -> Ledger:
    """The books of paid calls, on the test's own database."""
    return Ledger(pool, clock)


@pytest.fixture
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """An HTTP client of the producers. A parameter overrides environment variables."""
    async with producers_client(getattr(request, "param", {})) as opened:
        yield opened


@pytest.fixture
def no_retry_pauses() -> Iterator[None]:
    """Retries of the CRM's client follow each other without a pause."""
    with stamina.set_testing(testing=True, attempts=5):
        yield


@pytest.fixture
async def crm(pool: asyncpg.Pool) -> AsyncIterator[Crm]:
    """The CRM sync with its database and a simulated C2S."""
    async with serving_crm(pool) as crm:
        yield crm
