"""Tier 1 over a plain dict: what it remembers, what replaces an entry, what is evicted."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from stream.domain.choice import PersonFound, next_step
from stream.domain.contact_facts import ContactFacts, KnownPerson, known_person
from stream.domain.events import Match
from stream.domain.freshness import Entry
from stream.domain.identity import Contact, Cpf, Email, Phone
from stream.domain.person import Candidate, person_from_work
from stream.local.people import population
from stream.lookup.table_cache import DECODED_ONE_IN, Lifetimes, TableCache, partition_of_key, table_key
from tests.support.fakes import NOW

SOMEONE, OTHER = population(2, seed=5)
PHONE = Phone("+55" + SOMEONE.phone)
EMAIL = Email(SOMEONE.email)
CONTACT = Contact(PHONE, EMAIL, None, PHONE.e164)
CANDIDATE = Candidate(SOMEONE.name.upper(), SOMEONE.cpf)
PERSON = known_person(person_from_work(SOMEONE.work(), SOMEONE.cpf, NOW))
T = NOW.timestamp()
KNOWN, UNKNOWN = 1000.0, 100.0


class Table:
    """A cache over a dict, with its writes to the changelog."""

    def __init__(self, capacity: int = 100) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.changelog: list[tuple[int, bytes, bytes | None]] = []
        lifetimes = Lifetimes(KNOWN, UNKNOWN, capacity)
        self.cache = TableCache(self.rows, lambda *record: self.changelog.append(record), lifetimes, lambda: 0.0)

    def remember(
        self, known: ContactFacts, person: KnownPerson | None = None, *, at: float = T, partition: int = 0
    ) -> None:
        """What a look-up of ``CONTACT`` learned."""
        self.cache.remember(partition, known, person, at)

    def replayed(self) -> dict[bytes, bytes]:
        """What recovery makes of the changelog."""
        rows: dict[bytes, bytes] = {}
        for _, key, value in self.changelog:
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        return rows


@pytest.fixture
def table() -> Table:
    return Table()


def answered(candidates: tuple[Candidate, ...] = (CANDIDATE,), *people: KnownPerson) -> ContactFacts:
    """The facts after the phone was asked for and the e-mail was looked up without a result."""
    return ContactFacts({PHONE.alias: candidates}, {EMAIL.alias: ()}, {one.cpf: one for one in people})


def test_an_answer_is_known_by_its_alias_and_by_its_cpf(table: Table) -> None:
    """The person is known by phone and CPF. The e-mail beside them is left to PostgreSQL."""
    table.remember(answered((CANDIDATE,), PERSON), PERSON)
    by_phone = table.cache.facts(0, Contact(PHONE, None, None, ""), T)
    by_email = table.cache.facts(0, Contact(None, EMAIL, None, ""), T)
    by_cpf = table.cache.facts(0, Contact(None, None, Cpf(SOMEONE.cpf), ""), T)
    assert by_phone.answers == {PHONE.alias: (CANDIDATE,)}
    assert by_email == ContactFacts(listed={EMAIL.alias: ()})
    assert [list(one.persons) for one in (by_phone, by_cpf)] == [[SOMEONE.cpf]] * 2
    assert by_phone.persons[SOMEONE.cpf].facts == PERSON.facts
    assert table.rows == table.replayed()


def test_people_listed_for_an_alias_are_among_its_facts(table: Table) -> None:
    """A hit considers a listed namesake just as a look-up does."""
    namesake = Candidate(SOMEONE.name.upper(), OTHER.cpf)
    known = answered((CANDIDATE,), PERSON)
    known.listed[PHONE.alias] = (namesake, CANDIDATE)
    table.remember(known, PERSON)
    assert table.cache.facts(0, CONTACT, T).listed == {PHONE.alias: (namesake,), EMAIL.alias: ()}
    assert table.cache.answer(0, CONTACT, SOMEONE.name, T) is None
    assert table.cache.answer(0, CONTACT, OTHER.name, T) is None


def test_an_alias_that_names_somebody_else_prevents_a_hit(table: Table) -> None:
    """The e-mail is known to be another person's, so the policy must decide."""
    table.remember(answered((CANDIDATE,), PERSON), PERSON)
    assert table.cache.answer(0, CONTACT, SOMEONE.name, T) is not None
    table.remember(ContactFacts(answers={EMAIL.alias: (Candidate(OTHER.name, OTHER.cpf),)}))
    assert table.cache.answer(0, CONTACT, SOMEONE.name, T) is None


