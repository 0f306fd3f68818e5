"""Makes the parts of openapi.json that describe webhooks from the tables of the sources. The rest is hand-written."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, assert_never

from producers.limits import KIB, MIB
from producers.presentation import BasicAuth, BodyField, HeaderOrUrl, Presentation
from producers.sources import ENDPOINTS
from producers.sources.endpoint import PREFIX, Endpoint
from stream.domain.sources import SOURCES

REFUSALS = ("400", "401", "408", "413", "415", "417")
SCHEMA = "#/components/schemas/"
RESPONSE = "#/components/responses/"


def with_webhooks(
    document: dict[str, Any], endpoints: Collection[Endpoint] = tuple(ENDPOINTS.values())
) -> dict[str, Any]:
    """The document with the paths, payload schemas and security schemes of ``endpoints``."""
    other_paths = {path: item for path, item in document["paths"].items() if not path.startswith(PREFIX)}
    components = document["components"]
    schemes = {name: scheme for one in endpoints for name, scheme in _schemes(one.presentation).items()}
    return {
        **document,
        "paths": {**{one.path: {"post": _operation(one)} for one in endpoints}, **other_paths},
        "components": {
            **components,
            "securitySchemes": schemes,
            "schemas": {**components["schemas"], **{one.operation.component: _schema(one) for one in endpoints}},
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation = endpoint.operation
    return {
        "operationId": str(endpoint.source),
        "summary": operation.summary,
        "security": [{name: []} for name in _schemes(endpoint.presentation)],
        "requestBody": {
            "required": True,
            "description": f"At most {_size(endpoint.max_body_bytes)}, uncompressed.",
            "content": {"application/json": {"schema": _body(endpoint)}},
        },
        "responses": {
            "200": operation.ok,
            **{status: {"$ref": f"{RESPONSE}Refused"} for status in REFUSALS},
            "422": operation.unprocessable,
            "429": {"$ref": f"{RESPONSE}Limited"},
            "503": {"$ref": f"{RESPONSE}Later"},
        },
    }


def _body(endpoint: Endpoint) -> dict[str, Any]:
    one = {"$ref": f"{SCHEMA}{endpoint.operation.component}"}
    max_items = endpoint.operation.max_array_items
    return {"oneOf": [one, {"type": "array", "items": one, "maxItems": max_items}]} if max_items else one


def _schema(endpoint: Endpoint) -> dict[str, Any]:
    payload, extra = SOURCES[endpoint.source].payload_schema, endpoint.operation.extra
    return {
        **payload,
        "description": "Unknown fields are kept at every level.",
        "required": [*payload["required"], *extra],
        "properties": {**payload["properties"], **extra},
    }


def _schemes(presentation: Presentation) -> dict[str, Any]:
    """The security schemes by their names in the document: two sources share a name only if the schemes are equal."""
    match presentation:
        case HeaderOrUrl():
            header, parameter = presentation.header, presentation.parameter
            schemes = {header: {"type": "apiKey", "in": "header", "name": header}}
            if parameter is not None:
                schemes[f"url-{parameter}"] = {"type": "apiKey", "in": "query", "name": parameter}
            return schemes
        case BasicAuth():
            return {"basic": {"type": "http", "scheme": "basic"}}
        case BodyField():
            return {}
        case _:
            assert_never(presentation)


def _size(count: int) -> str:
    return f"{count // MIB} MiB" if count >= MIB else f"{count // KIB} KiB"
