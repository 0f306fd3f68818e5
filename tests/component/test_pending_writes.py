"""PostgreSQL dies between a paid call and the write of its answer, and comes back: nobody pays a second time."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from stream.domain.choice import PersonFound
from stream.domain.errors import DatabaseUnavailableError
from stream.domain.identity import Cpf, Phone
from stream.domain.person import Candidate, person_from_work
from stream.local.postgres import LocalPostgres
from stream.lookup.chain import LookupChain
from stream.lookup.postgres import PostgresTier
from stream.ops.migrate import migrate
from stream.settings import load
from stream.store.contacts import ContactStore
from stream.store.pool import open_pool
from tests.support.fakes import NOW
from tests.support.lookup_rig import OTHER, SOMEONE, answer, contact, request, resolve
from tests.support.real_rig import RealRig, real_rig

LIMIT = 60.0  # seconds
CPF = SOMEONE.cpf


@pytest.fixture
async def server() -> AsyncIterator[LocalPostgres]:
    """A PostgreSQL of its own, which the test may stop. Not in pytest's folder: it runs as another user."""
    with tempfile.TemporaryDirectory(prefix="lead-stream-postgres-") as folder, LocalPostgres(Path(folder)) as started:
        await migrate(started.url)
        yield started


@pytest.fixture
async def rig(server: LocalPostgres) -> AsyncIterator[RealRig]:
    """Both providers know somebody; the pool is as in the worker."""
    settings = load({"DATABASE_URL": server.url, "DATABASE_TIMEOUT": "2s"})
    async with open_pool(settings) as pool, real_rig(pool) as world, asyncio.timeout(LIMIT):
        world.know(SOMEONE)
        world.know(OTHER)
        yield world


def stopping(partner: Any, method: str, stop: Callable[[], None]) -> Any:
    """The provider, but something happens after its answer."""
    ask = getattr(partner, method)

    async def asked(*arguments: Any) -> Any:
        answer = await ask(*arguments)
        stop()
        return answer

    setattr(partner, method, asked)
    return partner


def chain_of(rig: RealRig, **stops: Callable[[], None]) -> LookupChain:
    """A worker's chain with real parts; ``stops``: what happens after an answer, by the provider's method."""
    made = rig.worker()
    for partner in (made._diretrix, made._work):  # noqa: SLF001 - the very partners that the worker has
        for method, stop in stops.items():
            if hasattr(partner, method):
                stopping(partner, method, stop)
    return made


async def answers(rig: RealRig) -> list[str]:
    """The aliases that have a stored answer."""
    return [row["alias"] for row in await rig.pool.fetch("SELECT alias FROM stream.answers")]


async def test_an_answer_of_diretrix_is_stored_when_the_database_is_back(rig: RealRig, server: LocalPostgres) -> None:
    """The look-up fails; its answer is stored and settled as paid later, and no call is repeated."""
    by_phone = contact(SOMEONE, by="phone")
    first = chain_of(rig, by_phone=server.stop)
    failed = await resolve(first, request(by_phone))
    assert isinstance(failed.failure, DatabaseUnavailableError)
    assert by_phone.phone is not None
    assert failed.facts.answers[by_phone.phone.alias]  # the table keeps it meanwhile, for its partition
    server.start()
    await first.wait_settled()
    assert await answers(rig) == [by_phone.phone.alias]
    assert await rig.statuses("diretrix") == ["paid"]
    assert await rig.parties(CPF) == 1
    found = await answer(rig.worker(), request(by_phone))
    assert isinstance(found, PersonFound)
    assert found.person.cpf == CPF
    assert rig.calls("diretrix") == 1


async def test_another_partition_does_not_pay_while_an_answer_waits(rig: RealRig, server: LocalPostgres) -> None:
    """A look-up of an alias whose answer waits fails instead of paying again, and finds it once it is stored."""
    by_phone = contact(SOMEONE, by="phone")
    first = chain_of(rig, by_phone=server.stop)
    pending = first._paid_calls._pending  # noqa: SLF001 - to hold what waits for as long as the test needs
    held = asyncio.Event()
    write_all = pending._write_all  # noqa: SLF001

    async def later() -> None:
        await held.wait()
        await write_all()

    pending._write_all = later  # type: ignore[method-assign]  # noqa: SLF001
    with pytest.raises(DatabaseUnavailableError):
        await answer(first, request(by_phone))
    server.start()
    with pytest.raises(DatabaseUnavailableError, match="waits to be stored"):
        await answer(first, request(by_phone))
    assert rig.calls("diretrix") == 1
    held.set()
    await first.wait_settled()
    assert isinstance(await answer(first, request(by_phone)), PersonFound)
    assert rig.calls("diretrix") == 1


