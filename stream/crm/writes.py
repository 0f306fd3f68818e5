"""The table of writes to the CRM, so that the same facts go to a lead once.

A write is claimed before its call and marked with the result after it. A claim that stays belongs to a call during
which the process died. Like a call that timed out, it may have been carried out and is listed as unconfirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from stream.domain.crm import WriteStatus
from stream.store.pool import database_errors
from stream.store.queries import sql


@dataclass(frozen=True, slots=True)
class CrmLead:
    """A lead that we created or tried to create. ``c2s_id`` is None until the creation is certain."""

    c2s_id: str | None
    status: str


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A write that may have been carried out."""

    kind: str
    lead: str
    facts: str
    event_id: str
    status: str
    claimed_at: datetime


class CrmWrites:
    """Claims writes to the CRM and stores their results. Every method raises DatabaseUnavailableError."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def claim(self, c2s_id: str, facts: str, event_id: str) -> bool:
        """Claim a message. False if these facts were claimed for the lead before."""
        with database_errors():
            return await self._pool.fetchval(sql("claim_message"), c2s_id, facts, UUID(event_id)) is not None

    async def is_told(self, c2s_id: str, facts: str) -> bool:
        """Whether these facts were written to the lead, or may have been."""
        with database_errors():
            return bool(await self._pool.fetchval(sql("is_told"), c2s_id, facts))

    async def reclaim(self, c2s_id: str, facts: str, event_id: str, reclaim_after: timedelta | None) -> bool:
        """Claim a refused message again; unless ``reclaim_after`` is None, also one that may have been carried out.

        A claim that is younger than ``reclaim_after`` belongs to a call in progress and stays.
        """
        with database_errors():
            values = (c2s_id, facts, UUID(event_id), reclaim_after)
            return await self._pool.fetchval(sql("reclaim_message"), *values) is not None

    async def has_result(self, c2s_id: str, facts: str, expires_after: timedelta | None) -> bool:
        """Whether the call of a claimed message has ended. False also if nobody has claimed the message.

        A claim that is older than ``expires_after`` becomes unconfirmed. None disables the expiry of claims.
        """
        with database_errors():
            return bool(await self._pool.fetchval(sql("message_has_result"), c2s_id, facts, expires_after))

    async def mark(self, c2s_id: str, facts: str, status: WriteStatus, reason: str = "") -> None:
        """Store the result of a message's call."""
        with database_errors():
            await self._pool.execute(sql("mark_message"), c2s_id, facts, status, reason or None)

    async def release(self, c2s_id: str, facts: str) -> None:
        """Remove the claim of a message that was certainly not sent, unless the claim has expired meanwhile."""
        with database_errors():
            await self._pool.execute(sql("release_message"), c2s_id, facts)

    async def claim_lead(self, source: str, lead_id: str) -> bool:
        """Claim the creation of a lead. False if it was claimed before."""
        with database_errors():
            return await self._pool.fetchval(sql("claim_lead"), source, lead_id) is not None

    async def reclaim_lead(self, source: str, lead_id: str, reclaim_after: timedelta | None) -> bool:
        """Claim a creation again, under the conditions of ``reclaim``."""
        with database_errors():
            return await self._pool.fetchval(sql("reclaim_lead"), source, lead_id, reclaim_after) is not None

    async def lead_has_result(self, source: str, lead_id: str, expires_after: timedelta | None) -> bool:
        """Whether the call of a claimed creation has ended, as ``has_result`` says of a message."""
        with database_errors():
            return bool(await self._pool.fetchval(sql("lead_has_result"), source, lead_id, expires_after))

    async def find_lead(self, source: str, lead_id: str) -> CrmLead | None:
        """The lead that we created for ``lead_id`` of ``source``; None if its creation was never claimed."""
        with database_errors():
            row = await self._pool.fetchrow(sql("find_lead"), source, lead_id)
        return CrmLead(row["c2s_id"], row["status"]) if row is not None else None

    async def mark_lead(self, source: str, lead_id: str, status: WriteStatus, c2s_id: str | None = None) -> None:
        """Store the result of a creation: ``created`` with its id, ``unconfirmed`` or ``refused``."""
        with database_errors():
            await self._pool.execute(sql("mark_lead"), source, lead_id, status, c2s_id)

    async def mark_created(self, source: str, lead_id: str, c2s_id: str, facts: str | None, event_id: str) -> None:
        """Store a creation that succeeded, and the facts that it wrote, if any, in one transaction."""
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(sql("mark_lead"), source, lead_id, WriteStatus.CREATED, c2s_id)
                if facts is not None:
                    await connection.execute(sql("claim_message"), c2s_id, facts, UUID(event_id))
                    await connection.execute(sql("mark_message"), c2s_id, facts, WriteStatus.CONFIRMED, None)

    async def release_lead(self, source: str, lead_id: str) -> None:
        """Remove the claim of a creation that was certainly not carried out, unless it has expired meanwhile."""
        with database_errors():
            await self._pool.execute(sql("release_lead"), source, lead_id)

    async def unconfirmed(self) -> list[Unconfirmed]:
        """All writes that may have been carried out, oldest first."""
        with database_errors():
            rows = await self._pool.fetch(sql("unconfirmed"))
        return [Unconfirmed(*row.values()) for row in rows]
