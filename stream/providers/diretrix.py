"""Tier 3: Diretrix, billed per call. A phone or an e-mail becomes candidates: names and CPFs.

What a call cost, as assumed until an invoice says otherwise: an answer with candidates is paid, "not known" (404,
400, an empty list, or one with nothing but unusable CPFs) and what was certainly not carried out is free, the rest is
unsure.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from yarl import URL

from stream.domain.errors import Billed, PartnerUnavailableError, RefusedError
from stream.domain.identity import Email, Phone
from stream.domain.person import Candidate, candidates_from_diretrix
from stream.domain.provider import Provider, ProviderSpec
from stream.providers.body import json_of
from stream.providers.guard import Guard, Reserve
from stream.providers.http import judge_status, segment, sent_once
from stream.settings import Settings, calls_of

NOT_KNOWN = (400, 404)
REFUSED = (401, 402, 403)
MOST_CANDIDATES = 100  # each is stored as a party; a phone that more people share is nobody's


def spec(settings: Settings) -> ProviderSpec:
    """The terms of Diretrix."""
    return ProviderSpec(
        provider=Provider.DIRETRIX,
        price=settings.diretrix_price,
        daily_budget=calls_of(settings.diretrix_daily_budget),
        max_concurrent_calls=settings.diretrix_max_concurrency,
        rate=settings.diretrix_rate_per_second,
        deadline=settings.diretrix_timeout.total_seconds(),
    )


class Diretrix:
    """The client. Its answers are candidates, best first; none: not known."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings, guard: Guard) -> None:
        self._session = session
        self._guard = guard
        self._base = URL(settings.diretrix_base_url) / "Consultas" / "Pessoa"
        password = settings.diretrix_password.get_secret_value()
        self._headers = {"Authorization": aiohttp.encode_basic_auth(settings.diretrix_user, password)}
        self._seconds = spec(settings).deadline

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
            Provider.DIRETRIX, self._session, "GET", url, seconds=self._seconds, headers=self._headers
        ) as response:
            if response.status in REFUSED:
                raise RefusedError(
                    Provider.DIRETRIX, f"status {response.status}: check DIRETRIX_USER and DIRETRIX_PASSWORD"
                )
            if response.status in NOT_KNOWN:
                return ()
            judge_status(Provider.DIRETRIX, response)
            return _candidates(await json_of(Provider.DIRETRIX, response))


def _candidates(body: Any) -> tuple[Candidate, ...]:
    """The first candidates of a list of objects; whatever else comes in a 200 must not be remembered as "not known"."""
    if not isinstance(body, list):
        raise PartnerUnavailableError("diretrix: a 200 that is no list", billed=Billed.UNSURE)
    if not all(isinstance(one, dict) and _has_types(one) for one in body):
        raise PartnerUnavailableError("diretrix: a 200 with other things than people", billed=Billed.UNSURE)
    return candidates_from_diretrix(body[:MOST_CANDIDATES])


def _has_types(one: dict[str, Any]) -> bool:
    return isinstance(one.get("nome"), str | None) and isinstance(one.get("cpf"), str | int | None)