def test_a_person_who_is_not_complete_expires_like_an_unknown_one(table: Table) -> None:
    """Only the candidate is known."""
    partial = replace(PERSON, complete=False)
    table.remember(answered((CANDIDATE,), partial), partial)
    assert table.cache.answer(0, CONTACT, SOMEONE.name, T + UNKNOWN - 1) is not None
    assert table.cache.answer(0, CONTACT, SOMEONE.name, T + UNKNOWN) is None


def test_partitions_do_not_share_entries(table: Table) -> None:
    """The memory store is one dict for all partitions."""
    table.remember(answered(()), partition=3)
    assert table.cache.get(3, PHONE.alias) is not None
    assert table.cache.get(0, PHONE.alias) is None
    assert [(partition, partition_of_key(key)) for partition, key, _ in table.changelog] == [(3, 3)] * 2


def test_the_oldest_unused_entry_is_evicted_first() -> None:
    """It is deleted from the table and from its changelog."""
    table = Table(capacity=2)
    for alias in ("p:1", "p:2"):
        table.remember(ContactFacts(answers={alias: ()}))
    assert table.cache.get(0, "p:1") is not None
    table.remember(ContactFacts(answers={"p:3": ()}))
    assert set(table.rows) == {table_key(0, "p:1"), table_key(0, "p:3")}
    assert (0, table_key(0, "p:2"), None) in table.changelog
    assert table.rows == table.replayed()


def test_a_use_gives_one_second_chance() -> None:
    """An entry that is used once and never again is evicted in the next round."""
    table = Table(capacity=2)
    for alias in ("p:1", "p:2"):
        table.remember(ContactFacts(answers={alias: ()}))
        assert table.cache.get(0, alias) is not None
    for alias in ("p:3", "p:4"):
        table.remember(ContactFacts(answers={alias: ()}))
    assert set(table.rows) == {table_key(0, "p:3"), table_key(0, "p:4")}


NAMES = st.sampled_from([SOMEONE.name, SOMEONE.name.split()[0], OTHER.name, "", "Cliente WhatsApp"])
CANDIDATES = st.sampled_from([(), (CANDIDATE,), (Candidate("", SOMEONE.cpf),), (Candidate(OTHER.name, OTHER.cpf),)])


@given(
    CANDIDATES | st.tuples(CANDIDATES, CANDIDATES).map(lambda both: both[0] + both[1]),
    st.sampled_from([None, PERSON, replace(PERSON, stale=True), replace(PERSON, cpf=OTHER.cpf)]),
    NAMES,
    st.sampled_from([CONTACT, replace(CONTACT, phone=None), replace(CONTACT, cpf=Cpf(SOMEONE.cpf))]),
    st.sampled_from([T, T + KNOWN - 1, T + KNOWN]),
)
def test_the_primary_entrys_answer_is_the_policys_answer(
    candidates: tuple[Candidate, ...], person: KnownPerson | None, name: str, contact: Contact, now: float
) -> None:
    """If the primary entry answers, the policy finds the same person with the same match."""
    table = Table()
    persons = {person.cpf: person} if person is not None else {}
    table.remember(ContactFacts(answers={PHONE.alias: candidates, EMAIL.alias: candidates}, persons=persons), person)
    answer = table.cache.answer(0, contact, name, now)
    if answer is None:
        return
    step = next_step(contact, name, table.cache.facts(0, contact, now))
    assert isinstance(step, PersonFound)
    assert (step.match, step.person.person, step.person.facts) == (answer.match, answer.person, answer.facts)
    assert not step.person.stale


