"""Tier 3: Diretrix, billed per call. A phone or an e-mail becomes candidates: names and CPFs.

What a call cost, as assumed until an invoice says otherwise: an answer with candidates is paid, "not known" (404,
400, an empty list, or one with nothing but unusable CPFs) and what was certainly not carried out is free, the rest is
unsure.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from yarl import URL

from stream.domain.errors import PartnerUnavailableError, RefusedError
from stream.domain.identity import Email, Phone
from stream.domain.person import Candidate, candidates_from_diretrix
from stream.settings import Settings
from stream.tiers.body import json_of
from stream.tiers.guard import Guard, Reserve
from stream.tiers.http import judge_status, segment, sent_once

NOT_KNOWN = (400, 404)
REFUSED = (401, 402, 403)
MOST_CANDIDATES = 100  # each is stored as a party; a phone that more people share is nobody's


class Diretrix:
    """The client. Its answers are candidates, best first; none: not known."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings, guard: Guard) -> None:
        self._session = session
        self._guard = guard
        self._base = URL(settings.diretrix_base_url) / "Consultas" / "Pessoa"
        password = settings.diretrix_password.get_secret_value()
        self._headers = {"Authorization": aiohttp.encode_basic_auth(settings.diretrix_user, password)}
        self._seconds = settings.diretrix_timeout.total_seconds()

    def check(self) -> None:
        """Raise PartnerUnavailableError or RefusedError while nothing is asked."""
        self._guard.check()

    async def by_phone(self, phone: Phone, reserve: Reserve) -> tuple[Candidate, ...]:
        """Ask for a phone: the national digits, since Diretrix knows no country code.

        ``reserve``: see ``Guard.call``.
        """
        return await self._guard.call(lambda: self._ask("Telefone", phone.national), reserve)

    async def by_email(self, email: Email, reserve: Reserve) -> tuple[Candidate, ...]:
        """Ask for an e-mail: one path segment, percent-encoded. ``reserve`` as above."""
        return await self._guard.call(lambda: self._ask("Email", email.address), reserve)

    async def _ask(self, kind: str, value: str) -> tuple[Candidate, ...]:
        url = segment(self._base, kind, value)
        async with sent_once(
            "diretrix", self._session, "GET", url, seconds=self._seconds, headers=self._headers
        ) as response:
            if response.status in REFUSED:
                raise RefusedError("diretrix", f"status {response.status}: check DIRETRIX_USER and DIRETRIX_PASSWORD")
            if response.status in NOT_KNOWN:
                return ()
            judge_status("diretrix", response)
            return _candidates(await json_of("diretrix", response))


def _candidates(body: Any) -> tuple[Candidate, ...]:
    """The first candidates of a list of objects; whatever else comes in a 200 must not be remembered as "not known"."""
    if not isinstance(body, list):
        raise PartnerUnavailableError("diretrix: a 200 that is no list", billed="unsure")
    if not all(isinstance(one, dict) and _has_types(one) for one in body):
        raise PartnerUnavailableError("diretrix: a 200 with other things than people", billed="unsure")
    return candidates_from_diretrix(body[:MOST_CANDIDATES])


def _has_types(one: dict[str, Any]) -> bool:
    return isinstance(one.get("nome"), str | None) and isinstance(one.get("cpf"), str | int | None)
