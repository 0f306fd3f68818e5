"""Paid answers are stored once, whole, and readable by the replaced service."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from stream.domain.errors import DatabaseUnavailableError
from stream.domain.identity import Email, Phone
from stream.domain.person import Candidate, person_from_work
from stream.store.contacts import ContactStore

CPF = "52998224725"
OTHER_CPF = "11144477735"
PHONE = Phone("+5511987654321")
EMAIL = Email("maria@example.com")
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MARIA = Candidate("Maria de Souza Lima", CPF)
JOSE = Candidate("José Lima", OTHER_CPF)


@pytest.fixture
def store(pool: asyncpg.Pool) -> ContactStore:
    return ContactStore(pool)


ALIASES: tuple[Phone | Email, ...] = (PHONE, EMAIL)


async def save(
    store: ContactStore, raw: dict[str, Any], at: datetime = NOW, aliases: tuple[Phone | Email, ...] = ALIASES
) -> None:
    await store.save_person(aliases, person_from_work(raw, CPF, at), raw, "lead-1", at)


async def contacts(pool: asyncpg.Pool) -> dict[tuple[str, str], str]:
    rows = await pool.fetch("SELECT contact_type::text, value, source FROM core.party_contacts")
    return {(row["contact_type"], row["value"]): row["source"] for row in rows}


async def test_an_answer_is_stored_with_its_candidates(pool: asyncpg.Pool, store: ContactStore) -> None:
    """Diretrix's answer keeps its order, and each candidate is a party that is not enriched and has the alias."""
    await store.save_answer(PHONE, (MARIA, JOSE), NOW)
    row = await pool.fetchrow("SELECT * FROM stream.answers")
    assert row is not None
    assert tuple(row) == (PHONE.alias, [[MARIA.name, CPF], [JOSE.name, OTHER_CPF]], NOW)
    parties = await pool.fetch(
        "SELECT p.party_type, p.cpf_cnpj, p.full_name, p.normalized_name, p.enriched, c.contact_type::text, c.value"
        " FROM core.parties p JOIN core.party_contacts c ON c.party_id = p.id ORDER BY p.cpf_cnpj DESC"
    )
    assert [tuple(party) for party in parties] == [
        ("person", CPF, "Maria de Souza Lima", "MARIA SOUZA LIMA", False, "phone", "11987654321"),
        ("person", OTHER_CPF, "José Lima", "JOSE LIMA", False, "phone", "11987654321"),
    ]


async def test_an_empty_answer_is_stored(pool: asyncpg.Pool, store: ContactStore) -> None:
    """An empty answer is stored, because the call was made, and adds no party."""
    await store.save_answer(EMAIL, (), NOW)
    assert await pool.fetchval("SELECT candidates FROM stream.answers") == []
    assert await pool.fetchval("SELECT count(*) FROM core.parties") == 0


async def test_the_newer_answer_stays(pool: asyncpg.Pool, store: ContactStore) -> None:
    """The newer answer stays, in whichever order two are written."""
    await store.save_answer(PHONE, (MARIA,), NOW)
    await store.save_answer(PHONE, (JOSE,), NOW - timedelta(days=1))
    assert await pool.fetchval("SELECT candidates FROM stream.answers") == [[MARIA.name, CPF]]


async def test_a_person_is_readable_by_the_replaced_service(
    pool: asyncpg.Pool, store: ContactStore, work_raw: dict[str, Any]
) -> None:
    """Its statement finds the phone, the party is enriched, and normalized_data is a Work API answer."""
    await save(store, work_raw)
    row = await pool.fetchrow(
        "SELECT p.*, e.provider, e.raw_payload, e.normalized_data, e.enriched_at"
        " FROM core.party_contacts c JOIN core.parties p ON p.id = c.party_id"
        " JOIN core.party_enrichments e ON e.party_id = p.id"
        " WHERE c.value = $1 AND c.contact_type IN ('phone', 'whatsapp') AND p.enriched",
        "11987654321",
    )
    assert row is not None
    assert row["full_name"] == "MARIA DE SOUZA LIMA"
    assert row["normalized_name"] == "MARIA SOUZA LIMA"
    assert (row["sex"], row["birth_date"], row["mother_name"]) == ("F", date(1981, 3, 5), "ANA DE SOUZA")
    assert row["cpf_cnpj"] == CPF
    assert row["enriched_at"] == NOW
    assert row["normalized_data"] == {**work_raw, "lead_id": "lead-1"}
    assert row["raw_payload"] == row["normalized_data"]


