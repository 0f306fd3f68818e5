"""Tier 2: who is known in PostgreSQL, asked in batches.

While fewer than ``MAX_RUNNING_QUERIES`` run, a contact is asked at once. Contacts that arrive meanwhile share the next
query: under load many contacts share one round trip, and without load none waits for others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from stream.domain.errors import DatabaseUnavailableError
from stream.domain.identity import Contact, Cpf, Email, Phone
from stream.domain.person import Candidate, StoredAnswer, StoredFacts, StoredPerson
from stream.store.contacts import listed_only_sources, spellings_of_cpf
from stream.store.pool import database_errors
from stream.store.queries import sql

MAX_CONTACTS_PER_QUERY = 64
MAX_PARTIES_PER_SPELLING = 20
MAX_RUNNING_QUERIES = 2
CPF_DIGITS = 11

_LISTED = frozenset(listed_only_sources())


@dataclass(slots=True)
class _Waiter:
    contact: Contact
    answer: asyncio.Future[StoredFacts]


class PostgresTier:
    """Looks contacts up. Every failure of the database is a DatabaseUnavailableError."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: deque[_Waiter] = deque()
        self._queries: set[asyncio.Task[None]] = set()

    async def find(self, contact: Contact) -> StoredFacts:
        """Return all that is known under the contact's phone and e-mail, in any spelling."""
        waiter = _Waiter(contact, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._ask_if_idle()
        return await waiter.answer

    async def find_by_cpf(self, cpf: Cpf) -> StoredPerson | None:
        """Return the party of a CPF, None if there is none. Of several, return an enriched one."""
        with database_errors():
            rows = await self._pool.fetch(sql("find_by_cpf"), spellings_of_cpf(cpf.digits))
        parties = [party for row in rows if (party := _stored_person(row, alias="", listed=False)) is not None]
        return next((party for party in parties if party.raw is not None), parties[0] if parties else None)

    async def is_unanswered(self, cpf: Cpf, now: datetime) -> bool:
        """Whether the Work API had no answer for a CPF so lately that it must not be asked again at ``now``."""
        with database_errors():
            return bool(await self._pool.fetchval(sql("is_unanswered"), cpf.digits, now))

    def _ask_if_idle(self) -> None:
        if self._waiting and len(self._queries) < MAX_RUNNING_QUERIES:
            query = asyncio.create_task(self._ask_next())
            self._queries.add(query)
            query.add_done_callback(self._query_done)

    def _query_done(self, query: asyncio.Task[None]) -> None:
        self._queries.discard(query)
        self._ask_if_idle()

    async def _ask_next(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(MAX_CONTACTS_PER_QUERY, len(self._waiting)))]
        if not batch:
            return  # another query took them
        try:
            await self._answer_batch(batch)
        except Exception as error:
            reason = error.reason if isinstance(error, DatabaseUnavailableError) else type(error).__name__
            for waiter in batch:
                if not waiter.answer.done():
                    waiter.answer.set_exception(DatabaseUnavailableError(reason))
            if not isinstance(error, DatabaseUnavailableError):
                raise

    async def _answer_batch(self, batch: list[_Waiter]) -> None:
        phones, emails = _spellings(batch)
        with database_errors():
            rows, answers = await asyncio.gather(
                self._pool.fetch(sql("find_people"), list(phones), list(emails), MAX_PARTIES_PER_SPELLING),
                self._pool.fetch(sql("find_answers"), [*set(phones.values()), *set(emails.values())]),
            )
        people = _by_alias(rows, phones, emails)
        stored_answers = {row["alias"]: _stored_answer(row) for row in answers}
        for waiter in batch:
            if not waiter.answer.done():
                aliases = [alias for alias in waiter.contact.aliases if not alias.startswith("c:")]
                known = tuple(person for alias in aliases for person in people.get(alias, ()))
                answers_of_contact = tuple(stored_answers[alias] for alias in aliases if alias in stored_answers)
                waiter.answer.set_result(StoredFacts(known, answers_of_contact))


def _spellings(batch: Iterable[_Waiter]) -> tuple[dict[str, str], dict[str, str]]:
    """Map every spelling of the batch's phones and e-mails to its alias."""
    phones: dict[str, str] = {}
    emails: dict[str, str] = {}
    for waiter in batch:
        for alias in (waiter.contact.phone, waiter.contact.email):
            if isinstance(alias, Phone):
                phones.update(dict.fromkeys(alias.spellings(), alias.alias))
            elif isinstance(alias, Email):
                emails.update(dict.fromkeys(alias.spellings(), alias.alias))
    return phones, emails


def _by_alias(rows: Iterable[Any], phones: dict[str, str], emails: dict[str, str]) -> dict[str, list[StoredPerson]]:
    people: dict[str, list[StoredPerson]] = {}
    for row in rows:
        alias = (emails if row["is_email"] else phones)[row["value"]]
        person = _stored_person(row, alias=alias, listed=row["source"] in _LISTED)
        if person is not None:
            people.setdefault(alias, []).append(person)
    return people


def _stored_person(row: Any, *, alias: str, listed: bool) -> StoredPerson | None:
    """Return a row as the look-up chain reads it, None if it has no usable CPF."""
    cpf = _cpf(row["cpf_cnpj"] or "")
    if not cpf:
        return None
    payload = row["payload"]
    usable = isinstance(payload, dict) and isinstance(payload.get("DadosBasicos"), dict)
    raw = payload if usable else None
    enriched_at = row["enriched_at"] if usable else None
    return StoredPerson(alias, cpf, row["full_name"] or "", raw, enriched_at, listed, row["contact_at"])


def _cpf(text: str) -> str:
    """Return the eleven digits, "" if there are not eleven.

    Check digits are not verified: a CPF that a provider gave and we stored must be found.
    """
    digits = "".join(character for character in text if character in "0123456789")
    return digits if len(digits) == CPF_DIGITS and len(set(digits)) > 1 else ""


def _stored_answer(row: Any) -> StoredAnswer:
    return StoredAnswer(row["alias"], tuple(Candidate(*pair) for pair in row["candidates"]), row["asked_at"])
