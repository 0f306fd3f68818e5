"""What was written to the CRM: the same facts go to a lead once.

A claim is made before a call and settled after it. A claim that stays is a call during which the process
died: like a time-out, it may have been carried out, and is listed as unconfirmed.
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
    """A lead that we created, or tried to. ``c2s_id`` is None until that is certain."""

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
    """Claims and settlements of writes to the CRM."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def claim(self, c2s_id: str, facts: str, event_id: str) -> bool:
        """Claim a message; False when these facts were claimed for the lead before."""
        with database_errors():
            return await self._pool.fetchval(sql("claim_message"), c2s_id, facts, UUID(event_id)) is not None

    async def is_told(self, c2s_id: str, facts: str) -> bool:
        """Whether a lead was told these facts, or may have been."""
        with database_errors():
            return bool(await self._pool.fetchval(sql("is_told"), c2s_id, facts))

    async def reclaim(self, c2s_id: str, facts: str, event_id: str, reclaim_after: timedelta | None) -> bool:
        """Claim again what was refused and, unless ``unsure_for`` is None, what may have been carried out.

        A claim that is younger than ``unsure_for`` is a call under way and stays.
        """
        with database_errors():
            values = (c2s_id, facts, UUID(event_id), reclaim_after)
            return await self._pool.fetchval(sql("reclaim_message"), *values) is not None

    async def has_result(self, c2s_id: str, facts: str, expires_after: timedelta | None) -> bool:
        """Whether a message was claimed and nobody has its call under way.

        A call takes ``longest`` at most; None: no claim's age says that its call is over. A claim that is older is
        unconfirmed from now on.
        """
        with database_errors():
            return bool(await self._pool.fetchval(sql("message_has_result"), c2s_id, facts, expires_after))

    async def mark(self, c2s_id: str, facts: str, status: WriteStatus, reason: str = "") -> None:
        """Write how the call for a message ended."""
        with database_errors():
            await self._pool.execute(sql("mark_message"), c2s_id, facts, status, reason or None)

    async def release(self, c2s_id: str, facts: str) -> None:
        """Take a claim back, unless it was given up meanwhile: the message was certainly not sent."""
        with database_errors():
            await self._pool.execute(sql("release_message"), c2s_id, facts)

    async def claim_lead(self, source: str, lead_id: str) -> bool:
        """Claim the creation of a lead; False when it was claimed before."""
        with database_errors():
            return await self._pool.fetchval(sql("claim_lead"), source, lead_id) is not None

    async def reclaim_lead(self, source: str, lead_id: str, reclaim_after: timedelta | None) -> bool:
        """Claim a creation again, as ``retake`` does a message."""
        with database_errors():
            return await self._pool.fetchval(sql("reclaim_lead"), source, lead_id, reclaim_after) is not None

    async def lead_has_result(self, source: str, lead_id: str, expires_after: timedelta | None) -> bool:
        """The same of a creation."""
        with database_errors():
            return bool(await self._pool.fetchval(sql("lead_has_result"), source, lead_id, expires_after))

    async def find_lead(self, source: str, lead_id: str) -> CrmLead | None:
        """The lead that we created for ``lead_id`` of ``source``."""
        with database_errors():
            row = await self._pool.fetchrow(sql("find_lead"), source, lead_id)
        return CrmLead(row["c2s_id"], row["status"]) if row is not None else None

    async def mark_lead(self, source: str, lead_id: str, status: WriteStatus, c2s_id: str | None = None) -> None:
        """Settle a creation: ``created`` with its id, ``unconfirmed`` or ``refused``."""
        with database_errors():
            await self._pool.execute(sql("mark_lead"), source, lead_id, status, c2s_id)

    async def mark_created(self, source: str, lead_id: str, c2s_id: str, facts: str | None, event_id: str) -> None:
        """Settle a creation that succeeded, and the facts that it told, if any, in one transaction."""
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(sql("mark_lead"), source, lead_id, WriteStatus.CREATED, c2s_id)
                if facts is not None:
                    await connection.execute(sql("claim_message"), c2s_id, facts, UUID(event_id))
                    await connection.execute(sql("mark_message"), c2s_id, facts, WriteStatus.CONFIRMED, None)

    async def release_lead(self, source: str, lead_id: str) -> None:
        """Take the claim of a creation back, as ``release`` does a message's: it was certainly not carried out."""
        with database_errors():
            await self._pool.execute(sql("release_lead"), source, lead_id)

    async def unconfirmed(self) -> list[Unconfirmed]:
        """All writes that may have been carried out, the oldest first."""
        with database_errors():
            rows = await self._pool.fetch(sql("unconfirmed"))
        return [Unconfirmed(*row.values()) for row in rows]
