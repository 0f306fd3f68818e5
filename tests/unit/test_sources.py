"""The tables of sources: complete, and consistent with each other."""

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
    """Each source has a spec and an endpoint, and its value leads to both."""
    assert SOURCES[source].source is ENDPOINTS[source].source is source
    assert source_named(str(source)) is SOURCES[source]
    assert ENDPOINTS[source].path.startswith(PREFIX)


def test_no_two_endpoints_share_a_path_or_a_secret() -> None:
    """Each endpoint has a path, a setting and a payload schema of its own."""
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
    """The text behind an event id begins with the source's value, so no two sources share an id."""
    lead = Lead(source, "L1", "2026-01-31T12:00:00+00:00", None, "", "", "", "", None)
    assert SOURCES[source].identity(lead).startswith(f"{source}/L1")


@pytest.mark.parametrize("source", Source)
def test_a_payload_without_its_id_names_the_field(source: Source) -> None:
    """A payload without its id raises PoisonError with the path of the id."""
    spec = SOURCES[source]
    payload = {"attributes": {"updated_at": "2026-01-31T12:00:00Z"}}
    with pytest.raises(PoisonError) as caught:
        spec.read(payload)
    assert caught.value.path == spec.id_field
    assert spec.id_field in spec.payload_schema["required"]


def test_a_webhook_without_a_secret_is_served_where_it_must_be_or_may_be() -> None:
    """A missing required secret stops the start; a source with an optional one is served only if everybody may post."""
    required = [one for one in ENDPOINTS.values() if one.is_required]
    assert served_endpoints(ENDPOINTS.values(), load({})) == required
    everything = load({"ALLOW_UNAUTHENTICATED": "true"})
    assert served_endpoints(ENDPOINTS.values(), everything) == list(ENDPOINTS.values())
