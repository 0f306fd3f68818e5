"""Tier 3: Diretrix, billed per call. It turns a phone or an e-mail into candidates: names and CPFs.

Assumed costs, until an invoice says otherwise. Paid: an answer with candidates. Free: "not known" (404, 400, an empty
list, a list without a usable CPF) and requests that were certainly not sent. Unsure: everything else.
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
from stream.providers.http import raise_for_status, sent_once, with_segments
from stream.settings import Settings, calls_of

NOT_KNOWN = (400, 404)
REFUSED = (401, 402, 403)
MAX_CANDIDATES = 100  # each is stored as a party; a phone that more people share identifies nobody


def spec(settings: Settings) -> ProviderSpec:
    """Return price, budget and limits of Diretrix."""
    return ProviderSpec(
        provider=Provider.DIRETRIX,
        price=settings.diretrix_price,
        daily_budget=calls_of(settings.diretrix_daily_budget),
        max_concurrent_calls=settings.diretrix_max_concurrency,
        rate=settings.diretrix_rate_per_second,
        deadline=settings.diretrix_timeout.total_seconds(),
    )


class Diretrix:
    """The client of Diretrix. It answers with candidates, best first; with none if the alias is not known."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings, guard: Guard) -> None:
        self._session = session
        self._guard = guard
        self._base = URL(settings.diretrix_base_url) / "Consultas" / "Pessoa"
        password = settings.diretrix_password.get_secret_value()
        self._headers = {"Authorization": aiohttp.encode_basic_auth(settings.diretrix_user, password)}
        self._seconds = spec(settings).deadline

    def check(self) -> None:
        """Raise PartnerUnavailableError or RefusedError while the guard admits no call."""
        self._guard.check()

    async def by_phone(self, phone: Phone, reserve: Reserve) -> tuple[Candidate, ...]:
        """Ask for a phone by its national digits: Diretrix knows no country code.

        ``reserve``: see ``Guard.call``.
        """
        return await self._guard.call(lambda: self._ask("Telefone", phone.national), reserve)

    async def by_email(self, email: Email, reserve: Reserve) -> tuple[Candidate, ...]:
        """Ask for an e-mail. ``reserve``: see ``Guard.call``."""
        return await self._guard.call(lambda: self._ask("Email", email.address), reserve)

    async def _ask(self, kind: str, value: str) -> tuple[Candidate, ...]:
        url = with_segments(self._base, kind, value)
        async with sent_once(
            Provider.DIRETRIX, self._session, "GET", url, seconds=self._seconds, headers=self._headers
        ) as response:
            if response.status in REFUSED:
                raise RefusedError(
                    Provider.DIRETRIX, f"status {response.status}: check DIRETRIX_USER and DIRETRIX_PASSWORD"
                )
            if response.status in NOT_KNOWN:
                return ()
            raise_for_status(Provider.DIRETRIX, response)
            return _candidates(await json_of(Provider.DIRETRIX, response))


def _candidates(body: Any) -> tuple[Candidate, ...]:
    """Return the first candidates. A 200 with another body is an error, so that it is not stored as "not known"."""
    if not isinstance(body, list):
        raise PartnerUnavailableError("diretrix: a 200 that is not a list", billed=Billed.UNSURE)
    if not all(isinstance(item, dict) and _is_person(item) for item in body):
        raise PartnerUnavailableError("diretrix: a 200 with items that are not people", billed=Billed.UNSURE)
    return candidates_from_diretrix(body[:MAX_CANDIDATES])


def _is_person(item: dict[str, Any]) -> bool:
    return isinstance(item.get("nome"), str | None) and isinstance(item.get("cpf"), str | int | None)
