"""Tier 1: the table, a cache of who is behind an alias.

Its key is partition + alias: the runtime's store is one dict for all partitions, so without the prefix
one partition would overwrite another's entry. Losing the table costs PostgreSQL reads, never a paid call.

The table is the runtime's (assignment, recovery, after which ``recovered`` must be called); nobody else writes to it.
Every write also goes to its changelog through ``publish``.
An entry is what a source answered for an alias, or a person by CPF. Of an alias that nobody was asked for it holds who
is listed for it, so that a hit does not overlook them, but never answers with them: whether it has an owner PostgreSQL
alone knows (docs/matching.md).
When the capacity is reached, what was written first leaves first, unless it was used since (second chance, as
in CLOCK); expired entries are swept.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from stream.domain.choice import fast_match
from stream.domain.contact_facts import ContactFacts, KnownPerson
from stream.domain.events import Answer, Match, Outcome, Tier
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

Publish = Callable[[int, bytes, bytes | None], None]  # partition, key, value; None deletes
_UNSEEN, _WHOLE, _USED = range(3)  # what recovery brought is looked at once, at its first use
OPENED = 4  # one in so many entries is kept opened: those of people who come back soon
MAX_LISTED = 10  # people listed for an alias who are weighed against those whom a source named for it
MAX_NAMES = 16  # names that one alias came with whose answer is remembered


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long an entry is good, in seconds, and how many there may be."""

    known: float
    unknown: float
    capacity: int


class Opened(msgspec.Struct, eq=False):
    """An entry that was read lately, and what it has answered, by the lead's name."""

    expires_at: float  # the entry's: one object less to be looked at
    entry: Entry
    answers: dict[str, Answer | None] = {}
    found: Answer | None = None  # with its person; most names fit it alike

    def answer(self, contact: Contact, name: str) -> Answer | None:
        """What the entry of a contact's surest alias answers the lead ``name``; None where there is more to weigh.

        The name alone decides: whoever comes by one alias as the surest has a CPF, or nobody of them has.
        """
        if contact.area_code_assumed:
            return None
        answers = self.answers
        if name in answers:
            return answers[name]
        match = fast_match(contact, name, self.entry)
        if len(answers) >= MAX_NAMES:
            answers.clear()
        answers[name] = None if match is None else self._found(match)
        return answers[name]

    def _found(self, match: Match) -> Answer:
        if self.found is None or self.found.match is not match:
            self.found = Answer(Outcome.ENRICHED, Tier.CACHE, match, self.entry.person, self.entry.facts)
        return self.found