def test_a_contact_that_comes_back_is_answered_by_its_primary_entry(table: Table) -> None:
    """It comes under the same name, so no facts are gathered."""
    table.remember(answered((CANDIDATE,), PERSON), PERSON)
    opened = table.cache.primary_entry(0, CONTACT, T)
    assert opened is not None
    answer = opened.answer(CONTACT, SOMEONE.name)
    assert answer is not None
    assert answer.match is Match.NAME
    assert opened.answer(CONTACT, SOMEONE.name) is answer, "the second time it is remembered"


def test_recovery_evicts_what_exceeds_the_capacity() -> None:
    """A larger worker's changelog does not overfill a smaller one."""
    big, small = Table(), Table(capacity=2)
    for alias in ("p:1", "p:2", "p:3", "p:4"):
        big.remember(ContactFacts(answers={alias: ()}))
    small.rows.update(big.rows)
    small.cache.recovered()
    assert len(small.cache) == 2
    assert [value for _, _, value in small.changelog] == [None, None]


def test_the_sweep_deletes_old_entries_and_keeps_stale_ones(table: Table) -> None:
    """An expired entry stays for one more lifetime for outages. A sweep deletes a limited number."""
    for alias in ("p:1", "p:2", "p:3"):
        table.remember(ContactFacts(answers={alias: ()}))
    assert table.cache.sweep(T + UNKNOWN + KNOWN) == 0
    assert table.cache.sweep(T + UNKNOWN + KNOWN + 1, limit=2) == 2
    assert len(table.cache) == 1
    assert table.cache.sweep(T + UNKNOWN + KNOWN + 1) == 1
    assert table.replayed() == table.rows == {}


def test_unknown_never_replaces_a_valid_known_entry(table: Table) -> None:
    """Once the known entry has expired, it does."""
    table.remember(answered((CANDIDATE,), PERSON), PERSON)
    table.remember(answered(()), at=T + KNOWN - 1)
    assert table.cache.facts(0, CONTACT, T + 1).answers[PHONE.alias] == (CANDIDATE,)
    table.remember(answered(()), at=T + KNOWN + 1)
    assert table.cache.facts(0, CONTACT, T + KNOWN + 2).answers[PHONE.alias] == ()


def test_known_replaces_unknown(table: Table) -> None:
    """A contact that becomes known is answered at once."""
    table.remember(answered(()))
    table.remember(answered((CANDIDATE,), PERSON), PERSON, at=T + 1)
    assert table.cache.facts(0, CONTACT, T + 1).answers[PHONE.alias] == (CANDIDATE,)


def test_a_corrupt_entry_is_skipped_and_swept(table: Table) -> None:
    """Bytes that can't be decoded answer nothing, and are overwritten or swept."""
    for alias in CONTACT.aliases:
        table.rows[table_key(0, alias)] = b"\x63not an entry"
    table.rows[b"no key of ours"] = b""
    table.cache.recovered()
    known = table.cache.facts(0, CONTACT, T)
    assert (known.answers, known.listed, known.persons) == ({}, {}, {})
    table.remember(answered((CANDIDATE,), PERSON), PERSON)
    assert table.cache.facts(0, CONTACT, T).answers[PHONE.alias] == (CANDIDATE,)
    table.cache.sweep(T)
    assert b"no key of ours" not in table.rows


def test_an_entry_whose_candidates_are_damaged_is_skipped(table: Table) -> None:
    """Damage inside an entry makes it unreadable as a whole."""
    table.remember(answered((CANDIDATE,), PERSON), PERSON)
    key = table_key(0, PHONE.alias)
    at = table.rows[key].index(b'[["')
    entry = table.rows[key][:at] + b"\xff\xff\xff" + table.rows[key][at + 3 : -4]
    table.rows[key] = entry + crc32(entry, crc32(key)).to_bytes(4, "big")
    table.cache.recovered()
    assert table.cache.get(0, PHONE.alias) is None


