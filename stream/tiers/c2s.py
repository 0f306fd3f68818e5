"""The C2S API, where enriched contacts end up. It has no idempotency key: sending twice shows twice.

So a failure is judged by one question: may the call have been carried out?
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from stream.domain.errors import PartnerUnavailableError, PoisonError
from stream.settings import Settings
from stream.tiers.body import json_of
from stream.tiers.http import judge_status, segment, sent_once

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
        self._seconds = settings.c2s_timeout.total_seconds()

    async def create_message(self, lead_id: str, body: str) -> None:
        """Write a message to a lead."""
        url = segment(self._base, lead_id, "create_message")
        async with self._post(url, {"leadId": lead_id, "body": body}):
            pass  # the status says it all: a body that can't be read leaves nothing in doubt

    async def create_lead(self, attributes: dict[str, Any]) -> str:
        """Create a lead; returns its id."""
        async with self._post(self._base, {"data": {"type": "lead", "attributes": attributes}}) as response:
            lead_id = created_id(await json_of("c2s", response))
        if lead_id is None:
            raise PartnerUnavailableError("c2s: created a lead and gave no id", billed="unsure")
        return lead_id

    @asynccontextmanager
    async def _post(self, url: URL, body: dict[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        async with sent_once(
            "c2s", self._session, "POST", url, seconds=self._seconds, headers=self._headers, json=body
        ) as response:
            if response.status in {401, 403}:
                raise PartnerUnavailableError(f"c2s: status {response.status}: check C2S_TOKEN", billed="no")
            if response.status in REFUSED_FOR_GOOD and response.status not in NOT_OURS:
                raise PoisonError(f"c2s: status {response.status}")
            judge_status("c2s", response)
            yield response


def created_id(answer: Any) -> str | None:
    """The id of a created lead: ``data.id``, ``id`` or ``lead_id``, string or integer."""
    if not isinstance(answer, dict):
        return None
    data = answer.get("data")
    for value in ((data.get("id") if isinstance(data, dict) else None), answer.get("id"), answer.get("lead_id")):
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value):
            return str(value)
    return None