class TableCache:
    """Reads and writes the table; knows nothing of the runtime but the mapping it is given."""

    def __init__(
        self,
        table: MutableMapping[bytes, bytes],
        publish: Publish,
        lifetimes: Lifetimes,
        jitter: Callable[[], float],
    ) -> None:
        """``jitter`` gives a number from 0 to 1, so that entries made together do not expire together."""
        self._table = table
        self._publish = publish
        self._lifetimes = lifetimes
        self._jitter = jitter
        # In order of writing; a use gives a second chance, which costs a hit less than a move in the order would.
        self._recent: OrderedDict[bytes, int] = OrderedDict()
        self._opened: dict[int, dict[str, Opened]] = {}  # by partition and alias: a hit makes no key of the table
        self._most_opened = lifetimes.capacity // OPENED + 1

    def __len__(self) -> int:
        return len(self._table)

    def recovered(self) -> None:
        """Take over what recovery has brought back, in no order of use."""
        self._recent = OrderedDict.fromkeys(self._table, _UNSEEN)
        self._opened.clear()
        self._evict(self._lifetimes.capacity)

    def get(self, partition: int, alias: str) -> Entry | None:
        """The entry of one alias, whatever its age; an undecodable one is as good as none."""
        one = self._opened.get(partition, {}).get(alias)
        return self._read_entry(partition, alias) if one is None else one.entry

    def answer(self, partition: int, contact: Contact, name: str, now: float) -> Answer | None:
        """What the table answers at a glance: a sure name, and no other alias that names somebody else."""
        one = self.primary_entry(partition, contact, now)
        answer = None if one is None else one.answer(contact, name)
        if one is None or answer is None or len(contact.aliases) == 1:
            return answer
        other = self._peek(partition, contact.aliases[1])
        if other is None or now >= other.expires_at:
            return None  # PostgreSQL may know that it is somebody else's
        others = (*other.entry.candidates, *other.entry.listed)
        return answer if all(candidate.cpf == one.entry.cpf for candidate in others) else None

    def primary_entry(self, partition: int, contact: Contact, now: float) -> Opened | None:
        """The entry of a contact's surest alias, when it is fresh."""
        if not contact.aliases:
            return None
        one = self._peek(partition, contact.aliases[0])
        return one if one is not None and now < one.expires_at else None

    def _peek(self, partition: int, alias: str) -> Opened | None:
        try:
            return self._opened[partition][alias]
        except KeyError:
            return self._open(partition, alias)

    def _open(self, partition: int, alias: str) -> Opened | None:
        entry = self._read_entry(partition, alias)
        if entry is None:
            return None
        if sum(map(len, self._opened.values())) >= self._most_opened:
            self._opened.clear()  # simpler than to choose, and those who are asked for are back soon
        one = self._opened.setdefault(partition, {})[alias] = Opened(entry.expires_at, entry)
        return one

    def _read_entry(self, partition: int, alias: str) -> Entry | None:
        key = table_key(partition, alias)
        value = self._table.get(key)
        if value is None:
            return None
        if not (self._recent.get(key) or checksum_ok(key, value)):
            return None
        self._recent[key] = _USED
        try:
            return decode(value)
        except ValueError:
            return None

    def _close(self, key: bytes) -> None:
        """Forget that an entry was opened."""
        with suppress(ValueError):  # not written by us, so never opened
            self._opened.get(partition_of_key(key), {}).pop(key.partition(b"/")[2].decode(), None)

    def facts(self, partition: int, contact: Contact, now: float, *, stale: bool = False) -> ContactFacts:
        """What the table knows of a contact; with ``stale``, also what is past its time."""
        known = ContactFacts()
        for alias in contact.aliases:
            entry = self._usable(partition, alias, now, stale=stale)
            if entry is not None:
                self._read(partition, alias, entry, known, now, stale=stale)
        return known

    def _usable(self, partition: int, alias: str, now: float, *, stale: bool) -> Entry | None:
        entry = self.get(partition, alias)
        state = freshness(entry, now)
        return entry if state is Freshness.FRESH or (stale and state is Freshness.STALE) else None

    def _read(  # noqa: PLR0913 - one entry, and how to read it
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
                theirs = self._usable(partition, f"c:{candidate.cpf}", now, stale=stale)
                if theirs is not None:
                    self._add_person(theirs, known, now)
                if theirs is not None and not theirs.known:
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
        """Write what a look-up learned; ``person`` answered the lead."""
        for alias, candidates in known.answers.items():
            entry = self._answered(candidates, known, person, now)
            listed = tuple(one for one in known.listed.get(alias, ()) if one not in candidates)[:MAX_LISTED]
            self._put(partition, alias, msgspec.structs.replace(entry, listed=listed), now)
        for alias, people in known.listed.items():
            if alias not in known.answers:
                entry = self._answered((), known, None, now)
                listed = people[:MAX_LISTED]
                expires_at = self._expiry(now, known=True)
                entry = msgspec.structs.replace(entry, listed=listed, asked=False, expires_at=expires_at)
                self._put(partition, alias, entry, now)
        for cpf in known.dead_ends:
            self._put(partition, f"c:{cpf}", self._answered((), known, None, now), now)
        for one in known.persons.values():
            if not one.stale:
                self._put(partition, f"c:{one.cpf}", self._of(one, (Candidate(one.name, one.cpf),), now), now)

    def _answered(
        self, candidates: tuple[Candidate, ...], known: ContactFacts, person: KnownPerson | None, now: float
    ) -> Entry:
        """What was answered for an alias: with the person that answered, if it is one of them, else the first known."""
        cpfs = [candidate.cpf for candidate in candidates]
        if person is not None and person.cpf in cpfs:
            return self._of(person, candidates, now)
        for cpf in cpfs:
            if cpf in known.persons and not known.persons[cpf].stale:
                return self._of(known.persons[cpf], candidates, now)
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

    def _of(self, person: KnownPerson, candidates: tuple[Candidate, ...], now: float) -> Entry:
        return Entry(
            known=True,
            candidates=candidates,
            cpf=person.cpf,
            name=person.name,
            person=person.person,
            facts=person.facts,
            complete=person.complete,
            fetched_at=person.fetched_at,
            # Somebody whom the Work API did not know is asked for again before long (PostgreSQL says when).
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
        self._recent.pop(key, None)
        self._evict(self._lifetimes.capacity - 1)
        self._table[key] = value
        self._close(key)
        self._recent[key] = _WHOLE
        self._publish(partition, key, value)

    def _evict(self, most: int) -> None:
        while len(self._recent) > most:
            key, use = self._recent.popitem(last=False)
            if use == _USED:
                self._recent[key] = _WHOLE
                self._close(key)  # so that its next use is seen
            else:
                self._delete(key)

    def sweep(self, now: float, *, most: int = 1_000) -> int:
        """Delete entries long past their time, ``most`` at a go; returns how many. Stale ones serve an outage."""
        gone = list(itertools.islice(self._expired(now), most))
        for key in gone:
            self._recent.pop(key, None)
            self._delete(key)
        return len(gone)

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
        self._close(key)
        try:
            self._publish(partition_of_key(key), key, None)
        except ValueError:
            return  # not written by us: it leaves the memory, and its changelog record is skipped at each recovery


def table_key(partition: int, alias: str) -> bytes:
    """Key of an alias in the table."""
    return f"{partition}/{alias}".encode()


def partition_of_key(key: bytes) -> int:
    """The partition that a table key belongs to; ValueError when it is not one of ours."""
    return int(key.split(b"/", 1)[0])
