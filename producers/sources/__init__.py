"""The table of all webhook endpoints. docs/extending.md says how to add a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from producers.sources import c2s, google_ads, grupo_olx
from producers.sources.endpoint import Endpoint
from stream.domain.sources.lead import Source


def _endpoint(source: Source) -> Endpoint:
    match source:
        case Source.C2S:
            return c2s.ENDPOINT
        case Source.GOOGLE_ADS:
            return google_ads.ENDPOINT
        case Source.GRUPO_OLX:
            return grupo_olx.ENDPOINT
        case _:
            assert_never(source)


ENDPOINTS: Mapping[Source, Endpoint] = {source: _endpoint(source) for source in Source}
