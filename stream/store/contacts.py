"""Stores paid answers: the candidates of Diretrix and the people of the Work API.

Every write is idempotent and one transaction. It uses the ``core`` schema of production, so that the replaced service
can read the rows; the Work API's answer goes into both payload columns. A phone is stored as production stores most of
them: national digits without the 55. A contact that is stored in another spelling keeps it. A foreign number keeps its
``+``, because digits alone mean a Brazilian number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from stream.domain.identity import Cpf, Email, Phone
from stream.domain.json_sanitise import MAX_INT, MIN_INT
from stream.domain.names import normalise
from stream.domain.person import Candidate, Person
from stream.domain.provider import Provider
from stream.store.pool import database_errors
from stream.store.queries import sql

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ContactRow:
    """A contact to store. ``spellings``: the forms in which it may be stored already."""

    kind: str
    value: str
    spellings: tuple[str, ...]
    whatsapp: bool
    source: str


class ContactStore:
    """Writes parties, their contacts, enrichments and Diretrix's answers. Methods raise DatabaseUnavailableError."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def save_answer(self, alias: Phone | Email, candidates: tuple[Candidate, ...], asked_at: datetime) -> None:
        """Store Diretrix's answer for an alias, and each candidate as a party that is not enriched.

        Does nothing if a newer answer is stored.
        """
        pairs = [[_storable_text(candidate.name), candidate.cpf] for candidate in candidates]
        with database_errors():
            if not candidates:  # one statement is a transaction by itself: this saves two round trips
                await self._pool.execute(sql("save_answer"), alias.alias, pairs, asked_at)
                return
            async with self._pool.acquire() as connection, connection.transaction():
                if await connection.fetchval(sql("save_answer"), alias.alias, pairs, asked_at) is None:
                    return  # a newer answer is stored: this write has waited for the database
                # Sorted, so that two workers lock rows in the same order and can't deadlock.
                for candidate in sorted(candidates, key=lambda one: one.cpf):
                    party = await _party(connection, candidate.cpf, candidate.name)
                    await _save_contacts(connection, party, [_row(alias, Provider.DIRETRIX)])

    async def save_person(
        self, aliases: tuple[Phone | Email, ...], person: Person, raw: dict[str, Any], lead_id: str, at: datetime
    ) -> None:
        """Store a person and the Work API's answer ``raw`` as received.

        ``aliases``: the lead's aliases that are known to be the person's. The answer's contacts are stored as well.
        """
        payload = _storable_json({**raw, "lead_id": lead_id})
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                party = await _party(connection, person.cpf, person.name)
                await _complete(connection, party, person, at)
                if not await connection.fetchval(sql("update_enrichment"), party, payload, at):
                    await connection.execute(sql("insert_enrichment"), party, payload, at)
                await _save_contacts(connection, party, _rows(aliases, person))

    async def save_unanswered(self, cpf: Cpf, reason: str, until: datetime) -> None:
        """Store until when the Work API is not asked for a CPF.

        ``reason``: ``unknown``, or ``mismatch`` if it answered with another person's record.
        """
        with database_errors():
            await self._pool.execute(sql("save_unanswered"), cpf.digits, reason, until)


async def _party(connection: Any, cpf: str, name: str) -> UUID:
    """The party of a CPF, which is inserted if there is none. The CPF is locked until the transaction ends."""
    await connection.execute(sql("lock_cpf"), cpf)
    party: UUID | None = await connection.fetchval(sql("party_of_cpf"), spellings_of_cpf(cpf))
    if party is None:
        party = await connection.fetchval(sql("insert_party"), cpf, _storable_text(name), normalise(name))
    if party is None:
        raise RuntimeError("PostgreSQL inserted a party and returned no id")
    return party


async def _complete(connection: Any, party: UUID, person: Person, at: datetime) -> None:
    await connection.execute(
        sql("complete_party"),
        party,
        _storable_text(person.name),
        normalise(person.name),
        person.sex,
        date.fromisoformat(person.birth_date) if person.birth_date else None,
        _storable_text(person.mother_name) if person.mother_name else None,
        at,
    )


async def _save_contacts(connection: Any, party: UUID, rows: list[ContactRow]) -> None:
    """Add the contacts that are missing. A contact that is stored in any spelling is not added in another."""
    existing = {row["value"] for row in await connection.fetch(sql("contacts_of_party"), party)}
    merged = _merge(rows, existing)
    if merged:
        await connection.execute(
            sql("save_contacts"),
            party,
            [row.kind for row in merged],
            [row.value for row in merged],
            [row.whatsapp for row in merged],
            [row.source for row in merged],
        )


def _merge(rows: list[ContactRow], existing: set[str]) -> list[ContactRow]:
    """Each contact once, in the stored spelling if there is one. The first source counts."""
    merged: dict[tuple[str, str], ContactRow] = {}
    for row in rows:
        value = next((spelling for spelling in row.spellings if spelling in existing), row.value)
        first = merged.get((row.kind, value), row)
        merged[row.kind, value] = replace(first, value=value, whatsapp=first.whatsapp or row.whatsapp)
    return list(merged.values())


def _rows(aliases: tuple[Phone | Email, ...], person: Person) -> list[ContactRow]:
    """The lead's aliases, then the contacts that the Work API lists for the person."""
    rows = [_row(alias, "lead") for alias in aliases]
    rows += [_row(Phone(phone.number), "work_api", whatsapp=phone.whatsapp) for phone in person.phones]
    rows += [_row(Email(address), "work_api") for address in person.emails]
    return rows


def _row(alias: Phone | Email, source: str, *, whatsapp: bool = False) -> ContactRow:
    if isinstance(alias, Email):
        return ContactRow("email", alias.address, alias.spellings(), whatsapp=False, source=source)
    return ContactRow("phone", alias.national or alias.e164, alias.spellings(), whatsapp, source)


def spellings_of_cpf(cpf: str) -> tuple[str, str]:
    """The two spellings of a CPF in the database: eleven digits, and the same with punctuation."""
    return cpf, f"{cpf[:3]}.{cpf[3:6]}.{cpf[6:9]}-{cpf[9:]}"


def _storable_text(text: str) -> str:
    """Remove the characters that PostgreSQL can't store: NUL and surrogates."""
    return _UNSTORABLE.sub("", text)


def _storable_json(value: Any) -> Any:
    """A copy of a JSON value that PostgreSQL can store and orjson can write. Integers out of range become strings."""
    if isinstance(value, str):
        return _storable_text(value)
    if isinstance(value, dict):
        return {_storable_text(str(key)): _storable_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable_json(item) for item in value]
    if isinstance(value, int) and not MIN_INT <= value <= MAX_INT:
        return str(value)
    return value


def listed_only_sources() -> Iterable[str]:
    """Sources whose contacts are only listed beside a person: they answer a lead only if the name fits."""
    return ("lead", "work_api")
