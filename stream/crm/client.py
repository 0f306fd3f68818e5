"""The client of the C2S API, the CRM. C2S has no idempotency key: a repeated request is shown twice.

So every failure must answer one question: may the call have been carried out?
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from stream.domain.errors import Billed, CredentialsRefusedError, LeadRefusedError, PartnerUnavailableError, PoisonError
from stream.domain.provider import CRM_PARTNER
from stream.domain.sources.fields import MAX_ID_CHARS
from stream.domain.text import is_id
from stream.providers.body import json_of
from stream.providers.http import raise_for_status, sent_once, with_segments
from stream.settings import Settings

CLIENT_ERRORS = range(400, 500)
REFUSES_US = (401, 402, 403, 407)  # credentials or account: C2S refuses every call until an operator corrects them
MAY_WORK_LATER = (408, 425, 429)  # time-out or rate: the same call may succeed later
TOO_EARLY = 425


class C2S:
    """Sends messages and leads. The answer of C2S decides which error is raised, and so what the caller does.

    - 401, 402, 403, 407: CredentialsRefusedError. C2S refuses us, not the lead; the caller pauses.
    - 408, 5xx, a redirect, a time-out or a reset: PartnerUnavailableError with ``billed`` "unsure": the call may have
      been carried out.
    - 425, 429 and requests that were never sent: PartnerUnavailableError with ``billed`` "no".
    - every other 4xx (400, 404, 409, 410, 413, 422, ...): LeadRefusedError. While other writes succeed, the base URL
      and the release are correct and C2S refuses this lead. If no write succeeds, the dead-letter limit stops the
      process.
    - an id that can't be one segment of a path: PoisonError, without a call.
    """

    def __init__(self, session: aiohttp.ClientSession, settings: Settings) -> None:
        self._session = session
        self._base = URL(settings.c2s_base_url) / "integration" / "leads"
        self._headers = {"Authorization": f"Bearer {settings.c2s_token.get_secret_value()}"}
        self._seconds = settings.c2s_timeout.total_seconds()

    async def create_message(self, lead_id: str, body: str) -> None:
        """Write a message to a lead."""
        if not is_id(lead_id):
            raise PoisonError("an id that a path can't hold", path="lead.id")
        url = with_segments(self._base, lead_id, "create_message")
        async with self._post(url, {"leadId": lead_id, "body": body}):
            pass  # the status decides: an unreadable body does not matter

    async def create_lead(self, attributes: dict[str, Any]) -> str:
        """Create a lead and return its id in C2S."""
        async with self._post(self._base, {"data": {"type": "lead", "attributes": attributes}}) as response:
            lead_id = created_id(await json_of(CRM_PARTNER, response))
        if lead_id is None:
            raise PartnerUnavailableError("c2s: created a lead and gave no id", billed=Billed.UNSURE)
        return lead_id

    @asynccontextmanager
    async def _post(self, url: URL, body: dict[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        async with sent_once(
            CRM_PARTNER, self._session, "POST", url, seconds=self._seconds, headers=self._headers, json=body
        ) as response:
            _judge(response)
            yield response


def _judge(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status in REFUSES_US:
        raise CredentialsRefusedError(f"c2s: status {status}: check C2S_TOKEN")
    if status == TOO_EARLY:
        raise PartnerUnavailableError(f"c2s: status {status}", billed=Billed.NO)
    if status in CLIENT_ERRORS and status not in MAY_WORK_LATER:
        raise LeadRefusedError(f"c2s: status {status}")
    raise_for_status(CRM_PARTNER, response)


def created_id(answer: Any) -> str | None:
    """The id in the answer to a created lead: ``data.id``, ``id`` or ``lead_id``, a string or an integer."""
    if not isinstance(answer, dict):
        return None
    data = answer.get("data")
    for value in ((data.get("id") if isinstance(data, dict) else None), answer.get("id"), answer.get("lead_id")):
        if isinstance(value, str | int) and not isinstance(value, bool) and _is_usable(str(value)):
            return str(value)
    return None


def _is_usable(lead_id: str) -> bool:
    return len(lead_id) <= MAX_ID_CHARS and is_id(lead_id)