async def test_contacts_have_their_source(pool: asyncpg.Pool, store: ContactStore, work_raw: dict[str, Any]) -> None:
    """The source diretrix outranks the lead's own and contacts that the Work API lists."""
    await store.save_answer(PHONE, (MARIA,), NOW)
    await save(store, work_raw)
    assert await contacts(pool) == {
        ("phone", "11987654321"): "diretrix",
        ("email", "maria@example.com"): "lead",
        ("phone", "1133334444"): "work_api",
        ("email", "maria.lima@example.com"): "work_api",
    }
    await store.save_answer(EMAIL, (MARIA,), NOW)
    assert (await contacts(pool))["email", "maria@example.com"] == "diretrix"
    await store.save_answer(Phone("+551133334444"), (MARIA,), NOW)
    assert (await contacts(pool))["phone", "1133334444"] == "diretrix"


async def test_whatsapp_is_kept_from_either_source(
    pool: asyncpg.Pool, store: ContactStore, work_raw: dict[str, Any]
) -> None:
    """The lead's phone has WhatsApp if the Work API lists it so; other phones do not."""
    await save(store, work_raw)
    rows = await pool.fetch("SELECT value FROM core.party_contacts WHERE is_whatsapp")
    assert [row["value"] for row in rows] == ["11987654321"]


async def test_storing_twice_changes_nothing(pool: asyncpg.Pool, store: ContactStore, work_raw: dict[str, Any]) -> None:
    """A replay leaves the same rows."""

    async def everything() -> list[object]:
        return [
            await pool.fetch(statement)
            for statement in (
                "SELECT id, cpf_cnpj, full_name, sex, birth_date, mother_name, enriched FROM core.parties",
                "SELECT contact_id, value, source, is_whatsapp FROM core.party_contacts ORDER BY contact_id",
                "SELECT * FROM core.party_enrichments",
                "SELECT * FROM stream.answers",
            )
        ]

    await store.save_answer(PHONE, (MARIA,), NOW)
    await save(store, work_raw)
    before = await everything()
    await store.save_answer(PHONE, (MARIA,), NOW)
    await save(store, work_raw)
    assert await everything() == before


async def test_the_newer_enrichment_stays(pool: asyncpg.Pool, store: ContactStore, work_raw: dict[str, Any]) -> None:
    """A party has one enrichment, and the newer one stays, in whichever order two are written."""
    newer = {**work_raw, "profissao": "ENGENHEIRA"}
    await save(store, work_raw, NOW - timedelta(days=200))
    await save(store, newer, NOW)
    await save(store, work_raw, NOW - timedelta(days=100))
    rows = await pool.fetch("SELECT raw_payload, normalized_data, enriched_at FROM core.party_enrichments")
    assert [tuple(row) for row in rows] == [({**newer, "lead_id": "lead-1"}, {**newer, "lead_id": "lead-1"}, NOW)]


async def test_a_missing_value_erases_no_stored_one(
    pool: asyncpg.Pool, store: ContactStore, work_raw: dict[str, Any]
) -> None:
    """An answer without name, sex, date or mother keeps the stored ones."""
    await save(store, work_raw)
    await save(store, {"DadosBasicos": {"cpf": CPF}}, NOW + timedelta(days=1))
    row = await pool.fetchrow("SELECT full_name, normalized_name, sex, birth_date, mother_name FROM core.parties")
    assert row is not None
    assert tuple(row) == ("MARIA DE SOUZA LIMA", "MARIA SOUZA LIMA", "F", date(1981, 3, 5), "ANA DE SOUZA")


async def test_concurrent_writers_make_one_party_for_a_cpf(
    pool: asyncpg.Pool, store: ContactStore, work_raw: dict[str, Any]
) -> None:
    """Forty writers of one CPF with different aliases leave one party with all contacts and one enrichment."""
    phones = [Phone(f"+55119876543{number:02}") for number in range(20)]
    await asyncio.gather(
        *(store.save_answer(phone, (MARIA, JOSE) if number % 2 else (JOSE, MARIA), NOW)
          for number, phone in enumerate(phones)),
        *(save(store, work_raw, aliases=(phone,)) for phone in phones),
    )  # fmt: skip
    rows = await pool.fetch("SELECT cpf_cnpj, enriched FROM core.parties ORDER BY cpf_cnpj")
    assert [tuple(row) for row in rows] == [(OTHER_CPF, False), (CPF, True)]
    assert await pool.fetchval("SELECT count(*) FROM core.party_enrichments") == 1
    stored = {value for kind, value in await contacts(pool) if kind == "phone"}
    assert {phone.national for phone in phones} <= stored


async def test_a_legacy_party_of_a_cpf_is_used(
    pool: asyncpg.Pool, store: ContactStore, work_raw: dict[str, Any], party: Any
) -> None:
    """If legacy data has several parties of a CPF, the enriched one is updated and none is added."""
    await party(enriched=False)
    kept: UUID = await party(enriched=True, contacts=(), raw=work_raw, normalised={})
    await party(enriched=None, contacts=())
    await store.save_answer(PHONE, (MARIA,), NOW)
    await save(store, work_raw, datetime.now(UTC))
    assert await pool.fetchval("SELECT count(*) FROM core.parties") == 3
    row = await pool.fetchrow("SELECT party_id, normalized_data FROM core.party_enrichments")
    assert row is not None
    assert row["party_id"] == kept
    assert row["normalized_data"]["DadosBasicos"] == work_raw["DadosBasicos"]


