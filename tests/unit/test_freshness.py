"""The table's entry: its bytes, its freshness, and which of two entries is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from stream.domain.freshness import Entry, Freshness, expiry, freshness, must_refresh, newer
from stream.domain.person import Candidate

DAY = 86_400.0
texts = st.text(max_size=40)
times = st.floats(0, 4e9)
candidates = st.lists(st.builds(Candidate, texts, texts), max_size=4).map(tuple)
entries = st.builds(
    Entry,
    known=st.booleans(),
    candidates=candidates,
    cpf=st.text("0123456789", max_size=11),
    name=texts,
    person=st.none() | st.binary(),
    facts=st.text("0123456789abcdef", max_size=24),
    complete=st.booleans(),
    fetched_at=times,
    expires_at=times,
    refreshed=st.integers(0, 65_535),
    listed=candidates,
)


def entry(fetched_at: float = 0.0, *, known: bool = True, lives: float = DAY) -> Entry:
    return Entry(
        known=known,
        candidates=(Candidate("ANA SOUZA", "52998224725"),) if known else (),
        cpf="52998224725" if known else "",
        name="ANA SOUZA" if known else "",
        person=b"{}" if known else None,
        facts="ab" if known else "",
        complete=known,
        fetched_at=fetched_at,
        expires_at=fetched_at + lives,
    )


@given(entries)
def test_an_entry_survives_its_bytes(one: Entry) -> None:
    """A decoded entry equals the encoded one; the bytes are never falsy and begin with the version."""
    value = one.encode()
    assert Entry.decode(value) == one
    assert value[0] == 2


@given(st.binary() | st.binary(min_size=33).map(lambda value: b"\x02" + value))
def test_any_bytes_are_an_entry_or_value_error(value: bytes) -> None:
    """Any bytes are decoded or raise ValueError, because another version may have written them."""
    try:
        entry = Entry.decode(value)
    except ValueError:
        return
    assert isinstance(entry, Entry)


@given(entries, st.data())
def test_a_damaged_entry_is_refused_or_read(one: Entry, data: st.DataObject) -> None:
    """A lost, added or changed byte raises ValueError at most; a wrong length always does."""
    value = one.encode()
    at = data.draw(st.integers(0, len(value) - 1))
    for damaged in (value[:at] + value[at + 1 :], value + b"x"):
        with pytest.raises(ValueError, match=r"."):
            Entry.decode(damaged)
    changed = bytearray(value)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        Entry.decode(bytes(changed))
    except ValueError:
        return


def test_the_name_is_at_a_fixed_place() -> None:
    """The name stands right after the head, so it can be compared without decoding the rest."""
    value = entry().encode()
    head = len(value) - len(b"ANA SOUZA" + b"ab" + b"52998224725" + b'[[["ANA SOUZA","52998224725"]],[]]' + b"{}")
    assert value[head:].startswith(b"ANA SOUZA")
    assert replace(entry(), name="X").encode()[head : head + 1] == b"X"


def test_a_count_that_is_full_stays_full() -> None:
    """The count of unchanged refreshes does not overflow."""
    assert Entry.decode(replace(entry(), refreshed=10**9).encode()).refreshed == 65_535


def test_an_entry_is_fresh_until_it_expires() -> None:
    """No entry is absent; an entry is fresh before its expiry and stale from then on."""
    assert freshness(None, 0.0) is Freshness.ABSENT
    assert freshness(entry(), DAY - 0.001) is Freshness.FRESH
    assert freshness(entry(), DAY) is Freshness.STALE


@given(times, st.floats(1, 1e6), st.floats(1, 1e6), st.floats(0, 1))
def test_a_life_is_its_ttl_less_a_tenth_at_most(
    now: float, ttl_known: float, ttl_unknown: float, jitter: float
) -> None:
    """Lifetimes differ by up to a tenth and never exceed the TTL."""
    for known, ttl in ((True, ttl_known), (False, ttl_unknown)):
        life = expiry(known, now, ttl_known, ttl_unknown, jitter) - now
        assert ttl * 0.9 - 1e-3 <= life <= ttl + 1e-3


def test_the_later_one_stays() -> None:
    """Of two entries of a kind the one fetched later is kept, in any order; on a tie the new one."""
    early, late = entry(0.0), entry(10.0)
    assert newer(None, early) is early
    assert newer(early, late) is newer(late, early) is late
    tie = entry(10.0)
    assert newer(late, tie) is tie


def test_unknown_never_replaces_a_known_that_is_good() -> None:
    """An unknown entry does not replace a known one that is fresh."""
    known = entry(0.0)
    assert newer(known, entry(10.0, known=False)) is known
    gone = entry(DAY + 1, known=False)
    assert newer(known, gone) is gone
    assert newer(entry(10.0, known=False), known) is known


def test_a_stored_person_is_refreshed_when_too_old() -> None:
    """A stored person is fetched again beyond the maximum age, not at it."""
    at = datetime(2026, 1, 31, tzinfo=UTC)
    assert not must_refresh(at, at + timedelta(days=180), timedelta(days=180))
    assert must_refresh(at, at + timedelta(days=180, seconds=1), timedelta(days=180))
