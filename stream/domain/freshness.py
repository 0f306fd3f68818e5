"""How long what is known is good, and the table's entry with its bytes.

The entry's layout: a version byte, then fixed-width numbers and lengths, then name, facts, CPF, candidates
and the person's JSON, which is spliced into events without being parsed. Never falsy, never pickled. In the
table a checksum over key and entry follows: whatever a changelog brings back, nobody is answered with another's.
"""

from __future__ import annotations

import struct
from datetime import datetime, timedelta
from enum import StrEnum
from zlib import crc32

import msgspec

from stream.domain.person import Candidate

VERSION = 2
SPREAD = 0.1  # share of a lifetime by which entries differ, so that they do not expire together

# version, flags, refreshed, fetched_at, expires_at, then the lengths of name, facts, cpf, candidates, person
_HEAD = struct.Struct(">BBHddHBBII")
_SEAL = struct.Struct(">I")
_KNOWN, _ASKED, _COMPLETE, _HAS_PERSON = 1, 2, 4, 8
_MOST_REFRESHED = 0xFFFF
_people = msgspec.json.Decoder(tuple[tuple[Candidate, ...], tuple[Candidate, ...]])
_people_encoder = msgspec.json.Encoder()


class Freshness(StrEnum):
    """What an entry is good for now."""

    FRESH = "fresh"
    STALE = "stale"
    ABSENT = "absent"


class Entry(msgspec.Struct, frozen=True):
    """What the table knows of one alias. Times in epoch seconds; ``name`` is normalised.

    ``candidates``: whom a source named for the alias. ``listed``: others beside whom it was seen; nothing else is known
    of an alias that was not ``asked``. ``cpf``, ``name``,
    ``facts``, ``complete`` are of ``person``.
    """

    known: bool
    candidates: tuple[Candidate, ...]
    cpf: str
    name: str
    person: bytes | None
    facts: str
    complete: bool
    fetched_at: float
    expires_at: float
    refreshed: int = 0
    listed: tuple[Candidate, ...] = ()
    asked: bool = True

    def encode(self) -> bytes:
        """The bytes of the table."""
        name, facts, cpf = self.name.encode(), self.facts.encode(), self.cpf.encode()
        has_people = self.candidates or self.listed
        candidates = _people_encoder.encode((self.candidates, self.listed)) if has_people else b""
        person = self.person or b""
        head = _HEAD.pack(
            VERSION,
            self._flags(),
            min(self.refreshed, _MOST_REFRESHED),
            self.fetched_at,
            self.expires_at,
            len(name),
            len(facts),
            len(cpf),
            len(candidates),
            len(person),
        )
        return b"".join((head, name, facts, cpf, candidates, person))

    def _flags(self) -> int:
        has_person = self.person is not None
        return self.known * _KNOWN | self.asked * _ASKED | self.complete * _COMPLETE | has_person * _HAS_PERSON

    @classmethod
    def decode(cls, value: bytes, end: int | None = None) -> Entry:
        """The reverse of ``encode``; raises ValueError on anything else. ``end``: where the entry ends in ``value``."""
        try:
            (version, flags, refreshed, fetched, expires, *lengths) = _HEAD.unpack_from(value)
        except struct.error as error:
            raise ValueError("not an entry") from error
        facts_at = _HEAD.size + lengths[0]
        cpf_at = facts_at + lengths[1]
        candidates_at = cpf_at + lengths[2]
        person_at = candidates_at + lengths[3]
        end = len(value) if end is None else end
        if version != VERSION or end != person_at + lengths[4]:
            raise ValueError("not an entry of this version")
        candidates, listed = _people.decode(value[candidates_at:person_at]) if lengths[3] else ((), ())
        return cls(
            flags & _KNOWN != 0,
            candidates,
            value[cpf_at:candidates_at].decode(),
            value[_HEAD.size : facts_at].decode(),
            value[person_at:end] if flags & _HAS_PERSON else None,
            value[facts_at:cpf_at].decode(),
            flags & _COMPLETE != 0,
            fetched,
            expires,
            refreshed,
            listed,
            flags & _ASKED != 0,
        )


def encode_with_checksum(key: bytes, entry: Entry) -> bytes:
    """The entry's bytes as they lie in the table under ``key``."""
    value = entry.encode()
    return value + _SEAL.pack(crc32(value, crc32(key)))


def decode(value: bytes) -> Entry:
    """The entry of what was encoded; raises ValueError on anything else."""
    return Entry.decode(value, len(value) - _SEAL.size)


def checksum_ok(key: bytes, value: bytes) -> bool:
    """Whether ``value`` is undamaged and was written under this very key. Costs more than reading it does."""
    return value[-_SEAL.size :] == _SEAL.pack(crc32(value[: -_SEAL.size], crc32(key)))


def freshness(entry: Entry | None, now: float) -> Freshness:
    """Judge an entry at ``now`` (epoch seconds)."""
    if entry is None:
        return Freshness.ABSENT
    return Freshness.FRESH if now < entry.expires_at else Freshness.STALE


def expiry(known: bool, now: float, ttl_known: float, ttl_unknown: float, jitter: float) -> float:  # noqa: FBT001
    """When an entry made now expires; ``jitter`` from 0 to 1 shortens its life by up to a tenth."""
    return now + (ttl_known if known else ttl_unknown) * (1 - SPREAD * jitter)


def newer(old: Entry | None, new: Entry, now: float | None = None) -> Entry:
    """Which of two entries stays: the one fetched later, and what is known over what is not.

    An unknown never replaces a known one that is still good; a tie goes to the new one.
    """
    if old is None or (now is not None and now >= old.expires_at):
        return new
    if old.known and not new.known and new.fetched_at < old.expires_at:
        return old
    if old.asked and not new.asked and new.fetched_at < old.expires_at:
        return old
    return old if old.fetched_at > new.fetched_at and old.known == new.known else new


def must_refresh(enriched_at: datetime, now: datetime, max_age: timedelta) -> bool:
    """Whether a stored person is too old to be answered without being asked for again."""
    return now - enriched_at > max_age
