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
            return await self._pool.fetchval(sql("claim_delivery"), c2s_id, facts, UUID(event_id)) is not None

    async def is_told(self, c2s_id: str, facts: str) -> bool:
        """Whether a lead was told these facts, or may have been."""
        with database_errors():
            return bool(await self._pool.fetchval(sql("is_told"), c2s_id, facts))

    async def retake(self, c2s_id: str, facts: str, event_id: str, unsure_for: timedelta | None) -> bool:
        """Claim again what was refused and, unless ``unsure_for`` is None, what may have been carried out.

        A claim that is younger than ``unsure_for`` is a call under way and stays.
        """
        with database_errors():
            values = (c2s_id, facts, UUID(event_id), unsure_for)
            return await self._pool.fetchval(sql("retake_delivery"), *values) is not None

    async def is_settled(self, c2s_id: str, facts: str, longest: timedelta | None) -> bool:
        """Whether a message was claimed and nobody has its call under way.

        A call takes ``longest`` at most; None: no claim's age says that its call is over. A claim that is older is
        unconfirmed from now on.
        """
        with database_errors():
            return bool(await self._pool.fetchval(sql("is_delivery_settled"), c2s_id, facts, longest))

    async def mark(self, c2s_id: str, facts: str, status: WriteStatus, reason: str = "") -> None:
        """Write how the call for a message ended."""
        with database_errors():
            await self._pool.execute(sql("settle_delivery"), c2s_id, facts, status, reason or None)

    async def release(self, c2s_id: str, facts: str) -> None:
        """Take a claim back, unless it was given up meanwhile: the message was certainly not sent."""
        with database_errors():
            await self._pool.execute(sql("release_delivery"), c2s_id, facts)

    async def claim_lead(self, source: str, lead_id: str) -> bool:
        """Claim the creation of a lead; False when it was claimed before."""
        with database_errors():
            return await self._pool.fetchval(sql("claim_lead"), source, lead_id) is not None

    async def retake_lead(self, source: str, lead_id: str, unsure_for: timedelta | None) -> bool:
        """Claim a creation again, as ``retake`` does a message."""
        with database_errors():
            return await self._pool.fetchval(sql("retake_lead"), source, lead_id, unsure_for) is not None

    async def is_lead_settled(self, source: str, lead_id: str, longest: timedelta | None) -> bool:
        """The same of a creation."""
        with database_errors():
            return bool(await self._pool.fetchval(sql("is_lead_settled"), source, lead_id, longest))

    async def lead(self, source: str, lead_id: str) -> CrmLead | None:
        """The lead that we created for ``lead_id`` of ``source``."""
        with database_errors():
            row = await self._pool.fetchrow(sql("find_lead"), source, lead_id)
        return CrmLead(row["c2s_id"], row["status"]) if row is not None else None

    async def mark_lead(self, source: str, lead_id: str, status: WriteStatus, c2s_id: str | None = None) -> None:
        """Settle a creation: ``created`` with its id, ``unconfirmed`` or ``refused``."""
        with database_errors():
            await self._pool.execute(sql("confirm_lead"), source, lead_id, status, c2s_id)

    async def created(self, source: str, lead_id: str, c2s_id: str, facts: str | None, event_id: str) -> None:
        """Settle a creation that succeeded, and the facts that it told, if any, in one transaction."""
        with database_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(sql("confirm_lead"), source, lead_id, WriteStatus.CREATED, c2s_id)
                if facts is not None:
                    await connection.execute(sql("claim_delivery"), c2s_id, facts, UUID(event_id))
                    await connection.execute(sql("settle_delivery"), c2s_id, facts, WriteStatus.CONFIRMED, None)

    async def release_lead(self, source: str, lead_id: str) -> None:
        """Take the claim of a creation back, as ``release`` does a message's: it was certainly not carried out."""
        with database_errors():
            await self._pool.execute(sql("release_lead"), source, lead_id)

    async def unconfirmed(self) -> list[Unconfirmed]:
        """All writes that may have been carried out, the oldest first."""
        with database_errors():
            rows = await self._pool.fetch(sql("unconfirmed"))
        return [Unconfirmed(*row.values()) for row in rows]