async def test_a_punctuated_cpf_is_the_same_party(pool: asyncpg.Pool, store: ContactStore, party: Any) -> None:
    """A legacy party whose CPF has punctuation is found and no second one added."""
    await party(cpf="529.982.247-25", enriched=False)
    await store.save_answer(PHONE, (MARIA,), NOW)
    assert await pool.fetchval("SELECT count(*) FROM core.parties") == 1


@pytest.mark.parametrize(
    "there",
    [
        ("phone", "11987654321"),
        ("phone", "5511987654321"),
        ("phone", "1187654321"),
        ("whatsapp", "551187654321"),
        ("whatsapp", "5511987654321"),
    ],
)
async def test_a_contact_is_not_stored_in_a_second_spelling(
    pool: asyncpg.Pool, store: ContactStore, work_raw: dict[str, Any], party: Any, there: tuple[str, str]
) -> None:
    """A legacy phone keeps its spelling, so that distinct values still count contacts."""
    await party(contacts=(there,))
    await store.save_answer(PHONE, (MARIA,), NOW)
    await save(store, work_raw)
    values = {value for one, value in await contacts(pool) if one != "email"}
    assert values == {there[1], "1133334444"}
    assert (await contacts(pool))[there] == "legacy"


async def test_values_that_postgresql_can_not_store_are_replaced(
    pool: asyncpg.Pool, store: ContactStore, work_raw: dict[str, Any]
) -> None:
    """NUL, surrogates and huge integers are removed or become text, and everything else is stored."""
    raw = {
        **work_raw,
        "DadosBasicos": {**work_raw["DadosBasicos"], "nome": "MARIA\x00 LIMA", "nomeMae": "A\x00NA"},
        "empregos": [
            {"nome\x00": ["ACME\x00", "\ud83d meia"], "codigo": 10**30, "real": 1.5, "nada": None, "sim": True}
        ],
    }
    await store.save_answer(PHONE, (Candidate("MARIA\x00 \ud83dLIMA", CPF),), NOW)
    assert await pool.fetchval("SELECT full_name FROM core.parties") == "MARIA LIMA"
    person = person_from_work(raw, CPF, NOW)
    await store.save_person(ALIASES, person, raw, "lead\x00-1", NOW)
    stored = await pool.fetchval("SELECT raw_payload FROM core.party_enrichments")
    assert stored["lead_id"] == "lead-1"
    assert stored["DadosBasicos"]["nome"] == "MARIA LIMA"
    employment = {"nome": ["ACME", " meia"], "codigo": str(10**30), "real": 1.5, "nada": None, "sim": True}
    assert stored["empregos"] == [employment]
    assert json.dumps(raw)  # what came in is untouched


async def test_a_person_is_stored_whole_or_not_at_all(
    pool: asyncpg.Pool, store: ContactStore, work_raw: dict[str, Any]
) -> None:
    """If the last statement fails, no part of the person is stored."""
    await pool.execute("ALTER TABLE core.party_contacts ADD CONSTRAINT no CHECK (value <> '1133334444')")
    with pytest.raises(asyncpg.CheckViolationError):
        await save(store, work_raw)
    for table in ("core.parties", "core.party_enrichments", "core.party_contacts"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608


async def test_one_enrichment_of_a_party_needs_no_constraint(
    pool: asyncpg.Pool, store: ContactStore, work_raw: dict[str, Any]
) -> None:
    """A party has one enrichment even if production has no unique index."""
    await pool.execute("ALTER TABLE core.party_enrichments DROP CONSTRAINT party_enrichments_party_id_key")
    await asyncio.gather(*(save(store, work_raw, NOW + timedelta(seconds=number)) for number in range(8)))
    rows = await pool.fetch("SELECT enriched_at FROM core.party_enrichments")
    assert [row["enriched_at"] for row in rows] == [NOW + timedelta(seconds=7)]


async def test_a_foreign_phone_and_a_form_without_contacts(pool: asyncpg.Pool, store: ContactStore) -> None:
    """A foreign phone keeps its plus; a lead with only a CPF stores no contact."""
    raw = {"DadosBasicos": {"nome": "MARIA"}}
    foreign = Phone("+351912345678")
    await save(store, raw, aliases=(foreign,))
    await save(store, raw, aliases=())
    assert list(await contacts(pool)) == [("phone", "+351912345678")]


async def test_a_database_that_is_away_raises(store: ContactStore, pool: asyncpg.Pool) -> None:
    """Without a connection both writes raise DatabaseUnavailableError."""
    pool.terminate()
    with pytest.raises(DatabaseUnavailableError):
        await store.save_answer(PHONE, (MARIA,), NOW)
    with pytest.raises(DatabaseUnavailableError):
        await save(store, {"DadosBasicos": {"nome": "MARIA"}})
