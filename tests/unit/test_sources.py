"""The tables of sources: complete, and each row makes sense beside the others."""

from __future__ import annotations

import pytest

from producers.app import served_endpoints
from producers.auth import MIN_SECRET_CHARACTERS
from producers.presentation import guessable_part
from producers.sources import ENDPOINTS
from producers.sources.endpoint import PREFIX
from stream.domain.errors import PoisonError
from stream.domain.sources import SOURCES, source_named
from stream.domain.sources.lead import Lead, Source
from stream.settings import DEMO_WEBHOOK_SECRETS, SECRET_NAMES, load


@pytest.mark.parametrize("source", Source)
def test_each_source_has_its_rows(source: Source) -> None:
    """Each source has its own spec and endpoint."""
    assert SOURCES[source].source is ENDPOINTS[source].source is source
    assert source_named(str(source)) is SOURCES[source]
    assert ENDPOINTS[source].path.startswith(PREFIX)


def test_no_two_endpoints_share_a_path_or_a_secret() -> None:
    """Each endpoint has its own path, setting and payload schema."""
    endpoints = ENDPOINTS.values()
    for one in ("path", "setting"):
        assert len({getattr(endpoint, one) for endpoint in endpoints}) == len(Source)
    assert len({endpoint.operation.component for endpoint in endpoints}) == len(Source)


@pytest.mark.parametrize("source", Source)
def test_each_endpoint_has_a_secret(source: Source) -> None:
    """The setting of each endpoint is a secret, and the demo has a strong value for it."""
    endpoint = ENDPOINTS[source]
    assert endpoint.setting.upper() in SECRET_NAMES
    secret = DEMO_WEBHOOK_SECRETS[endpoint.setting]
    assert len(guessable_part(endpoint.presentation, secret)) >= MIN_SECRET_CHARACTERS


@pytest.mark.parametrize("source", Source)
def test_identities_are_in_the_sources_own_namespace(source: Source) -> None:
    """The text behind an event id begins with the source, so that no two sources share an id."""
    lead = Lead(source, "L1", "2026-01-31T12:00:00+00:00", None, "", "", "", "", None)
    assert SOURCES[source].identity(lead).startswith(f"{source}/L1")


@pytest.mark.parametrize("source", Source)
def test_a_payload_without_its_id_names_the_field(source: Source) -> None:
    """A payload without the id of the lead is refused for that field."""
    spec = SOURCES[source]
    payload = {"attributes": {"updated_at": "2026-01-31T12:00:00Z"}}
    with pytest.raises(PoisonError) as caught:
        spec.read(payload)
    assert caught.value.path == spec.id_field
    assert spec.id_field in spec.payload_schema["required"]


def test_which_webhooks_are_served_without_a_secret() -> None:
    """Required webhooks are always served; the others only with a secret or with ALLOW_UNAUTHENTICATED."""
    required = [one for one in ENDPOINTS.values() if one.is_required]
    assert served_endpoints(ENDPOINTS.values(), load({})) == required
    everything = load({"ALLOW_UNAUTHENTICATED": "true"})
    assert served_endpoints(ENDPOINTS.values(), everything) == list(ENDPOINTS.values())
