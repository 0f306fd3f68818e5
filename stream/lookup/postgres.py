"""Tier 2: who is known in PostgreSQL, asked in batches.

An idle tier asks at once. While a query is in flight, what comes next gathers, and leaves together in one
query: under load many contacts share one round trip, without load nobody waits for company.
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

MOST_CONTACTS = 64  # in one query
MOST_PARTIES = 20  # behind one spelling
QUERIES_AT_ONCE = 2
CPF_DIGITS = 11

_LISTED = frozenset(listed_only_sources())


@dataclass(slots=True)
class _Asked:
    contact: Contact
    answer: asyncio.Future[StoredFacts]


class PostgresTier:
    """Looks contacts up; every failure of the database is a DatabaseUnavailableError."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: deque[_Asked] = deque()
        self._queries: set[asyncio.Task[None]] = set()

    async def find(self, contact: Contact) -> StoredFacts:
        """All that is known under the contact's phone and e-mail, whatever their spelling."""
        asked = _Asked(contact, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        self._ask_if_idle()
        return await asked.answer

    async def find_by_cpf(self, cpf: Cpf) -> StoredPerson | None:
        """The party of a CPF, the enriched one where there are several."""
        with database_errors():
            rows = await self._pool.fetch(sql("find_by_cpf"), spellings_of_cpf(cpf.digits))
        parties = [party for row in rows if (party := _known(row, alias="", listed=False)) is not None]
        return next((party for party in parties if party.raw is not None), parties[0] if parties else None)

    async def is_unanswered(self, cpf: Cpf, now: datetime) -> bool:
        """Whether the Work API was asked for a CPF in vain, lately enough that it is not asked again."""
        with database_errors():
            return bool(await self._pool.fetchval(sql("is_unanswered"), cpf.digits, now))

    def _ask_if_idle(self) -> None:
        if self._waiting and len(self._queries) < QUERIES_AT_ONCE:
            query = asyncio.create_task(self._ask_next())
            self._queries.add(query)
            query.add_done_callback(self._asked)

    def _asked(self, query: asyncio.Task[None]) -> None:
        self._queries.discard(query)
        self._ask_if_idle()

    async def _ask_next(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(MOST_CONTACTS, len(self._waiting)))]
        if not batch:
            return  # another query was quicker to take them along
        try:
            await self._answer(batch)
        except Exception as error:
            reason = error.reason if isinstance(error, DatabaseUnavailableError) else type(error).__name__
            for asked in batch:
                if not asked.answer.done():
                    asked.answer.set_exception(DatabaseUnavailableError(reason))
            if not isinstance(error, DatabaseUnavailableError):
                raise

    async def _answer(self, batch: list[_Asked]) -> None:
        phones, emails = _spellings(batch)
        with database_errors():
            rows, answers = await asyncio.gather(
                self._pool.fetch(sql("find_people"), list(phones), list(emails), MOST_PARTIES),
                self._pool.fetch(sql("find_answers"), [*set(phones.values()), *set(emails.values())]),
            )
        found = _by_alias(rows, phones, emails)
        answered = {row["alias"]: _answer(row) for row in answers}
        for asked in batch:
            if not asked.answer.done():
                aliases = [alias for alias in asked.contact.aliases if not alias.startswith("c:")]
                known = tuple(one for alias in aliases for one in found.get(alias, ()))
                asked.answer.set_result(
                    StoredFacts(known, tuple(answered[alias] for alias in aliases if alias in answered))
                )


def _spellings(batch: Iterable[_Asked]) -> tuple[dict[str, str], dict[str, str]]:
    """Every spelling of the batch's phones and e-mails, with the alias that it spells."""
    phones: dict[str, str] = {}
    emails: dict[str, str] = {}
    for asked in batch:
        for alias in (asked.contact.phone, asked.contact.email):
            if isinstance(alias, Phone):
                phones.update(dict.fromkeys(alias.spellings(), alias.alias))
            elif isinstance(alias, Email):
                emails.update(dict.fromkeys(alias.spellings(), alias.alias))
    return phones, emails


def _by_alias(rows: Iterable[Any], phones: dict[str, str], emails: dict[str, str]) -> dict[str, list[StoredPerson]]:
    found: dict[str, list[StoredPerson]] = {}
    for row in rows:
        alias = (emails if row["is_email"] else phones)[row["value"]]
        known = _known(row, alias=alias, listed=row["source"] in _LISTED)
        if known is not None:
            found.setdefault(alias, []).append(known)
    return found


def _known(row: Any, *, alias: str, listed: bool) -> StoredPerson | None:
    """A row as the look-up chain reads it; None when it has no usable CPF."""
    cpf = _cpf(row["cpf_cnpj"] or "")
    if not cpf:
        return None
    payload = row["payload"]
    usable = isinstance(payload, dict) and isinstance(payload.get("DadosBasicos"), dict)
    raw = payload if usable else None
    enriched_at = row["enriched_at"] if usable else None
    return StoredPerson(alias, cpf, row["full_name"] or "", raw, enriched_at, listed, row["contact_at"])


def _cpf(text: str) -> str:
    """Its eleven digits, or "". Check digits are not asked for: what a partner gave and we stored must be found."""
    digits = "".join(character for character in text if character in "0123456789")
    return digits if len(digits) == CPF_DIGITS and len(set(digits)) > 1 else ""


def _answer(row: Any) -> StoredAnswer:
    return StoredAnswer(row["alias"], tuple(Candidate(*pair) for pair in row["candidates"]), row["asked_at"])
