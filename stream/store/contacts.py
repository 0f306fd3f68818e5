"""Stores what was paid for: Diretrix's answers and the people of the Work API.

Idempotent, one transaction each, in the ``core`` schema as production has it and readable by the service
that is replaced: the Work API's answer in both payload columns, digits without the country code for phones.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from stream.domain.identity import Contact, Email, Phone
from stream.domain.names import normalise
from stream.domain.person import Candidate, Person
from stream.store.pool import database_errors
from stream.store.queries import sql

Row = tuple[str, str, bool, str]  # type, value, whatsapp, source


class ContactStore:
    """Writes parties, their contacts, enrichments and Diretrix's answers."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def save_answer(self, alias: Phone | Email, candidates: tuple[Candidate, ...], asked_at: datetime) -> None:
        """Store what Diretrix answered for an alias, and each candidate as a party that is not enriched."""
        pairs = [[_clean(candidate.name), candidate.cpf] for candidate in candidates]
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(sql("save_answer"), alias.alias, pairs, asked_at)
                # In one order everywhere, so that two workers can't lock each other out.
                for candidate in sorted(candidates, key=lambda one: one.cpf):
                    party = await _party(connection, candidate.cpf, candidate.name)
                    await _save_contacts(connection, party, [_row(alias, "diretrix")])

    async def save_person(
        self, contact: Contact, person: Person, raw: dict[str, Any], lead_id: str, at: datetime
    ) -> None:
        """Store a person, with the Work API's answer ``raw`` as received, under the lead's and the listed aliases."""
        payload = _without_nul({**raw, "lead_id": lead_id})
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                party = await _party(connection, person.cpf, person.name)
                await connection.execute(
                    sql("complete_party"),
                    party,
                    _clean(person.name),
                    normalise(person.name),
                    person.sex,
                    date.fromisoformat(person.birth_date) if person.birth_date else None,
                    person.mother_name,
                )
                await connection.execute(sql("save_enrichment"), party, payload, at)
                await _save_contacts(connection, party, _rows(contact, person))


async def _party(connection: Any, cpf: str, name: str) -> UUID:
    """The party of a CPF, made when there is none; locked until the transaction ends."""
    await connection.execute(sql("lock_cpf"), cpf)
    party: UUID | None = await connection.fetchval(sql("party_of_cpf"), cpf)
    if party is None:
        party = await connection.fetchval(sql("insert_party"), cpf, _clean(name), normalise(name))
    if party is None:
        raise RuntimeError("PostgreSQL inserted a party and returned no id")
    return party


async def _save_contacts(connection: Any, party: UUID, rows: list[Row]) -> None:
    if rows:
        kinds, values, whatsapps, sources = zip(*rows, strict=True)
        await connection.execute(sql("save_contacts"), party, kinds, values, whatsapps, sources)


def _rows(contact: Contact, person: Person) -> list[Row]:
    """The lead's aliases and the listed ones, each once: the lead's come first."""
    rows = [_row(alias, "lead") for alias in (contact.phone, contact.email) if alias is not None]
    rows += [_row(Phone(phone.number), "work_api", whatsapp=phone.whatsapp) for phone in person.phones]
    rows += [_row(Email(address), "work_api") for address in person.emails]
    return list({row[:2]: row for row in reversed(rows)}.values())


def _row(alias: Phone | Email, source: str, *, whatsapp: bool = False) -> Row:
    if isinstance(alias, Email):
        return ("email", alias.address, False, source)
    # Legacy values come with and without 55; the replaced service wrote and asked without.
    return ("phone", alias.national or alias.e164[1:], whatsapp, source)


def _clean(text: str) -> str:
    """PostgreSQL holds no NUL."""
    return text.replace("\x00", "")


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, dict):
        return {_clean(str(key)): _without_nul(item) for key, item in value.items()}
    return [_without_nul(item) for item in value] if isinstance(value, list) else value


def sources_that_only_list() -> Iterable[str]:
    """Sources of contact rows that answer a lead only when the name fits."""
    return ("lead", "work_api")
