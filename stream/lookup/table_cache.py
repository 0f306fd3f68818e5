"""Tier 1: the table, a cache of who is behind an alias. Losing it costs reads from PostgreSQL, never a paid call.

Rule 1: the key is partition + alias. The runtime's store is one dict for all partitions, so without the prefix one
partition would overwrite another's entry.
Rule 2: the runtime assigns and recovers the table and must call ``recovered`` after each recovery. Only this module
writes to it, and publishes each write to the changelog.
Rule 3: an entry holds what a provider answered for an alias, or the person of a CPF. An alias for which no provider was
asked has an entry with the people listed for it. A hit takes them into account and never answers with them: only
PostgreSQL knows whether the alias has an owner (docs/matching.md).
Rule 4: above the capacity the entry that was written first is evicted, unless it was used since (second chance, as in
CLOCK). Expired entries are swept.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from stream.domain.contact_facts import ContactFacts, KnownPerson
from stream.domain.events import Answer
from stream.domain.freshness import (
    Entry,
    Freshness,
    checksum_ok,
    decode,
    encode_with_checksum,
    expiry,
    freshness,
    newer,
)
from stream.domain.identity import Contact
from stream.domain.person import Candidate
from stream.lookup.decoded_entry import DecodedEntry

Publish = Callable[[int, bytes, bytes | None], None]  # partition, key, value; None deletes
_UNVERIFIED, _VERIFIED, _USED = range(3)  # a recovered entry's checksum is verified at its first use
DECODED_ONE_IN = 4  # one in so many entries is kept decoded: those of contacts that come back soon
MAX_LISTED = 10  # people listed for an alias


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long an entry is valid: seconds if somebody is ``known``, seconds if nobody is (``unknown``).

    ``capacity``: the maximum number of entries.
    """

    known: float
    unknown: float
    capacity: int


