"""The table of all providers: price, budget and limits of each. docs/extending.md says how to add a provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from stream.domain.provider import Provider, ProviderSpec
from stream.providers import diretrix
from stream.providers import work_api as work
from stream.settings import Settings


def _spec(provider: Provider, settings: Settings) -> ProviderSpec:
    match provider:
        case Provider.DIRETRIX:
            return diretrix.spec(settings)
        case Provider.WORK:
            return work.spec(settings)
        case _:
            assert_never(provider)


def provider_specs(settings: Settings) -> Mapping[Provider, ProviderSpec]:
    """Return price, budget and limits of every provider."""
    return {provider: _spec(provider, settings) for provider in Provider}
