"""Foreign numbers in a real PostgreSQL: they keep their plus, and never meet a Brazilian number of the same digits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from stream.domain.identity import Contact, Phone
from stream.domain.person import person_from_work
from stream.lookup.postgres import PostgresTier
from stream.store.contacts import ContactStore

E164 = Phone("+51987654022")
PERU, PORTO_ALEGRE = "+51 987 654 022", "(51) 98765-4022"
MARIA, JOSE = "52998224725", "11144477735"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def contact(typed: str) -> Contact:
    phone = Phone.parse(typed)
    assert phone is not None
    return Contact(phone, None, None, phone.e164)


async def people(tier: PostgresTier, typed: str) -> list[str]:
    return [known.cpf for known in (await tier.find(contact(typed))).known]


@pytest.mark.parametrize("legacy", ["51987654022", "5551987654022", "5187654022"])
async def test_a_foreign_number_is_not_a_legacy_row_of_the_same_digits(
    pool: asyncpg.Pool, party: Any, work_raw: Any, legacy: str
) -> None:
    """Digits without a plus are Brazilian: +51 987 654 022 is not (51) 98765-4022, however that is stored."""
    await party(MARIA, contacts=(("phone", legacy),), raw=work_raw)
    tier = PostgresTier(pool)
    assert await people(tier, PERU) == []
    assert await people(tier, PORTO_ALEGRE) == [MARIA]


async def test_a_foreign_number_alone_is_stored_and_found_with_its_plus(pool: asyncpg.Pool) -> None:
    """What came with a foreign number is found by it, and by nobody's Brazilian number."""
    raw = {"DadosBasicos": {"nome": "MARIA"}}
    await ContactStore(pool).save_person(
        (Phone("+51987654022"),), person_from_work(raw, MARIA, NOW), raw, "lead-1", NOW
    )
    assert await pool.fetchval("SELECT value FROM core.party_contacts") == "+51987654022"
    tier = PostgresTier(pool)
    assert await people(tier, PERU) == await people(tier, "0051 987654022") == [MARIA]
    assert await people(tier, PORTO_ALEGRE) == []


async def test_both_in_one_batch_stay_apart(pool: asyncpg.Pool, party: Any, work_raw: Any) -> None:
    """Two contacts whose digits are the same share a round trip and no answer."""
    await party(MARIA, contacts=(("phone", "51987654022"),), raw=work_raw)
    await party(JOSE, name="JOSE", contacts=(("phone", "+51987654022"),))
    tier = PostgresTier(pool)
    both = await asyncio.gather(people(tier, PORTO_ALEGRE), people(tier, PERU))
    assert both == [[MARIA], [JOSE]]


async def test_a_row_that_an_older_release_stored_without_the_plus_is_listed_for_brazil(pool: asyncpg.Pool) -> None:
    """Such a row is no longer the foreign number's; for the Brazilian number it answers only where the name fits."""
    raw = {"DadosBasicos": {"nome": "MARIA"}}
    await ContactStore(pool).save_person(
        (Phone("+51987654022"),), person_from_work(raw, MARIA, NOW), raw, "lead-1", NOW
    )
    await pool.execute("UPDATE core.party_contacts SET value = '51987654022'")
    tier = PostgresTier(pool)
    assert await people(tier, PERU) == []
    assert [known.listed for known in (await tier.find(contact(PORTO_ALEGRE))).known] == [True]


@pytest.mark.parametrize("listed", ["51987654022", "51 98765-4022"])
async def test_what_the_work_api_lists_is_brazilian(pool: asyncpg.Pool, listed: str) -> None:
    """Its phones are national digits: they are stored as such."""
    raw = {"DadosBasicos": {"nome": "MARIA"}, "telefones": [{"telefone": listed}]}
    await ContactStore(pool).save_person((), person_from_work(raw, MARIA, NOW), raw, "lead-1", NOW)
    assert await people(PostgresTier(pool), PORTO_ALEGRE) == [MARIA]
    assert await people(PostgresTier(pool), PERU) == []
