"""Tier 3: the Work API. It turns a CPF into a person. Its token is part of the URL, so no URL leaves this module."""

from __future__ import annotations

from typing import Any

import aiohttp
from yarl import URL

from stream.domain.errors import Billed, PartnerUnavailableError, RefusedError
from stream.domain.identity import Cpf
from stream.domain.person import work_answer
from stream.domain.provider import Provider, ProviderSpec
from stream.providers.body import json_of
from stream.providers.guard import Guard, Reserve
from stream.providers.http import raise_for_status, sent_once
from stream.settings import Settings, calls_of

NOT_KNOWN = 404
REFUSED = (401, 402, 403)


def spec(settings: Settings) -> ProviderSpec:
    """Return price, budget and limits of the Work API."""
    return ProviderSpec(
        provider=Provider.WORK,
        price=settings.work_api_price,
        daily_budget=calls_of(settings.work_api_daily_budget),
        max_concurrent_calls=settings.work_api_max_concurrency,
        rate=settings.work_api_rate_per_second,
        deadline=settings.work_api_timeout.total_seconds(),
    )


class WorkApi:
    """The client of the Work API."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings, guard: Guard) -> None:
        self._session = session
        self._guard = guard
        self._base = URL(settings.work_api_base_url) / "api"
        self._token = settings.work_api_token
        self._seconds = spec(settings).deadline

    def check(self) -> None:
        """Raise PartnerUnavailableError or RefusedError while the guard admits no call."""
        self._guard.check()

    async def by_cpf(self, cpf: Cpf, reserve: Reserve) -> dict[str, Any] | None:
        """Return the answer as received, None if the CPF is not known. A failure inside a 200 is raised.

        ``reserve``: see ``Guard.call``.
        """
        return await self._guard.call(lambda: self._ask(cpf), reserve)

    async def _ask(self, cpf: Cpf) -> dict[str, Any] | None:
        query = {"token": self._token.get_secret_value(), "modulo": "cpf", "consulta": cpf.digits}
        url = self._base.with_query(query)
        async with sent_once(Provider.WORK, self._session, "GET", url, seconds=self._seconds) as response:
            if response.status in REFUSED:
                raise RefusedError(Provider.WORK, f"status {response.status}: check WORK_API_TOKEN")
            if response.status == NOT_KNOWN:
                return None
            raise_for_status(Provider.WORK, response)
            return work_answer(_checked(await json_of(Provider.WORK, response)))


def _checked(body: Any) -> Any:
    """Return the body. Raise if its person has other types than a person, so that it is not stored as "not known"."""
    basics = body.get("DadosBasicos") if isinstance(body, dict) else None
    is_person = not basics or (
        isinstance(basics, dict)
        and isinstance(basics.get("nome"), str | None)
        and isinstance(basics.get("cpf"), str | int | None)
    )
    if not is_person:
        raise PartnerUnavailableError("work: a 200 with a person that is not one", billed=Billed.UNSURE)
    return body
