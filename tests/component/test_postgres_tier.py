"""Tier 2 finds whom PostgreSQL knows, whatever the spelling, and shares its round trips."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from stream.domain.errors import DatabaseUnavailableError
from stream.domain.identity import Contact, Cpf, Email, Phone
from stream.domain.person import Candidate, StoredAnswer, StoredFacts, person_from_work
from stream.lookup.postgres import MAX_CONTACTS_PER_QUERY, MAX_PARTIES_PER_SPELLING, MAX_RUNNING_QUERIES, PostgresTier
from stream.store.contacts import ContactStore
from stream.store.queries import sql

CPF = "52998224725"
OTHER_CPF = "11144477735"
NO_CHECK_DIGITS = "52998224700"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LIMIT = 60.0  # seconds for what must happen


def contact(phone: str = "", email: str = "", cpf: str = "") -> Contact:
    parsed = Phone.parse(phone), Email.parse(email), Cpf.parse(cpf)
    return Contact(*parsed, key=phone or email or cpf)


MARIA = contact("(11) 98765-4321")


@pytest.fixture
def tier(pool: asyncpg.Pool) -> PostgresTier:
    return PostgresTier(pool)


class Watched:
    """The test's pool, with a gate that holds its statements up and a list of what they asked for."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.asked: list[list[str]] = []
        self.gate = asyncio.Event()
        self.broken = False

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Remember the phones of ``find_people``, wait for the gate, ask the database."""
        if query == sql("find_people"):
            self.asked.append(arguments[0])
        await self.gate.wait()
        if self.broken:
            raise ConnectionResetError
        rows: list[asyncpg.Record] = await self.pool.fetch(query, *arguments)
        return rows

    def tier(self) -> PostgresTier:
        """A tier on this pool."""
        return PostgresTier(self)  # type: ignore[arg-type]


@pytest.fixture
def watched(pool: asyncpg.Pool) -> Watched:
    return Watched(pool)


# The twelve defects: numbers 1, 3, 5 and 6 are about what is known in the database.


async def test_a_party_that_was_never_enriched_is_only_a_cpf(tier: PostgresTier, party: Any, work_raw: Any) -> None:
    """Whatever lies in its payload, a party without ``enriched`` gives its CPF and no person."""
    await party(enriched=False, raw=work_raw)
    await party(cpf=OTHER_CPF, name="JOSE", enriched=None, raw=work_raw)
    known = (await tier.find(MARIA)).known
    assert sorted((one.cpf, one.raw, one.enriched_at) for one in known) == [(OTHER_CPF, None, None), (CPF, None, None)]


@pytest.mark.parametrize("stored", ["11987654321", "5511987654321", "1187654321", "551187654321"])
async def test_a_phone_is_found_in_every_spelling(tier: PostgresTier, party: Any, work_raw: Any, stored: str) -> None:
    """However it is stored and however it is typed, it is one phone."""
    await party(contacts=(("phone", stored),), raw=work_raw)
    for typed in ("(11) 98765-4321", "+5511987654321", "011 98765 4321", "11 8765-4321", "0055 11 98765-4321"):
        (known,) = (await tier.find(contact(typed))).known
        assert (known.alias, known.cpf, known.raw) == ("p:+5511987654321", CPF, work_raw), typed


async def test_the_payload_is_read_where_normalised_data_has_none(
    tier: PostgresTier, pool: asyncpg.Pool, party: Any, work_raw: Any
) -> None:
    """Legacy rows have ``{}`` in normalized_data and the answer in raw_payload."""
    normalised: object
    for normalised in ({}, None, {"lead_id": "1"}, [], "text"):
        await party(raw=work_raw, normalised=normalised)
        (known,) = (await tier.find(MARIA)).known
        by_cpf = await tier.find_by_cpf(Cpf(CPF))
        assert known.raw == work_raw, normalised
        assert known.enriched_at is not None
        assert by_cpf is not None
        assert by_cpf.raw == work_raw, normalised
        await pool.execute("TRUNCATE core.parties CASCADE")


async def test_normalised_data_counts_where_it_has_an_answer(tier: PostgresTier, party: Any, work_raw: Any) -> None:
    """A row that somebody normalised is read from there."""
    await party(raw={"lead_id": "1"}, normalised=work_raw)
    (known,) = (await tier.find(MARIA)).known
    assert known.raw == work_raw


async def test_an_enriched_party_without_an_answer_is_only_a_cpf(tier: PostgresTier, party: Any) -> None:
    """``enriched`` alone is no person: an empty message must not come of it."""
    raw: object
    for raw in ({}, {"lead_id": "1"}, {"DadosBasicos": None}, {"DadosBasicos": "x"}, [], "x", None):
        await party(raw=raw, normalised={})
    known = (await tier.find(MARIA)).known
    assert [(one.cpf, one.raw, one.enriched_at) for one in known] == [(CPF, None, None)] * 7


async def test_the_email_is_tried_too(tier: PostgresTier, party: Any, work_raw: Any) -> None:
    """A contact whose phone nobody knows is found by its e-mail; with both, both are answered, the phone first."""
    await party(contacts=(("email", "maria@example.com"),), raw=work_raw)
    both = contact("11987654321", "Maria@Example.com")
    (known,) = (await tier.find(both)).known
    assert (known.alias, known.cpf) == ("e:maria@example.com", CPF)
    await party(cpf=OTHER_CPF, name="JOSE")
    assert [(one.alias, one.cpf) for one in (await tier.find(both)).known] == [
        ("p:+5511987654321", OTHER_CPF),
        ("e:maria@example.com", CPF),
    ]


# What is found


async def test_the_type_must_match(tier: PostgresTier, party: Any) -> None:
    """A phone is a phone or a WhatsApp number, an e-mail an e-mail; anything else is a mistake and not found."""
    for name, kind, value in (
        ("phone", "phone", "11987654321"),
        ("whatsapp", "whatsapp", "11987654321"),
        ("wrong", "email", "11987654321"),
        ("email", "email", "maria@example.com"),
        ("wrong", "phone", "maria@example.com"),
        ("wrong", "whatsapp", "maria@example.com"),
    ):
        await party(name=name, contacts=((kind, value),))
    known = (await tier.find(contact("11987654321", "maria@example.com"))).known
    assert sorted(one.name for one in known) == ["email", "phone", "whatsapp"]


async def test_a_party_without_a_usable_cpf_is_nobody(tier: PostgresTier, party: Any, work_raw: Any) -> None:
    """Companies, lost digits and placeholders are not people."""
    for cpf in (None, "", "12345678000195", "123", "00000000000", "11111111111"):
        await party(cpf=cpf, raw=work_raw)
    assert await tier.find(MARIA) == StoredFacts()


async def test_a_punctuated_cpf_is_read(tier: PostgresTier, party: Any, work_raw: Any) -> None:
    """A legacy CPF with dots gives eleven digits, by contact and by CPF."""
    await party(cpf="529.982.247-25", raw=work_raw)
    (known,) = (await tier.find(MARIA)).known
    by_cpf = await tier.find_by_cpf(Cpf(CPF))
    assert by_cpf is not None
    assert known.cpf == by_cpf.cpf == CPF
    assert by_cpf.raw == work_raw


async def test_several_parties_of_one_phone_are_all_found(tier: PostgresTier, party: Any, work_raw: Any) -> None:
    """A couple shares a phone: the name settles it later, so both are given, the one enriched last first."""
    await party(raw=work_raw, age="9 days")
    await party(cpf=OTHER_CPF, name="JOSE LIMA", raw=work_raw, age="1 day")
    assert [one.name for one in (await tier.find(MARIA)).known] == ["JOSE LIMA", "MARIA DE SOUZA LIMA"]


async def test_a_phone_that_a_crowd_shares_is_read_in_part(tier: PostgresTier, pool: asyncpg.Pool) -> None:
    """Of hundreds of parties behind one number only so many are read, the enriched ones before the others."""
    await pool.execute(
        "WITH p AS (INSERT INTO core.parties (cpf_cnpj, full_name, enriched)"
        "           SELECT '52998224725', 'N' || n, n > 995 FROM generate_series(1, 1000) n RETURNING id)"
        " INSERT INTO core.party_contacts (party_id, contact_type, value) SELECT id, 'phone', '11987654321' FROM p"
    )
    known = (await tier.find(MARIA)).known
    assert len(known) == MAX_PARTIES_PER_SPELLING
    assert {f"N{number}" for number in range(996, 1001)} <= {one.name for one in known}


async def test_what_was_only_listed_is_marked(
    tier: PostgresTier, pool: asyncpg.Pool, party: Any, work_raw: Any
) -> None:
    """Aliases of the lead and of the Work API answer only when the name fits; asked and legacy ones always."""
    store = ContactStore(pool)
    await store.save_answer(Phone("+5511987654321"), (Candidate("MARIA", CPF),), NOW)
    lead = contact("11987654321", "maria@example.com")
    await store.save_person((lead.phone, lead.email), person_from_work(work_raw, CPF, NOW), work_raw, "1", NOW)
    await party(cpf=OTHER_CPF, contacts=(("phone", "1133334444"),))
    assert [one.listed for one in (await tier.find(lead)).known] == [False, True]
    listed = {one.cpf: one.listed for one in (await tier.find(contact("11 3333-4444"))).known}
    assert listed == {CPF: True, OTHER_CPF: False}


async def test_what_was_stored_is_found(tier: PostgresTier, pool: asyncpg.Pool, work_raw: Any) -> None:
    """Answers and people come back as they were saved: names, order, instants."""
    store = ContactStore(pool)
    candidates = (Candidate("MARIA", CPF), Candidate("JOSÉ", NO_CHECK_DIGITS))
    await store.save_answer(Phone("+5511987654321"), candidates, NOW)
    await store.save_answer(Email("maria@example.com"), (), NOW)
    await store.save_person((MARIA.phone,), person_from_work(work_raw, CPF, NOW), work_raw, "1", NOW)
    found = await tier.find(contact("11987654321", "maria@example.com"))
    assert found.answers == (
        StoredAnswer("p:+5511987654321", candidates, NOW),
        StoredAnswer("e:maria@example.com", (), NOW),
    )
    assert [(one.cpf, one.enriched_at) for one in found.known] == [(CPF, NOW), (NO_CHECK_DIGITS, None)]
    by_cpf = await tier.find_by_cpf(Cpf(NO_CHECK_DIGITS))
    assert by_cpf is not None
    assert (by_cpf.alias, by_cpf.name, by_cpf.listed) == ("", "JOSÉ", False)


async def test_nobody_is_found(tier: PostgresTier) -> None:
    """Unknown contacts, and contacts without phone and e-mail, give nothing."""
    assert await tier.find(MARIA) == StoredFacts()
    assert await tier.find(contact(cpf=CPF)) == StoredFacts()
    assert await tier.find_by_cpf(Cpf(CPF)) is None


async def test_of_several_parties_of_a_cpf_the_person_is_taken(tier: PostgresTier, party: Any, work_raw: Any) -> None:
    """Legacy data has several: the one that has an answer, the newest first, before those that only say enriched."""
    await party(name="A", enriched=False)
    await party(name="B", raw={}, age="1 hour")
    await party(name="C", raw=work_raw, age="9 days")
    await party(name="D", raw=work_raw, age="2 days")
    known = await tier.find_by_cpf(Cpf(CPF))
    assert known is not None
    assert (known.name, known.raw) == ("D", work_raw)


async def test_a_payload_that_cannot_be_read_harms_nobody_else(
    tier: PostgresTier, pool: asyncpg.Pool, party: Any, work_raw: Any
) -> None:
    """A number that no float holds makes its own row a mere CPF; whoever is in the same batch is answered."""
    broken = await party(raw=work_raw)
    await pool.execute(
        "UPDATE core.party_enrichments"
        " SET raw_payload = jsonb_set(raw_payload, '{n}', ('1' || repeat('0', 400))::jsonb) WHERE party_id = $1",
        broken,
    )
    await party(cpf=OTHER_CPF, contacts=(("phone", "11912345678"),), raw=work_raw)
    first, second = await asyncio.gather(tier.find(MARIA), tier.find(contact("11912345678")))
    assert first.known[0].raw is None
    assert second.known[0].raw == work_raw


# Batches


async def test_an_idle_tier_asks_at_once(watched: Watched) -> None:
    """A lone contact waits for nobody."""
    watched.gate.set()
    tier = watched.tier()
    for _ in range(3):
        await tier.find(MARIA)
    assert len(watched.asked) == 3


async def test_contacts_that_come_during_a_query_share_the_next_one(
    watched: Watched, party: Any, work_raw: Any
) -> None:
    """While queries are in flight the next contacts gather; they leave together and each gets its own answer."""
    await party(contacts=(("phone", "11912340007"),), raw=work_raw)
    tier = watched.tier()
    first = []
    for number in range(MAX_RUNNING_QUERIES):
        first.append(asyncio.create_task(tier.find(contact(f"119876500{number:02}"))))
        await _asked(watched, number + 1)
    later = [asyncio.create_task(tier.find(contact(f"119123400{number:02}"))) for number in range(20)]
    await asyncio.sleep(0)
    assert len(watched.asked) == MAX_RUNNING_QUERIES
    watched.gate.set()
    async with asyncio.timeout(LIMIT):
        found = await asyncio.gather(*later)
        await asyncio.gather(*first)
    assert [one.known[0].cpf if one.known else "" for one in found] == ["", "", "", "", "", "", "", CPF] + [""] * 12
    assert len(watched.asked) == MAX_RUNNING_QUERIES + 1


async def _asked(watched: Watched, queries: int) -> None:
    """Wait until so many queries are in lookup."""
    async with asyncio.timeout(LIMIT):
        while len(watched.asked) < queries:  # noqa: ASYNC110 - the list is the test's, its readers are many
            await asyncio.sleep(0)


async def test_a_query_is_bounded(watched: Watched) -> None:
    """A thousand contacts at once are asked for in queries of at most 64, each contact once."""
    watched.gate.set()
    tier = watched.tier()
    contacts = [contact(f"1198765{number:04}") for number in range(1_000)]
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(*(tier.find(one) for one in contacts))
    nationals = [[value for value in phones if len(value) == 11] for phones in watched.asked]
    assert max(map(len, nationals)) <= MAX_CONTACTS_PER_QUERY
    assert len(watched.asked) <= 1_000 // MAX_CONTACTS_PER_QUERY + MAX_RUNNING_QUERIES
    asked = [value for values in nationals for value in values]
    assert sorted(asked) == sorted(one.phone.national for one in contacts if one.phone)


async def test_a_contact_that_gave_up_disturbs_nobody(watched: Watched) -> None:
    """A look-up that its deadline ended leaves the batch's other contacts their answers."""
    tier = watched.tier()
    patient, hasty = asyncio.create_task(tier.find(MARIA)), asyncio.create_task(tier.find(contact("11912345678")))
    await _asked(watched, 1)
    hasty.cancel()
    watched.gate.set()
    async with asyncio.timeout(LIMIT):
        assert await patient == StoredFacts()
    assert hasty.cancelled()
    assert await tier.find(MARIA) == StoredFacts()


