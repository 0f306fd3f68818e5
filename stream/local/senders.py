"""Makes the requests of each source, with the secrets of the demo."""

from __future__ import annotations

import base64
from typing import Any, assert_never

from producers.presentation import BasicAuth, BodyField, HeaderOrUrl
from producers.sources import ENDPOINTS
from stream.domain.sources.lead import Source
from stream.settings import DEMO_WEBHOOK_SECRETS


def request(source: Source, payload: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, str]]:
    """The path, the body and the headers of the POST of a payload."""
    endpoint = ENDPOINTS[source]
    secret, how = DEMO_WEBHOOK_SECRETS[endpoint.setting], endpoint.presentation
    match how:
        case HeaderOrUrl():
            return endpoint.path, payload, {how.header: secret}
        case BasicAuth():
            return endpoint.path, payload, {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
        case BodyField():
            return endpoint.path, {**payload, how.name: secret}, {}
        case _:
            assert_never(how)
