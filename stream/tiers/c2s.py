"""The C2S API, where enriched contacts end up. It has no idempotency key: sending twice shows twice.

So a failure is judged by one question: may the call have been carried out?
"""

from __future__ import annotations

from typing import Any

import aiohttp
from yarl import URL

from stream.domain.errors import PartnerUnavailableError, PoisonError
from stream.settings import Settings
from stream.tiers.http import json_of, judge_status, partner_errors

CREATED = (200, 201)
REFUSED_FOR_GOOD = range(400, 500)
NOT_OURS = (401, 403, 408, 429)  # credentials, time, pace: the same call may work later


class C2S:
    """The client.

    Raises PoisonError for what C2S refuses for good; PartnerUnavailableError with ``billed`` "no" for what
    certainly was not carried out, "unsure" for what may have been.
    """

    def __init__(self, session: aiohttp.ClientSession, settings: Settings) -> None:
        self._session = session
        self._base = URL(settings.c2s_base_url) / "integration" / "leads"
        self._headers = {"Authorization": f"Bearer {settings.c2s_token.get_secret_value()}"}
        self._timeout = aiohttp.ClientTimeout(total=settings.c2s_timeout.total_seconds())

    async def create_message(self, lead_id: str, body: str) -> None:
        """Write a message to a lead."""
        await self._post(self._base / lead_id / "create_message", {"leadId": lead_id, "body": body})

    async def create_lead(self, attributes: dict[str, Any]) -> str:
        """Create a lead; returns its id."""
        answer = await self._post(self._base, {"data": {"type": "lead", "attributes": attributes}})
        lead_id = created_id(answer)
        if lead_id is None:
            raise PartnerUnavailableError("c2s: created a lead and gave no id", billed="unsure")
        return lead_id

    async def _post(self, url: URL, body: dict[str, Any]) -> Any:
        async with (
            partner_errors("c2s"),
            self._session.post(
                url, json=body, headers=self._headers, timeout=self._timeout, allow_redirects=False
            ) as response,
        ):
            if response.status in {401, 403}:
                raise PartnerUnavailableError(f"c2s: status {response.status}: check C2S_TOKEN", billed="no")
            if response.status in REFUSED_FOR_GOOD and response.status not in NOT_OURS:
                raise PoisonError(f"c2s: status {response.status}")
            judge_status("c2s", response)
            return await json_of(response) if response.status in CREATED else None


def created_id(answer: Any) -> str | None:
    """The id of a created lead: ``data.id``, ``id`` or ``lead_id``, string or integer."""
    if not isinstance(answer, dict):
        return None
    data = answer.get("data")
    for value in ((data.get("id") if isinstance(data, dict) else None), answer.get("id"), answer.get("lead_id")):
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value):
            return str(value)
    return None