def test_a_decoded_entry_is_dropped_when_it_changes(table: Table) -> None:
    """A new, a deleted and a recovered entry are used at once, each on its partition."""
    for partition in (0, 1):
        table.remember(answered((CANDIDATE,), PERSON), PERSON, partition=partition)
        assert table.cache.primary_entry(partition, CONTACT, T) is not None
    before = table.cache.primary_entry(1, CONTACT, T)
    again = replace(PERSON, facts="others", fetched_at=PERSON.fetched_at + 1)
    table.remember(answered((CANDIDATE,), again), again)
    after = table.cache.primary_entry(0, CONTACT, T)
    assert after is not None
    assert after.entry.facts == "others"
    assert table.cache.primary_entry(1, CONTACT, T) is before
    table.cache.sweep(T + 3 * KNOWN)
    assert table.cache.primary_entry(0, CONTACT, T) is None
    assert table.cache.primary_entry(1, CONTACT, T) is None


def test_decoded_entries_are_limited_to_a_share_of_the_capacity(table: Table) -> None:
    """All are dropped when there are too many."""
    for partition in range(30):
        table.remember(answered((CANDIDATE,), PERSON), PERSON, partition=partition)
    first, again = ([table.cache.primary_entry(partition, CONTACT, T) for partition in range(30)] for _ in range(2))
    assert all(first)
    assert sum(one is other for one, other in zip(first, again, strict=True)) <= 100 // DECODED_ONE_IN + 1


def test_an_expired_entry_is_used_only_as_stale(table: Table) -> None:
    """During an outage its person is answered and marked as stale."""
    table.remember(answered((CANDIDATE,), PERSON), PERSON)
    assert table.cache.facts(0, CONTACT, T + KNOWN).persons == {}
    stale = table.cache.facts(0, CONTACT, T + KNOWN, stale=True)
    assert stale.persons[SOMEONE.cpf].stale


def test_a_stale_person_is_never_remembered_as_fresh(table: Table) -> None:
    """A stale answer gets no new lifetime."""
    old = replace(PERSON, stale=True)
    table.remember(ContactFacts(persons={old.cpf: old}), old)
    assert table.rows == {}


def test_the_same_facts_again_count_as_a_refresh(table: Table) -> None:
    """``Entry.refreshed`` counts how often the same facts were fetched."""
    for at in (T, T + 1, T + 2):
        table.remember(answered((CANDIDATE,), PERSON), PERSON, at=at)
    entry = table.cache.get(0, PHONE.alias)
    assert isinstance(entry, Entry)
    assert entry.refreshed == 2


def test_a_dead_end_expires_like_an_unknown_contact(table: Table) -> None:
    """A CPF that nobody knows is not asked for again before that."""
    table.remember(ContactFacts(dead_ends={OTHER.cpf}))
    who = Contact(None, None, Cpf(OTHER.cpf), "")
    assert table.cache.facts(0, who, T + UNKNOWN - 1).dead_ends == {OTHER.cpf}
    assert table.cache.facts(0, who, T + UNKNOWN).dead_ends == set()


def test_an_entry_under_another_key_answers_nobody(table: Table) -> None:
    """A copied changelog record answers for no other contact and on no other partition."""
    table.remember(answered((CANDIDATE,), PERSON), PERSON)
    value = table.rows[table_key(0, PHONE.alias)]
    for partition, alias in ((0, "p:+5511900000000"), (1, PHONE.alias)):
        table.rows[table_key(partition, alias)] = value
        table.cache.recovered()
        assert table.cache.get(partition, alias) is None


def test_a_damaged_entry_is_ignored(table: Table) -> None:
    """Whichever byte is changed, missing or added."""
    table.remember(answered((CANDIDATE,), PERSON), PERSON)
    key = table_key(0, PHONE.alias)
    value = table.rows[key]
    damaged = [value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :] for at in range(len(value))]
    for one in [*damaged, value[:-1], value + b"0", b"", b"x", value[4:], value * 2]:
        table.rows[key] = one
        table.cache.recovered()
        assert table.cache.get(0, PHONE.alias) is None
    table.rows[key] = value
    table.cache.recovered()
    assert table.cache.get(0, PHONE.alias) is not None
