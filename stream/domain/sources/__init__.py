"""The table of all sources.

Rule 1: code that depends on a webhook's source asks this table, and never compares the source's name.

docs/extending.md says how to add a source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from stream.domain.sources import c2s, google_ads, grupo_olx
from stream.domain.sources.lead import Source
from stream.domain.sources.spec import SourceSpec


def _spec(source: Source) -> SourceSpec:
    match source:
        case Source.C2S:
            return c2s.SPEC
        case Source.GOOGLE_ADS:
            return google_ads.SPEC
        case Source.GRUPO_OLX:
            return grupo_olx.SPEC
        case _:
            assert_never(source)


SOURCES: Mapping[Source, SourceSpec] = {source: _spec(source) for source in Source}
ID_FIELDS = tuple(spec.id_field for spec in SOURCES.values())  # the field of the lead's id, in a payload of any source
_BY_NAME: Mapping[str, SourceSpec] = {source.value: spec for source, spec in SOURCES.items()}


def source_named(name: str) -> SourceSpec | None:
    """The source with this name, as events and headers have it; None if only a later version knows it."""
    return _BY_NAME.get(name)