async def test_a_lease_is_kept_until_the_answer_is_stored(rig: RealRig, server: LocalPostgres) -> None:
    """Another worker waits for the lease of the CPF, and finds the person when it gets the lease."""
    by_phone = contact(SOMEONE, by="phone")
    first = chain_of(rig, by_cpf=server.stop)
    failed = await resolve(first, request(by_phone))
    assert isinstance(failed.failure, DatabaseUnavailableError)
    assert failed.facts.persons[CPF].complete
    server.start()
    found = await answer(rig.worker(), request(contact(SOMEONE, by="cpf")))
    assert isinstance(found, PersonFound)
    assert found.person.complete
    assert (rig.calls("work"), rig.calls("diretrix")) == (1, 1)
    await first.wait_settled()
    assert await rig.statuses("work") == ["paid"]
    assert await rig.pool.fetchval("SELECT count(*) FROM stream.leases") == 0
    assert await rig.pool.fetchval("SELECT count(*) FROM core.parties WHERE cpf_cnpj = $1 AND enriched", CPF) == 1


async def test_all_calls_in_progress_are_stored(rig: RealRig, server: LocalPostgres) -> None:
    """Every call in progress when the server was killed is stored and settled once."""
    both = [contact(SOMEONE, by="phone"), contact(OTHER, by="phone"), contact(SOMEONE, by="email")]
    arrived = 0

    def together(ask: Any) -> Any:
        async def asked(*arguments: Any) -> Any:
            nonlocal arrived
            answer = await ask(*arguments)
            arrived += 1
            if arrived == len(both):
                server.kill()
            while arrived < len(both):  # noqa: ASYNC110 - the others of this test
                await asyncio.sleep(0.01)
            return answer

        return asked

    worker = rig.worker()
    partner: Any = worker._diretrix  # noqa: SLF001 - the very partner that the worker has
    partner.by_phone, partner.by_email = together(partner.by_phone), together(partner.by_email)
    results = await asyncio.gather(*(answer(worker, request(one, name="")) for one in both), return_exceptions=True)
    assert all(isinstance(result, DatabaseUnavailableError) for result in results), results
    server.start()
    await worker.wait_settled()
    assert sorted(await answers(rig)) == sorted(one.aliases[0] for one in both)
    assert await rig.statuses("diretrix") == ["paid"] * len(both)


async def test_a_late_write_does_not_replace_a_newer_one(pool: asyncpg.Pool) -> None:
    """An older answer changes no newer answer or candidate, and an older person changes no fact."""
    store, people = ContactStore(pool), PostgresTier(pool)
    phone = Phone.parse("11987654321")
    assert phone is not None
    old, new = Candidate("OLD OWNER", "11144477735"), Candidate("NEW OWNER", CPF)
    await store.save_answer(phone, (new,), NOW)
    await store.save_answer(phone, (old,), NOW - timedelta(minutes=1))
    asked = contact(SOMEONE, by="phone")
    found = await people.find(type(asked)(phone, None, None, phone.alias))
    assert [answer.candidates for answer in found.answers] == [(new,)]
    assert {row.cpf for row in found.known} == {CPF}
    for name, at in (("NEW NAME", NOW), ("OLD NAME", NOW - timedelta(days=1))):
        raw = {"DadosBasicos": {"nome": name, "nomeMae": f"MOTHER OF {name}"}}
        await store.save_person((), person_from_work(raw, CPF, at), raw, "lead", at)
    row = await pool.fetchrow("SELECT full_name, mother_name, enriched FROM core.parties WHERE cpf_cnpj = $1", CPF)
    assert tuple(row.values()) == ("NEW NAME", "MOTHER OF NEW NAME", True)
    person = await people.find_by_cpf(Cpf(CPF))
    assert person is not None
    assert (person.name, person.enriched_at) == ("NEW NAME", NOW)