async def test_an_outage_is_told_to_the_whole_batch_and_ends_with_it(watched: Watched) -> None:
    """Every contact of the batch learns that the database is away; the next one is answered when it is back."""
    watched.broken = True
    watched.gate.set()
    tier = watched.tier()
    results = await asyncio.gather(*(tier.find(MARIA) for _ in range(100)), return_exceptions=True)
    assert [type(one) for one in results] == [DatabaseUnavailableError] * 100
    watched.broken = False
    assert await tier.find(MARIA) == StoredFacts()


async def test_a_closed_pool_is_an_outage(tier: PostgresTier, pool: asyncpg.Pool) -> None:
    """Both ways in say so."""
    pool.terminate()
    with pytest.raises(DatabaseUnavailableError):
        await tier.find(MARIA)
    with pytest.raises(DatabaseUnavailableError):
        await tier.find_by_cpf(Cpf(CPF))


async def test_a_database_without_tables_is_told_as_an_outage(pool: asyncpg.Pool, tier: PostgresTier) -> None:
    """A missing migration parks webhooks: it loses none."""
    await pool.execute("DROP TABLE stream.answers")
    with pytest.raises(DatabaseUnavailableError, match="UndefinedTableError"):
        await tier.find(MARIA)


async def test_stale_is_not_decided_here(tier: PostgresTier, party: Any, work_raw: Any) -> None:
    """A person enriched a year ago is given with its date; what that means is the look-up chain's."""
    await party(raw=work_raw, age="365 days")
    (known,) = (await tier.find(MARIA)).known
    assert known.enriched_at is not None
    assert datetime.now(UTC) - known.enriched_at > timedelta(days=364)
