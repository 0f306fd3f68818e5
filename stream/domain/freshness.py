"""The table's entry, its bytes, and how long it is fresh.

The layout of an entry: a version byte, then fixed-width numbers and lengths, then name, facts, CPF, candidates and
the person's JSON, which is copied into events without being parsed. An entry is never falsy and never pickled. In the
table a checksum over key and entry follows it. So a damaged changelog record, or one under another key, answers nobody.
"""

from __future__ import annotations

import struct
from datetime import datetime, timedelta
from enum import StrEnum
from zlib import crc32

import msgspec

from stream.domain.person import Candidate

VERSION = 2
EXPIRY_JITTER_SHARE = 0.1  # of a lifetime; lifetimes differ by it, so that entries do not expire together

# version, flags, refreshed, fetched_at, expires_at, then the lengths of name, facts, cpf, candidates, person
_HEAD = struct.Struct(">BBHddHBBII")
_CHECKSUM = struct.Struct(">I")
_KNOWN, _ASKED, _COMPLETE, _HAS_PERSON = 1, 2, 4, 8
_MAX_REFRESHED = 0xFFFF
_people_decoder = msgspec.json.Decoder(tuple[tuple[Candidate, ...], tuple[Candidate, ...]])
_people_encoder = msgspec.json.Encoder()


class Freshness(StrEnum):
    """Whether an entry can answer now."""

    FRESH = "fresh"
    STALE = "stale"
    ABSENT = "absent"


class Entry(msgspec.Struct, frozen=True):
    """What the table knows about one alias. Times are in epoch seconds; ``name`` is normalised.

    ``asked``: a source was asked for the alias, and ``candidates`` are whom it named. ``listed``: other people beside
    whom the alias was seen. An entry that is not ``asked`` has listed people only. ``cpf``, ``name``, ``facts`` and
    ``complete`` describe ``person``.
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
            min(self.refreshed, _MAX_REFRESHED),
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
        candidates, listed = _people_decoder.decode(value[candidates_at:person_at]) if lengths[3] else ((), ())
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
    """The entry's bytes as the table stores them under ``key``."""
    value = entry.encode()
    return value + _CHECKSUM.pack(crc32(value, crc32(key)))


def decode(value: bytes) -> Entry:
    """Decode what ``encode_with_checksum`` made, without checking the checksum. Raises ValueError on anything else."""
    return Entry.decode(value, len(value) - _CHECKSUM.size)


def checksum_ok(key: bytes, value: bytes) -> bool:
    """Whether ``value`` is undamaged and was written under this very key. Takes longer than ``decode``."""
    return value[-_CHECKSUM.size :] == _CHECKSUM.pack(crc32(value[: -_CHECKSUM.size], crc32(key)))


def freshness(entry: Entry | None, now: float) -> Freshness:
    """The freshness of an entry at ``now`` (epoch seconds)."""
    if entry is None:
        return Freshness.ABSENT
    return Freshness.FRESH if now < entry.expires_at else Freshness.STALE


def expiry(known: bool, now: float, ttl_known: float, ttl_unknown: float, jitter: float) -> float:  # noqa: FBT001
    """When an entry made now expires, in epoch seconds. ``jitter``, 0 to 1, shortens its life by up to a tenth."""
    return now + (ttl_known if known else ttl_unknown) * (1 - EXPIRY_JITTER_SHARE * jitter)


def newer(old: Entry | None, new: Entry, now: float | None = None) -> Entry:
    """Which of two entries to keep: the one fetched later; the new one on a tie; a known one over an unknown one.

    While the old entry is fresh, an unknown one does not replace a known one, nor a listed one an asked one.
    """
    if old is None or (now is not None and now >= old.expires_at):
        return new
    if old.known and not new.known and new.fetched_at < old.expires_at:
        return old
    if old.asked and not new.asked and new.fetched_at < old.expires_at:
        return old
    return old if old.fetched_at > new.fetched_at and old.known == new.known else new


def must_refresh(enriched_at: datetime, now: datetime, max_age: timedelta) -> bool:
    """Whether a stored person is so old that the provider must be asked again before the person answers."""
    return now - enriched_at > max_age