class TableCache:
    """Reads and writes the table. Of the runtime it knows only the mapping that it is given."""

    def __init__(
        self,
        table: MutableMapping[bytes, bytes],
        publish: Publish,
        lifetimes: Lifetimes,
        jitter: Callable[[], float],
    ) -> None:
        """``jitter`` returns a number from 0 to 1, so that entries written together do not expire together."""
        self._table = table
        self._publish = publish
        self._lifetimes = lifetimes
        self._jitter = jitter
        # In order of writing. A use only sets a mark: that costs a hit less than to move the key to the end.
        self._usage: OrderedDict[bytes, int] = OrderedDict()
        self._decoded: dict[int, dict[str, DecodedEntry]] = {}  # by partition, alias: a hit builds no table key
        self._max_decoded = lifetimes.capacity // DECODED_ONE_IN + 1

    def __len__(self) -> int:
        return len(self._table)

    def recovered(self) -> None:
        """Start over with the recovered entries, which have no order of use."""
        self._usage = OrderedDict.fromkeys(self._table, _UNVERIFIED)
        self._decoded.clear()
        self._evict(self._lifetimes.capacity)

    def get(self, partition: int, alias: str) -> Entry | None:
        """Return the entry of one alias, also an expired one; None if there is none or it can't be decoded."""
        decoded = self._decoded.get(partition, {}).get(alias)
        return self._read_entry(partition, alias) if decoded is None else decoded.entry

    def answer(self, partition: int, contact: Contact, name: str, now: float) -> Answer | None:
        """Return the primary entry's answer, if the name is sure and the other alias names nobody else; else None."""
        primary = self.primary_entry(partition, contact, now)
        answer = None if primary is None else primary.answer(contact, name)
        if primary is None or answer is None or len(contact.aliases) == 1:
            return answer
        other = self._decoded_entry(partition, contact.aliases[1])
        if other is None or now >= other.expires_at:
            return None  # PostgreSQL may know that the other alias is somebody else's
        others = (*other.entry.candidates, *other.entry.listed)
        return answer if all(candidate.cpf == primary.entry.cpf for candidate in others) else None

    def primary_entry(self, partition: int, contact: Contact, now: float) -> DecodedEntry | None:
        """Return the entry of a contact's first alias, None if there is none or it has expired."""
        if not contact.aliases:
            return None
        decoded = self._decoded_entry(partition, contact.aliases[0])
        return decoded if decoded is not None and now < decoded.expires_at else None

    def _decoded_entry(self, partition: int, alias: str) -> DecodedEntry | None:
        try:
            return self._decoded[partition][alias]
        except KeyError:
            return self._decode_entry(partition, alias)

    def _decode_entry(self, partition: int, alias: str) -> DecodedEntry | None:
        entry = self._read_entry(partition, alias)
        if entry is None:
            return None
        if sum(map(len, self._decoded.values())) >= self._max_decoded:
            self._decoded.clear()  # simpler than to choose, and entries in use are soon decoded again
        decoded = self._decoded.setdefault(partition, {})[alias] = DecodedEntry(entry.expires_at, entry)
        return decoded

    def _read_entry(self, partition: int, alias: str) -> Entry | None:
        key = table_key(partition, alias)
        value = self._table.get(key)
        if value is None:
            return None
        if not (self._usage.get(key) or checksum_ok(key, value)):
            return None
        self._usage[key] = _USED
        try:
            return decode(value)
        except ValueError:
            return None

    def _forget_decoded(self, key: bytes) -> None:
        with suppress(ValueError):  # a key that is not ours was never decoded
            self._decoded.get(partition_of_key(key), {}).pop(key.partition(b"/")[2].decode(), None)

    def facts(self, partition: int, contact: Contact, now: float, *, stale: bool = False) -> ContactFacts:
        """Return what the table knows about a contact. With ``stale``, expired entries count as well."""
        known = ContactFacts()
        for alias in contact.aliases:
            entry = self._usable(partition, alias, now, stale=stale)
            if entry is not None:
                self._add_entry(partition, alias, entry, known, now, stale=stale)
        return known

    def _usable(self, partition: int, alias: str, now: float, *, stale: bool) -> Entry | None:
        entry = self.get(partition, alias)
        state = freshness(entry, now)
        return entry if state is Freshness.FRESH or (stale and state is Freshness.STALE) else None

    def _add_entry(  # noqa: PLR0913 - one entry, and how to read it
        self, partition: int, alias: str, entry: Entry, known: ContactFacts, now: float, *, stale: bool
    ) -> None:
        if not alias.startswith("c:"):
            known.listed[alias] = entry.listed
            if entry.asked:
                known.answers[alias] = entry.candidates
        elif not entry.known:
            known.dead_ends.add(alias[2:])
        self._add_person(entry, known, now)
        for candidate in entry.candidates:
            if candidate.cpf not in known.persons:
                by_cpf = self._usable(partition, f"c:{candidate.cpf}", now, stale=stale)
                if by_cpf is not None:
                    self._add_person(by_cpf, known, now)
                if by_cpf is not None and not by_cpf.known:
                    known.dead_ends.add(candidate.cpf)

    @staticmethod
    def _add_person(entry: Entry, known: ContactFacts, now: float) -> None:
        if entry.person is not None:
            known.persons[entry.cpf] = KnownPerson(
                cpf=entry.cpf,
                name=entry.name,
                person=entry.person,
                facts=entry.facts,
                complete=entry.complete,
                fetched_at=entry.fetched_at,
                stale=freshness(entry, now) is not Freshness.FRESH,
            )

    def remember(self, partition: int, known: ContactFacts, person: KnownPerson | None, now: float) -> None:
        """Write what a look-up learned. ``person`` is the one that answered the lead, if any."""
        for alias, candidates in known.answers.items():
            entry = self._entry_of_answer(candidates, known, person, now)
            listed = tuple(one for one in known.listed.get(alias, ()) if one not in candidates)[:MAX_LISTED]
            self._put(partition, alias, msgspec.structs.replace(entry, listed=listed), now)
        for alias, people in known.listed.items():
            if alias not in known.answers:
                entry = self._entry_of_answer((), known, None, now)
                listed = people[:MAX_LISTED]
                expires_at = self._expiry(now, known=True)
                entry = msgspec.structs.replace(entry, listed=listed, asked=False, expires_at=expires_at)
                self._put(partition, alias, entry, now)
        for cpf in known.dead_ends:
            self._put(partition, f"c:{cpf}", self._entry_of_answer((), known, None, now), now)
        for learned in known.persons.values():
            if not learned.stale:
                candidates = (Candidate(learned.name, learned.cpf),)
                entry = self._entry_of_person(learned, candidates, now)
                self._put(partition, f"c:{learned.cpf}", entry, now)

    def _entry_of_answer(
        self, candidates: tuple[Candidate, ...], known: ContactFacts, person: KnownPerson | None, now: float
    ) -> Entry:
        """Return an alias's entry with its candidates and one person: who answered the lead, else the first known one.

        The person must be among the candidates.
        """
        cpfs = [candidate.cpf for candidate in candidates]
        if person is not None and person.cpf in cpfs:
            return self._entry_of_person(person, candidates, now)
        for cpf in cpfs:
            if cpf in known.persons and not known.persons[cpf].stale:
                return self._entry_of_person(known.persons[cpf], candidates, now)
        return Entry(
            known=bool(candidates),
            candidates=candidates,
            cpf="",
            name="",
            person=None,
            facts="",
            complete=False,
            fetched_at=now,
            expires_at=self._expiry(now, known=bool(candidates)),
            refreshed=0,
        )

    def _entry_of_person(self, person: KnownPerson, candidates: tuple[Candidate, ...], now: float) -> Entry:
        return Entry(
            known=True,
            candidates=candidates,
            cpf=person.cpf,
            name=person.name,
            person=person.person,
            facts=person.facts,
            complete=person.complete,
            fetched_at=person.fetched_at,
            # A person without the Work API's part expires early: PostgreSQL says when the Work API is asked again.
            expires_at=self._expiry(now, known=person.complete),
            refreshed=0,
        )

    def _expiry(self, now: float, *, known: bool) -> float:
        return expiry(known, now, self._lifetimes.known, self._lifetimes.unknown, self._jitter())

    def _put(self, partition: int, alias: str, entry: Entry, now: float) -> None:
        key = table_key(partition, alias)
        old = self.get(partition, alias)
        best = newer(old, entry, now)
        if best is old:
            return
        if old is not None and old.facts == entry.facts:
            best = msgspec.structs.replace(best, refreshed=old.refreshed + 1)
        value = encode_with_checksum(key, best)
        self._usage.pop(key, None)
        self._evict(self._lifetimes.capacity - 1)
        self._table[key] = value
        self._forget_decoded(key)
        self._usage[key] = _VERIFIED
        self._publish(partition, key, value)

    def _evict(self, limit: int) -> None:
        while len(self._usage) > limit:
            key, use = self._usage.popitem(last=False)
            if use == _USED:
                self._usage[key] = _VERIFIED
                self._forget_decoded(key)  # else the next use would not set the mark
            else:
                self._delete(key)

    def sweep(self, now: float, *, limit: int = 1_000) -> int:
        """Delete at most ``limit`` entries and return how many.

        An entry is deleted only when it expired a lifetime ago: a stale one is still an answer during an outage.
        """
        expired = list(itertools.islice(self._expired(now), limit))
        for key in expired:
            self._usage.pop(key, None)
            self._delete(key)
        return len(expired)

    def _expired(self, now: float) -> Iterator[bytes]:
        keep = self._lifetimes.known
        for key, value in list(self._table.items()):
            try:
                if decode(value).expires_at + keep < now:
                    yield key
            except ValueError:
                yield key

    def _delete(self, key: bytes) -> None:
        self._table.pop(key, None)
        self._forget_decoded(key)
        try:
            self._publish(partition_of_key(key), key, None)
        except ValueError:
            return  # a key that is not ours has no partition to publish to: it is deleted from memory only


def table_key(partition: int, alias: str) -> bytes:
    """Return the key of an alias in the table."""
    return f"{partition}/{alias}".encode()


def partition_of_key(key: bytes) -> int:
    """Return the partition of a table key. Raise ValueError if the key is not ours."""
    return int(key.split(b"/", 1)[0])
